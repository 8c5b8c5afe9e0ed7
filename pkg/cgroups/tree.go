package cgroups

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// ErrBusy means that a cgroup could not be removed because processes are still in it.
var ErrBusy = errors.New("cgroup still has processes")

// Config is what of the node's configuration concerns cgroups.
type Config struct {
	Root     string // cgroupRoot: kubepods lies below it; "" is the root
	Systemd  bool   // the cgroup driver: systemd, not cgroupfs
	CFS      resources.CFS
	PodPIDs  int64 // podPidsLimit; zero or less sets no limit
	Capacity resources.Capacity
	Log      *slog.Logger
}

// driver makes and changes cgroups; removing their directories is the same for both.
type driver interface {
	create(n name, v resources.CgroupValues) error
	set(n name, v resources.CgroupValues) error
	release(n name) error // before its directories are removed
	path(n name) string   // within a hierarchy
}

// Tree is the node's cgroups. Its methods may be called from any goroutine.
type Tree struct {
	cfg  Config
	node name
	all  []hierarchy
	v2   bool
	drv  driver

	mu     sync.Mutex
	warned map[string]bool // refusals that were told
}

// New looks at how cgroups are mounted. It changes nothing.
func New(cfg Config) (*Tree, error) {
	root, err := parseRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	all, v2, err := hierarchies()
	if err != nil {
		return nil, err
	}
	t := &Tree{cfg: cfg, node: root.child("kubepods"), all: all, v2: v2, warned: map[string]bool{}}
	t.drv = &cgroupfs{t}
	if cfg.Systemd {
		if t.drv, err = newSystemd(v2); err != nil {
			return nil, err
		}
	}
	if !t.limitsHugePages() {
		t.cfg.Capacity.HugePages = nil
	}
	if !v2 {
		for _, c := range []string{"cpu", "memory", "pids"} {
			if t.RootDir(c) == "" {
				t.warn(c, fmt.Errorf("the node has no %s controller: its limits are not enforced", c))
			}
		}
	}
	return t, nil
}

// V2 reports whether the node is on cgroup v2.
func (t *Tree) V2() bool { return t.v2 }

// limitsHugePages reports whether the node has the controller that does.
func (t *Tree) limitsHugePages() bool {
	if !t.v2 {
		return t.RootDir("hugetlb") != ""
	}
	has, err := cgroups.ReadFile(mountRoot, "cgroup.controllers")
	return err == nil && slices.Contains(strings.Fields(has), "hugetlb")
}

// EnsureNode makes kubepods with the limits of all pods together, and the classes below it. The weight of burstable pods
// stays what it is until SetClasses. It may be called again.
func (t *Tree) EnsureNode(limits resources.CgroupValues) error {
	if t.cfg.Capacity.HugePages == nil {
		limits.HugePages = nil
	}
	if err := t.drv.create(t.node, limits); err != nil {
		return fmt.Errorf("cannot make the cgroup of all pods: %w", err)
	}
	for _, class := range limitedClasses {
		values := resources.ClassCgroup(class, nil, t.cfg.Capacity)
		if class == v1.PodQOSBurstable {
			values.CPUShares = 0
		}
		if err := t.drv.create(t.node.child(qosName(class)), values); err != nil {
			return fmt.Errorf("cannot make the cgroup of %s pods: %w", class, err)
		}
	}
	return nil
}

// limitedClasses have a cgroup of their own.
var limitedClasses = []v1.PodQOSClass{v1.PodQOSBurstable, v1.PodQOSBestEffort}

// SetClasses gives the cgroups of the classes what the pods of the node come to together.
func (t *Tree) SetClasses(pods []*v1.Pod) error {
	var errs []error
	for _, class := range limitedClasses {
		if err := t.drv.set(t.node.child(qosName(class)), resources.ClassCgroup(class, pods, t.cfg.Capacity)); err != nil {
			errs = append(errs, fmt.Errorf("cannot set the cgroup of %s pods: %w", class, err))
		}
	}
	return errors.Join(errs...)
}

// LimitsSwap reports whether the node's cgroups can keep pods from swapping. It is asked after EnsureNode.
func (t *Tree) LimitsSwap() bool {
	file := "memory.memsw.limit_in_bytes"
	if t.v2 {
		file = "memory.swap.max"
	}
	_, err := os.Stat(filepath.Join(t.RootDir("memory"), t.drv.path(t.node), file))
	return err == nil
}

// CreatePod makes a pod's cgroup and sets its limits. On a cgroup that exists it sets the limits again.
func (t *Tree) CreatePod(p *v1.Pod) error {
	n, err := t.pod(resources.QOSClass(p), p.UID)
	if err != nil {
		return err
	}
	values := resources.PodCgroup(p, t.cfg.CFS, t.cfg.Capacity)
	values.PIDs = max(t.cfg.PodPIDs, 0)
	if err := t.drv.create(n, values); err != nil {
		return fmt.Errorf("cannot make the pod's cgroup: %w", err)
	}
	return nil
}

// Parent is a pod's cgroup as CRI's cgroup_parent wants it.
func (t *Tree) Parent(p *v1.Pod) string {
	n, err := t.pod(resources.QOSClass(p), p.UID)
	if err != nil {
		return ""
	}
	return t.drv.path(n)
}

// RemovePod removes a pod's cgroup with the empty ones that a runtime left below it, in every hierarchy. It succeeds
// when there is none; it is ErrBusy when processes are left.
func (t *Tree) RemovePod(uid types.UID) error {
	var errs []error
	for _, class := range classes {
		n, err := t.pod(class, uid)
		if err != nil {
			return err
		}
		if t.cfg.Systemd && t.exists(n) {
			errs = append(errs, t.drv.release(n))
		}
		for _, h := range t.all {
			errs = append(errs, removeTree(filepath.Join(h.dir, t.drv.path(n))))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove the pod's cgroup: %w", err)
	}
	return nil
}

// KillPod sends SIGKILL to every process in a pod's cgroup and below it, and returns how many those were. It does not wait
// for their end.
func (t *Tree) KillPod(uid types.UID) (killed int, err error) {
	var errs []error
	for _, class := range classes {
		n, err := t.pod(class, uid)
		if err != nil {
			return 0, err
		}
		if !t.exists(n) {
			continue
		}
		for _, h := range t.all {
			pids, err := cgroups.GetAllPids(filepath.Join(h.dir, t.drv.path(n)))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
			for _, pid := range pids {
				err := unix.Kill(pid, unix.SIGKILL)
				if err == nil {
					killed++
				} else if !errors.Is(err, unix.ESRCH) {
					errs = append(errs, fmt.Errorf("cannot kill process %d: %w", pid, err))
				}
			}
			if len(pids) > 0 {
				break // a process is in the same cgroup of every hierarchy
			}
		}
	}
	return killed, errors.Join(errs...)
}

// ExistsPod reports whether a pod has a cgroup.
func (t *Tree) ExistsPod(uid types.UID) bool {
	return slices.ContainsFunc(classes, func(class v1.PodQOSClass) bool {
		n, err := t.pod(class, uid)
		return err == nil && t.exists(n)
	})
}

// LeftOfPod reports whether a pod has a cgroup in any hierarchy, also in one that limits nothing.
func (t *Tree) LeftOfPod(uid types.UID) bool {
	return slices.ContainsFunc(classes, func(class v1.PodQOSClass) bool {
		n, err := t.pod(class, uid)
		return err == nil && slices.ContainsFunc(t.all, func(h hierarchy) bool { return t.existsIn(h, n) })
	})
}

// PodDir is the directory of a pod's cgroup in the hierarchy of a v1 controller, or in the only one of v2, and "" when
// there is none.
func (t *Tree) PodDir(uid types.UID, controller string) string {
	for _, class := range classes {
		n, err := t.pod(class, uid)
		if err != nil {
			return ""
		}
		if base := t.RootDir(controller); base != "" {
			dir := filepath.Join(base, t.drv.path(n))
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	return ""
}

// Leftovers are the pods that have a cgroup in any hierarchy, known to the agent or not.
func (t *Tree) Leftovers() ([]types.UID, error) {
	found := map[types.UID]bool{}
	var errs []error
	for _, h := range t.all {
		for _, class := range classes {
			n := t.node
			if q := qosName(class); q != "" {
				n = n.child(q)
			}
			entries, err := os.ReadDir(filepath.Join(h.dir, t.drv.path(n)))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
			for _, e := range entries {
				if uid, ok := uidOf(e.Name()); ok && e.IsDir() {
					found[uid] = true
				}
			}
		}
	}
	uids := make([]types.UID, 0, len(found))
	for uid := range found {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids, errors.Join(errs...)
}

// classes are where a pod's cgroup may lie; the most usual first.
var classes = []v1.PodQOSClass{v1.PodQOSBurstable, v1.PodQOSBestEffort, v1.PodQOSGuaranteed}

func (t *Tree) pod(class v1.PodQOSClass, uid types.UID) (name, error) {
	last, err := podName(uid)
	if err != nil {
		return nil, err
	}
	if q := qosName(class); q != "" {
		return t.node.child(q).child(last), nil
	}
	return t.node.child(last), nil
}

// exists reports whether a cgroup is where it limits something.
func (t *Tree) exists(n name) bool {
	return slices.ContainsFunc(t.all, func(h hierarchy) bool {
		return (t.v2 || h.limits()) && t.existsIn(h, n)
	})
}

func (t *Tree) existsIn(h hierarchy, n name) bool {
	_, err := os.Stat(filepath.Join(h.dir, t.drv.path(n)))
	return err == nil
}

// RootDir is where the hierarchy of a v1 controller is mounted, or the only one of v2; "" when the node lacks it.
func (t *Tree) RootDir(controller string) string {
	for _, h := range t.all {
		if t.v2 || h.has(controller) {
			return h.dir
		}
	}
	return ""
}

// warn tells a refusal once.
func (t *Tree) warn(what string, err error) {
	t.mu.Lock()
	first := !t.warned[what]
	t.warned[what] = true
	t.mu.Unlock()
	if first {
		t.cfg.Log.Warn("a cgroup limit is not enforced", "limit", what, "error", err)
	}
}
