package metrics

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// Cgroups finds control groups. A path is below the root of each hierarchy.
type Cgroups interface {
	V2() bool
	RootDir(controller string) string // directory of the root group of a v1 controller, or of v2
	Parent(p *v1.Pod) string          // path of a pod's group
}

// SystemGroup is a control group beside those of pods.
type SystemGroup struct {
	Name  string // as a summary has it: kubelet, runtime, pods
	Path  string
	Start time.Time
}

// measured is a group with what was read.
type measured struct {
	SystemGroup
	cgroupstat.Stat
	Rate *uint64 // billionths of a core since the request before; nil when that is not known
}

// system reads the root group and those of the system. One that is gone is left out.
func (c *Collector) system(r *readings) error {
	reader := cgroupstat.NewReader(c.cfg.Cgroups.V2())
	root, err := c.measure(reader, SystemGroup{Path: "/"})
	r.Root = root
	r.Root.Pressure = reader.Machine()
	errs := []error{err}
	for _, g := range c.cfg.System() {
		m, err := c.measure(reader, g)
		if err == nil {
			r.System = append(r.System, m)
		} else if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot measure the control group of %s: %w", g.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Collector) measure(reader *cgroupstat.Reader, g SystemGroup) (measured, error) {
	s, err := reader.Read(cgroupstat.Dir(c.cfg.Cgroups.RootDir, g.Path))
	m := measured{SystemGroup: g, Stat: s}
	if err == nil {
		m.Rate = c.rate(g.Path, s.At, s.CPU.Total)
	}
	return m, err
}

// groups reads the groups of pods and containers, for what runtimes do not tell: swap, where the machine has any, and
// pressure, where the kernel measures it. A group that is gone is left out.
func (c *Collector) groups(r *readings) {
	if v2 := c.cfg.Cgroups.V2(); r.Machine.Swap.Capacity == 0 && !(v2 && r.Full) {
		return
	}
	r.Groups = map[string]cgroupstat.Stat{}
	reader := cgroupstat.NewReader(c.cfg.Cgroups.V2())
	for _, p := range r.Pods {
		s := r.Sandboxes[p.UID]
		if s == nil {
			continue
		}
		path := c.cfg.Cgroups.Parent(p)
		read := func(key, path string) {
			if stat, err := reader.Read(cgroupstat.Dir(c.cfg.Cgroups.RootDir, path)); err == nil {
				r.Groups[key] = stat
			}
		}
		read(string(p.UID), path)
		for _, child := range children(c.cfg.Cgroups, path, s.GetLinux().GetContainers()) {
			read(child.id, child.path)
		}
	}
}

// child is the group of a container.
type child struct{ id, path string }

// children finds the groups of containers below that of their pod. A runtime may put more than the ID into the name:
// cri-containerd-<ID>.scope.
func children(g Cgroups, pod string, containers []*runtimeapi.ContainerStats) (out []child) {
	entries, err := os.ReadDir(g.RootDir("memory") + pod)
	if err != nil {
		return nil
	}
	for _, c := range containers {
		id := c.GetAttributes().GetId()
		for _, e := range entries {
			if id != "" && e.IsDir() && strings.Contains(e.Name(), id) {
				out = append(out, child{id, pod + "/" + e.Name()})
				break
			}
		}
	}
	return out
}
