package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// NothingLeft returns an error that names all that pods have left on the node: sandboxes and containers, mounts below
// the agent's root, network namespaces, ends of veths on the bridge, leased addresses, cgroups, pod directories. Call it
// with Eventually after the last pod was deleted.
func (a *Agent) NothingLeft() error { return a.LeftBeside() }

// LeftBeside is NothingLeft where pods, given by their UIDs, still run: what belongs to any other pod is left over.
func (a *Agent) LeftBeside(uids ...string) error { return a.cd.LeftBeside(a.RootDir, uids...) }

// LeftBeside looks at the runtime, and at an agent's root directory, for what belongs to no pod of uids.
func (d *Containerd) LeftBeside(rootDir string, uids ...string) error {
	found, err := d.leftObjects(uids)
	errs := []error{err}
	for _, look := range []func(string, []string) ([]string, error){d.e.leftMounts, d.e.leftDirs, d.e.leftCgroups} {
		left, err := look(rootDir, uids)
		found, errs = append(found, left...), append(errs, err)
	}
	for what, look := range map[string]func(string) ([]string, error){
		"network namespace": d.netNamespaces, "veth": d.e.bridgePorts, "leased address": d.leases,
	} {
		all, err := look(rootDir)
		errs = append(errs, err)
		if len(all) > len(uids) {
			found = append(found, fmt.Sprintf("%s: %d, want at most %d: %s", what, len(all), len(uids), strings.Join(all, " ")))
		}
	}
	if len(found) > 0 {
		errs = append(errs, fmt.Errorf("left on the node:\n  %s", strings.Join(found, "\n  ")))
	}
	return errors.Join(errs...)
}

const podUIDLabel = "io.kubernetes.pod.uid"

func (d *Containerd) leftObjects(uids []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longCall)
	defer cancel()
	var left []string
	sandboxes, err1 := d.Runtime().ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	for _, item := range sandboxes.GetItems() {
		if !mentionsAny(item.Labels[podUIDLabel], uids) {
			left = append(left, "sandbox "+item.Metadata.Name+" "+item.Id[:12]+" "+item.State.String())
		}
	}
	containers, err2 := d.Runtime().ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	for _, item := range containers.GetContainers() {
		if !mentionsAny(item.Labels[podUIDLabel], uids) {
			left = append(left, "container "+item.Metadata.Name+" "+item.Id[:12]+" "+item.State.String())
		}
	}
	return left, errors.Join(err1, err2)
}

func (e *Env) leftMounts(rootDir string, uids []string) ([]string, error) {
	points, err := e.mounts()
	var left []string
	for _, p := range points {
		shared := len(uids) > 0 && strings.HasPrefix(p, rootDir+"/plugins/") // a staged volume may be that of a pod that runs
		if strings.HasPrefix(p, rootDir+"/") && !mentionsAny(p, uids) && !shared {
			left = append(left, "mount "+p)
		}
	}
	return left, err
}

func (e *Env) leftDirs(rootDir string, uids []string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(rootDir, "pods"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var left []string
	for _, d := range entries {
		if !mentionsAny(d.Name(), uids) {
			left = append(left, "directory pods/"+d.Name())
		}
	}
	return left, err
}

func (e *Env) leftCgroups(_ string, uids []string) ([]string, error) {
	var left []string
	for _, root := range e.cgroupDirs() {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "pod") && !mentionsAny(path, uids) {
				left = append(left, "cgroup "+path)
			}
			return nil // one that goes away while it is being read is not left
		})
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

func (d *Containerd) netNamespaces(string) ([]string, error) {
	points, err := d.e.mounts()
	var all []string
	for _, p := range points {
		if strings.HasPrefix(p, d.State+"/") && strings.Contains(p, "/netns/") {
			all = append(all, p)
		}
	}
	return all, err
}

func (e *Env) bridgePorts(string) (all []string, err error) {
	err = e.within(func() error {
		bridge, err := netlink.LinkByName(e.Bridge())
		if err != nil {
			return err
		}
		found, err := links()
		for _, l := range found {
			if l.Attrs().MasterIndex == bridge.Attrs().Index {
				all = append(all, l.Attrs().Name)
			}
		}
		return err
	})
	return all, err
}

// leases are host-local's files, each named as the address that it leases, also those of a network of the agent's own.
func (d *Containerd) leases(rootDir string) ([]string, error) {
	var all []string
	for _, dir := range []string{d.IPAMDir, rootDir} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && net.ParseIP(d.Name()) != nil {
				all = append(all, d.Name())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// mentionsAny also knows the form of a UID in the names of systemd's slices.
func mentionsAny(s string, uids []string) bool {
	for _, uid := range uids {
		if strings.Contains(s, uid) || strings.Contains(s, strings.ReplaceAll(uid, "-", "_")) {
			return true
		}
	}
	return false
}
