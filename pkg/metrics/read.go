package metrics

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/stats"
	"github.com/minikubelet/minikubelet/pkg/stats/cgroupstat"
)

// Config says where the readings come from. Functions may be called from any goroutine.
type Config struct {
	Node      func() *v1.Node
	Pods      func() []*v1.Pod // with their status
	Sandboxes func(ctx context.Context) ([]*runtimeapi.PodSandboxStats, error)
	Images    func(ctx context.Context) (images, layers stats.Usage, err error) // what images take, and the writable layers
	Stats     *stats.Source
	Volumes   func(ctx context.Context, uid types.UID) (map[string]csi.Stats, error) // of a pod, as far as they are file systems of their own
	Cgroups   Cgroups
	System    func() []SystemGroup // as far as they are known
	Classes   []string             // paths of the groups of quality-of-service classes
	Boot      time.Time
}

// Collector measures when it is asked.
type Collector struct {
	cfg Config

	mu   sync.Mutex
	last map[string]sample // of the CPU of groups that are not the runtime's, by path

	claims claims
}

type sample struct {
	at   time.Time
	used uint64 // nanoseconds of one core
	rate *uint64
}

// NewCollector returns a collector. Nothing is read yet.
func NewCollector(c Config) *Collector {
	return &Collector{cfg: c, last: map[string]sample{}, claims: claims{wake: make(chan struct{}, 1)}}
}

// Begin reads what the first request's rates are the difference to.
func (c *Collector) Begin() error { return c.system(&readings{}) }

// readings are what one request found.
type readings struct {
	At        time.Time
	Full      bool // not CPU and memory alone
	Node      *v1.Node
	Boot      time.Time
	Pods      []*v1.Pod
	Sandboxes map[types.UID]*runtimeapi.PodSandboxStats
	Disk      map[types.UID]stats.Pod
	Claims    map[types.UID]map[string]csi.Stats
	Machine   stats.Node
	Images    *stats.Usage // nil when the runtime does not tell
	Layers    *stats.Usage
	Root      measured // the whole node
	System    []measured
	Groups    map[string]cgroupstat.Stat // of pods, by UID, and of containers, by ID; only those that had to be read
	Network   []statsapi.InterfaceStats
}

// read measures. Disks, networks and pressure are measured only when full is set. What cannot be measured is missing, and in
// the error.
func (c *Collector) read(ctx context.Context, full bool) (readings, error) {
	r := readings{At: time.Now(), Full: full, Node: c.cfg.Node(), Boot: c.cfg.Boot, Pods: c.cfg.Pods()}
	var err, machine error
	r.Sandboxes, err = c.sandboxes(ctx)
	r.Machine, machine = c.cfg.Stats.Node(ctx)
	err = errors.Join(err, machine, c.system(&r))
	c.groups(&r)
	if full {
		err = errors.Join(err, c.more(ctx, &r))
	}
	return r, err
}

// sandboxes asks the runtime. Of several sandboxes of a pod the newest counts.
func (c *Collector) sandboxes(ctx context.Context) (map[types.UID]*runtimeapi.PodSandboxStats, error) {
	list, err := c.cfg.Sandboxes(ctx)
	out := make(map[types.UID]*runtimeapi.PodSandboxStats, len(list))
	for _, s := range list {
		uid := types.UID(s.GetAttributes().GetMetadata().GetUid())
		if old := out[uid]; old == nil || s.GetAttributes().GetMetadata().GetAttempt() > old.GetAttributes().GetMetadata().GetAttempt() {
			out[uid] = s
		}
	}
	return out, err
}

// more measures what is beside CPU and memory.
func (c *Collector) more(ctx context.Context, r *readings) error {
	var network, walk, images error
	r.Network, network = interfaces()
	r.Claims = c.measuredClaims(r.Pods)
	r.Disk, walk = c.cfg.Stats.Disk(ctx, r.Pods)
	var used, layers stats.Usage
	if used, layers, images = c.cfg.Images(ctx); images == nil {
		r.Images, r.Layers = &used, &layers
	}
	return errors.Join(network, walk, images)
}

// rate is the use of a group since its sample before, which is at least a second old.
func (c *Collector) rate(group string, now time.Time, used uint64) *uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.last[group]
	passed := now.Sub(before.at)
	if passed < time.Second {
		return before.rate
	}
	next := sample{at: now, used: used}
	if !before.at.IsZero() && used >= before.used {
		next.rate = new(uint64(float64(used-before.used) / passed.Seconds()))
	}
	c.last[group] = next
	return next.rate
}
