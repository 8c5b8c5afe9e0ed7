package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

// MayBeCSI reports whether a volume of a pod is, or may come to be, one of a CSI driver.
func MayBeCSI(p *v1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v v1.Volume) bool {
		return v.CSI != nil || v.PersistentVolumeClaim != nil || v.Ephemeral != nil
	})
}

// inline is a CSI volume that lives and dies with its pod (KEP-596).
func (v *Volumes) inline(ctx context.Context, p *v1.Pod, vol *v1.Volume) (setup, error) {
	s := vol.CSI
	driver, err := v.csiDriver(ctx, p, s.Driver)
	if err != nil {
		return setup{}, err
	}
	if driver != nil && !slices.Contains(driver.Spec.VolumeLifecycleModes, storagev1.VolumeLifecycleEphemeral) {
		return setup{}, fmt.Errorf("driver %s does not support inline volumes: its CSIDriver object lacks Ephemeral in spec.volumeLifecycleModes", s.Driver)
	}
	c := csi.Volume{
		Ref:      csi.Ref{Driver: s.Driver, Handle: csi.EphemeralHandle(string(p.UID), vol.Name)},
		SpecName: vol.Name, Ephemeral: true,
		ReadOnly: s.ReadOnly != nil && *s.ReadOnly, Attributes: s.VolumeAttributes,
	}
	if s.FSType != nil {
		c.FSType = *s.FSType
	}
	if s.NodePublishSecretRef != nil {
		if c.PublishSecrets, err = v.secretData(ctx, p, p.Namespace, s.NodePublishSecretRef.Name); err != nil {
			return setup{}, err
		}
	}
	return v.mounted(ctx, p, c, driver)
}

// persistentCSI is a PersistentVolume of a driver.
func (v *Volumes) persistentCSI(ctx context.Context, p *v1.Pod, pv *v1.PersistentVolume, pvc *v1.PersistentVolumeClaim, readOnly bool) (setup, error) {
	s := pv.Spec.CSI
	driver, err := v.csiDriver(ctx, p, s.Driver)
	if err != nil {
		return setup{}, err
	}
	c := csi.Volume{
		Ref: csi.Ref{Driver: s.Driver, Handle: s.VolumeHandle}, SpecName: pv.Name,
		ReadOnly: readOnly || s.ReadOnly, FSType: s.FSType, MountFlags: pv.Spec.MountOptions,
		AccessModes: pv.Spec.AccessModes, Attributes: s.VolumeAttributes, Block: isBlock(pv),
	}
	if len(c.AccessModes) == 0 {
		c.AccessModes = pvc.Spec.AccessModes
	}
	if c.StageSecrets, err = v.secretOf(ctx, p, s.NodeStageSecretRef); err != nil {
		return setup{}, err
	}
	if c.PublishSecrets, err = v.secretOf(ctx, p, s.NodePublishSecretRef); err != nil {
		return setup{}, err
	}
	if slices.Contains(c.AccessModes, v1.ReadWriteOncePod) && v.usedElsewhere(p.UID, c.Ref) {
		return setup{}, fmt.Errorf("volume %s uses the ReadWriteOncePod access mode and is already in use by another pod", c.Ref)
	}
	if err := v.attached(ctx, p, driver, &c); err != nil {
		return setup{}, err
	}
	return v.mounted(ctx, p, c, driver)
}

// attached fills in what attaching the volume gave, and fails while it is not attached.
func (v *Volumes) attached(ctx context.Context, p *v1.Pod, driver *storagev1.CSIDriver, c *csi.Volume) error {
	if !v.cfg.Attaches || driver != nil && driver.Spec.AttachRequired != nil && !*driver.Spec.AttachRequired {
		return nil
	}
	name := csi.AttachmentName(c.Handle, c.Driver, v.cfg.NodeName)
	a, err := objects.Get[storagev1.VolumeAttachment](ctx, v.cfg.Objects.For(p), "", name)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // the Node authorizer forbids what does not exist
	case err != nil:
		return fmt.Errorf("cannot look at VolumeAttachment %s: %w", name, err)
	case a.Status.Attached:
		c.Attachment, c.PublishContext = name, a.Status.AttachmentMetadata
		return nil
	case a.Status.AttachError != nil:
		return fmt.Errorf("volume %s cannot be attached to this node: %s", c.Ref, a.Status.AttachError.Message)
	}
	return &pod.Error{Class: pod.NotAttached, Err: fmt.Errorf(
		"volume %s is not attached to this node yet: VolumeAttachment %s is not there or not attached (see `kubectl describe volumeattachment`)", c.Ref, name)}
}

// mounted completes a volume with what the CSIDriver object asks for, and mounts it.
func (v *Volumes) mounted(ctx context.Context, p *v1.Pod, c csi.Volume, driver *storagev1.CSIDriver) (setup, error) {
	if v.cfg.CSI == nil {
		return setup{}, errors.New("cannot mount a CSI volume: CSI is switched off on this node")
	}
	if c.Driver == "" || c.Handle == "" {
		return setup{}, errors.New("csi.driver and csi.volumeHandle must not be empty")
	}
	e := v.made(p, kindCSI, c.SpecName)
	if c.Block {
		e.Dir = filepath.Join(blockDevices, strings.TrimPrefix(e.Dir, fileSystems+"/"))
	}
	dir := filepath.Join(v.podDir(p.UID), e.Dir)
	e.Path = filepath.Join(dir, "mount")
	e.Mounted, e.Block, e.ReadOnly, e.Driver, e.Handle = !c.Block, c.Block, c.ReadOnly, c.Driver, c.Handle
	e.Republish = driver != nil && driver.Spec.RequiresRepublish != nil && *driver.Spec.RequiresRepublish
	c.PodInfo = podInfo(p, c.Ephemeral, driver)
	if err := v.driverTokens(ctx, p, &c, driver); err != nil {
		return setup{}, err
	}
	group := ownership(p, false)
	if !c.ReadOnly && !c.Block {
		c.FSGroup = group.Group
	}
	return setup{entry: e, run: func(ctx context.Context) error {
		applied, err := v.cfg.CSI.Mount(ctx, dir, c)
		if err != nil {
			return err
		}
		if c.Block && !local.IsBlock(e.Path) {
			return fmt.Errorf("driver %s reported success, but there is no block device at %s", c.Driver, e.Path)
		}
		if applied || c.Block || !takesGroup(c, driver) {
			return nil
		}
		return v.own(ctx, p, c.SpecName, e.Path, group)
	}}, nil
}

// usedElsewhere reports whether another pod of this node has, or may have, a volume.
func (v *Volumes) usedElsewhere(uid types.UID, ref csi.Ref) bool {
	v.mu.Lock()
	others := maps.Clone(v.pods)
	v.mu.Unlock()
	delete(others, uid)
	for _, l := range others {
		l.mu.Lock()
		for _, e := range l.entries {
			if e.Driver == ref.Driver && e.Handle == ref.Handle {
				l.mu.Unlock()
				return true
			}
		}
		l.mu.Unlock()
	}
	return false
}

// csiDriver gets a driver's CSIDriver object; nil where there is none, as on a standalone node.
func (v *Volumes) csiDriver(ctx context.Context, p *v1.Pod, name string) (*storagev1.CSIDriver, error) {
	d, err := objects.Get[storagev1.CSIDriver](ctx, v.cfg.Objects.For(p), "", name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot get CSIDriver %s: %w", name, err)
	}
	return d, nil
}

// podInfo is what a driver is told of the pod: if its CSIDriver object asks for it, and for inline volumes also when it has
// none, because such drivers rarely work without.
func podInfo(p *v1.Pod, ephemeral bool, driver *storagev1.CSIDriver) map[string]string {
	wanted := ephemeral
	if driver != nil {
		wanted = driver.Spec.PodInfoOnMount != nil && *driver.Spec.PodInfoOnMount
	}
	if !wanted {
		return map[string]string{}
	}
	return map[string]string{
		"csi.storage.k8s.io/pod.name":            p.Name,
		"csi.storage.k8s.io/pod.namespace":       p.Namespace,
		"csi.storage.k8s.io/pod.uid":             string(p.UID),
		"csi.storage.k8s.io/serviceAccount.name": p.Spec.ServiceAccountName,
		"csi.storage.k8s.io/ephemeral":           strconv.FormatBool(ephemeral),
	}
}

// driverTokens adds the service account tokens that a driver asks for (KEP-2047): to the secrets, where it wants them
// there, else to the volume context.
func (v *Volumes) driverTokens(ctx context.Context, p *v1.Pod, c *csi.Volume, driver *storagev1.CSIDriver) error {
	if driver == nil || len(driver.Spec.TokenRequests) == 0 {
		return nil
	}
	if v.cfg.Token == nil {
		return fmt.Errorf("driver %s needs service account tokens, and this node has no API server to ask for one", c.Driver)
	}
	type driverToken struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expirationTimestamp"`
	}
	tokens := map[string]driverToken{}
	for _, r := range driver.Spec.TokenRequests {
		seconds := int64(3600)
		if r.ExpirationSeconds != nil {
			seconds = *r.ExpirationSeconds
		}
		value, expires, err := v.cfg.Token(ctx, p, r.Audience, seconds)
		if err != nil {
			return fmt.Errorf("cannot get a token of service account %s for driver %s: %w", content.FullName(p, p.Spec.ServiceAccountName), c.Driver, err)
		}
		tokens[r.Audience] = driverToken{value, expires}
	}
	b, err := json.Marshal(tokens)
	if err != nil {
		return fmt.Errorf("cannot encode the tokens for driver %s: %w", c.Driver, err)
	}
	const key = "csi.storage.k8s.io/serviceAccount.tokens"
	if in := driver.Spec.ServiceAccountTokenInSecrets; in != nil && *in {
		if c.PublishSecrets == nil {
			c.PublishSecrets = map[string]string{}
		}
		c.PublishSecrets[key] = string(b)
		return nil
	}
	c.PodInfo[key] = string(b)
	return nil
}

// takesGroup reports whether the agent applies fsGroup to a volume (CSIDriver.spec.fsGroupPolicy, KEP-1682). By default
// it does for a file system that one node alone writes to.
func takesGroup(c csi.Volume, driver *storagev1.CSIDriver) bool {
	policy := storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy
	if driver != nil && driver.Spec.FSGroupPolicy != nil {
		policy = *driver.Spec.FSGroupPolicy
	}
	switch {
	case c.ReadOnly, policy == storagev1.NoneFSGroupPolicy:
		return false
	case policy == storagev1.FileFSGroupPolicy:
		return true
	case c.FSType == "":
		return false
	}
	return c.Ephemeral || slices.Contains(c.AccessModes, v1.ReadWriteOnce) || slices.Contains(c.AccessModes, v1.ReadWriteOncePod)
}

func (v *Volumes) secretOf(ctx context.Context, p *v1.Pod, ref *v1.SecretReference) (map[string]string, error) {
	if ref == nil {
		return nil, nil
	}
	return v.secretData(ctx, p, ref.Namespace, ref.Name)
}

func (v *Volumes) secretData(ctx context.Context, p *v1.Pod, namespace, name string) (map[string]string, error) {
	s, err := objects.Get[v1.Secret](ctx, v.cfg.Objects.For(p), namespace, name)
	if err != nil {
		return nil, content.Missing(p, err, "Secret", namespace+"/"+name)
	}
	data := make(map[string]string, len(s.Data))
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		data[k] = string(s.Data[k])
	}
	return data, nil
}
