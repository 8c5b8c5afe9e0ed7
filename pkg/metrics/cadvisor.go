package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// unit is a control group as /metrics/cadvisor has it. A container's ID is the last part of its path.
type unit struct {
	cgroupstat.Detail
	labels labels
	start  time.Time
	links  []link                      // of the node and of sandboxes
	layer  *runtimeapi.FilesystemUsage // of containers
	disks  []filesystem                // of the node
}

// filesystem is one of the node's.
type filesystem struct {
	device string
	stats.FS
}

// identity is whom a group belongs to; what does not apply is empty.
type identity struct{ container, path, image, name, namespace, pod string }

func (i identity) labels() labels {
	return labels{
		head: label("container", i.container)[1:], mid: label("id", i.path) + label("image", i.image),
		tail: label("name", i.name) + label("namespace", i.namespace) + label("pod", i.pod),
	}
}

// ServeCadvisor answers /metrics/cadvisor.
func (c *Collector) ServeCadvisor(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	machine, failed := c.cfg.Stats.Node(ctx)
	units, err := c.units(ctx, machine)
	if err := errors.Join(failed, err); err != nil {
		slog.Warn("metrics lack what could not be measured", "path", r.URL.Path, "err", err)
	}
	t, end := openText(w, r)
	for i := range containerFamilies {
		t.begin(&containerFamilies[i])
		for j := range units {
			containerFamilies[i].each(t, &units[j])
		}
	}
	machineSeries(t, c.cfg.Node(), machine, failed != nil)
	t.begin(&family{name: "container_scrape_error", help: "1 if there was an error while getting container metrics, 0 otherwise"})
	t.add(labels{}, labels{}, truth(err != nil), time.Time{})
	if err := end(); err != nil {
		slog.Debug("cannot send metrics", "err", err)
	}
}

// units reads the groups of the node, of the system, of pods and of containers. Those that are gone are left out.
func (c *Collector) units(ctx context.Context, machine stats.Node) ([]unit, error) {
	sandboxes, err := c.sandboxes(ctx)
	reader := cgroupstat.NewReader(c.cfg.Cgroups.V2())
	var out []unit
	errs := []error{err}
	add := func(i identity) *unit {
		d, err := reader.Detail(cgroupstat.Dir(c.cfg.Cgroups.RootDir, i.path))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("cannot measure control group %s: %w", i.path, err))
			}
			return nil
		}
		out = append(out, unit{Detail: d, labels: i.labels()})
		return &out[len(out)-1]
	}
	if u := add(identity{path: "/"}); u != nil {
		u.Pressure, u.start, u.disks = reader.Machine(), c.cfg.Boot, c.filesystems(machine)
		u.links, err = links("/proc/net/dev")
		errs = append(errs, err)
	}
	for _, g := range c.cfg.System() {
		if u := add(identity{path: g.Path}); u != nil {
			u.start = g.Start
		}
	}
	for _, path := range c.cfg.Classes {
		if u := add(identity{path: path}); u != nil {
			u.start = cgroupstat.Made(c.cfg.Cgroups.RootDir("memory") + path)
		}
	}
	for _, p := range c.cfg.Pods() {
		if s := sandboxes[p.UID]; s != nil {
			c.podUnits(p, s, add)
		}
	}
	return out, errors.Join(errs...)
}

// podUnits reads the groups of a pod, of its sandbox and of its containers.
func (c *Collector) podUnits(p *v1.Pod, s *runtimeapi.PodSandboxStats, add func(identity) *unit) {
	id := identity{path: c.cfg.Cgroups.Parent(p), namespace: p.Namespace, pod: p.Name}
	u := add(id)
	if u == nil {
		return
	}
	var started time.Time
	if p.Status.StartTime != nil {
		started = p.Status.StartTime.Time
	}
	u.start = started
	entries, err := os.ReadDir(c.cfg.Cgroups.RootDir("memory") + id.path)
	if err != nil {
		return // gone meanwhile
	}
	for _, e := range entries {
		is := func(id string) bool { return e.IsDir() && id != "" && strings.Contains(e.Name(), id) }
		own := id
		own.path += "/" + e.Name()
		if box := s.GetAttributes().GetId(); is(box) {
			own.name = box
			if u := add(own); u != nil {
				u.start = started
				if u.Tasks.First > 0 && !p.Spec.HostNetwork { // the host's is the node's
					u.links, _ = links(fmt.Sprintf("/proc/%d/net/dev", u.Tasks.First)) // gone meanwhile
				}
			}
			continue
		}
		i := slices.IndexFunc(s.GetLinux().GetContainers(), func(c *runtimeapi.ContainerStats) bool { return is(c.GetAttributes().GetId()) })
		if i < 0 {
			continue
		}
		cs := s.GetLinux().GetContainers()[i]
		own.name, own.container = cs.GetAttributes().GetId(), cs.GetAttributes().GetMetadata().GetName()
		st := pod.StatusOf(&p.Status, own.container)
		own.image = imageOf(p, st, own.container)
		if u := add(own); u != nil {
			u.layer = cs.GetWritableLayer()
			if st != nil && st.State.Running != nil && pod.BareID(st.ContainerID) == own.name {
				u.start = st.State.Running.StartedAt.Time
			}
		}
	}
}

// filesystems are the node's and that of images, each once, as far as they lie on a device.
func (c *Collector) filesystems(machine stats.Node) (out []filesystem) {
	node, image := c.cfg.Stats.Devices()
	if node != "" && machine.Nodefs.Bytes.Capacity > 0 {
		out = append(out, filesystem{node, machine.Nodefs})
	}
	if image != "" && image != node && machine.Imagefs.Bytes.Capacity > 0 {
		out = append(out, filesystem{image, machine.Imagefs})
	}
	return out
}

// imageOf names the image of a container.
func imageOf(p *v1.Pod, st *v1.ContainerStatus, container string) string {
	if st != nil && st.Image != "" {
		return st.Image
	}
	if c, _ := pod.SpecOf(p, container); c != nil {
		return c.Image
	}
	return ""
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
