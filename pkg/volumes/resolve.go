package volumes

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
)

// Kinds of volumes, as the fields of v1.VolumeSource and v1.PersistentVolumeSource name them.
const (
	kindEmptyDir    = "emptyDir"
	kindHostPath    = "hostPath"
	kindConfigMap   = "configMap"
	kindSecret      = "secret"
	kindDownwardAPI = "downwardAPI"
	kindProjected   = "projected"
	kindCSI         = "csi"
	kindLocal       = "local"
	kindImage       = "image"
)

// plugins are the directories of each kind below pods/<uid>/volumes.
func plugin(kind string) string {
	switch kind {
	case kindEmptyDir:
		return "kubernetes.io~empty-dir"
	case kindDownwardAPI:
		return "kubernetes.io~downward-api"
	case kindLocal:
		return "kubernetes.io~local-volume"
	}
	return "kubernetes.io~" + strings.ToLower(kind)
}

func kindOfPlugin(dir string) string {
	for _, k := range []string{kindEmptyDir, kindConfigMap, kindSecret, kindDownwardAPI, kindProjected, kindCSI, kindLocal} {
		if plugin(k) == dir {
			return k
		}
	}
	return dir
}

// setup is a volume resolved: what will be on the node, and the work that makes it so.
type setup struct {
	entry entry
	run   func(ctx context.Context) error
}

// made is the entry of a volume whose content the agent makes in a directory of the pod's.
func (v *Volumes) made(p *v1.Pod, kind, name string) entry {
	dir := filepath.Join("volumes", plugin(kind), strings.ReplaceAll(name, "/", "~"))
	return entry{Kind: kind, Dir: dir, Path: filepath.Join(v.podDir(p.UID), dir)}
}

func (v *Volumes) resolve(ctx context.Context, p *v1.Pod, name string) (setup, error) {
	vol := volumeOf(p, name)
	if vol == nil {
		return setup{}, errors.New("the pod has no volume of this name")
	}
	switch {
	case vol.EmptyDir != nil:
		return v.emptyDir(p, vol), nil
	case vol.HostPath != nil:
		return hostPath(vol.HostPath, false), nil
	case content.Has(vol):
		return v.written(p, vol), nil
	case vol.CSI != nil:
		return v.inline(ctx, p, vol)
	case vol.PersistentVolumeClaim != nil:
		return v.claim(ctx, p, vol.PersistentVolumeClaim.ClaimName, vol.PersistentVolumeClaim.ReadOnly, false)
	case vol.Ephemeral != nil:
		return v.claim(ctx, p, p.Name+"-"+vol.Name, false, true)
	case vol.Image != nil:
		return setup{entry: entry{Kind: kindImage, ReadOnly: true}, run: func(context.Context) error { return nil }}, nil
	}
	return setup{}, unsupported(content.SourceName(vol.VolumeSource), false)
}

// drivers serve, as CSI drivers, the kinds of volumes that were once part of kubelets.
var drivers = map[string]string{
	"nfs": "nfs.csi.k8s.io", "iscsi": "iscsi.csi.k8s.io", "awsElasticBlockStore": "ebs.csi.aws.com", "azureDisk": "disk.csi.azure.com",
	"azureFile": "file.csi.azure.com", "cinder": "cinder.csi.openstack.org", "gcePersistentDisk": "pd.csi.storage.gke.io",
	"vsphereVolume": "csi.vsphere.vmware.com", "portworxVolume": "pxd.portworx.com", "rbd": "rbd.csi.ceph.com", "cephfs": "cephfs.csi.ceph.com",
}

// unsupported says what to use in place of a kind of volume that this agent does not mount itself.
func unsupported(kind string, block bool) error {
	switch driver := drivers[kind]; {
	case driver != "":
		return fmt.Errorf("volumes of type %s are not supported: this agent mounts them through CSI alone; install the driver %s and use a PersistentVolume with csi.driver %s", kind, driver, driver)
	case block:
		return fmt.Errorf("volumes of type %s with volumeMode Block are not supported: use csi or local", kind)
	}
	return fmt.Errorf("volumes of type %s are not supported: use csi, local or hostPath", kind)
}

// onNode marks an error that only this node has to do with: a path that is not there, a disk that is full.
func onNode(err error) error {
	if err == nil {
		return nil
	}
	return &pod.Error{Class: pod.NodeLacks, Err: err}
}

func volumeOf(p *v1.Pod, name string) *v1.Volume {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Name == name {
			return &p.Spec.Volumes[i]
		}
	}
	return nil
}
