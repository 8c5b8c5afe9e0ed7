package metrics

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// Config says where the readings come from. Functions may be called from any goroutine.
type Config struct {
	Node      func() *v1.Node
	Pods      func() []*v1.Pod // with their status
	Sandboxes func(ctx context.Context) ([]*runtimeapi.PodSandboxStats, error)
	Stats     *stats.Source
	Volumes   func(ctx context.Context, uid types.UID) (map[string]csi.Stats, error) // of a pod, as far as they are file systems of their own
	Cgroup    func(controller string) string                                         // directory of the node's root cgroup of a controller
	V2        bool
	Boot      time.Time
}

// Collector measures when it is asked.
type Collector struct {
	cfg Config

	mu   sync.Mutex
	last sample // of the node's CPU, for its rate

	claims claims
}

type sample struct {
	at   time.Time
	used uint64 // nanoseconds of one core since boot
	rate *uint64
}

// NewCollector returns a collector. Nothing is read yet.
func NewCollector(c Config) *Collector {
	return &Collector{cfg: c, claims: claims{wake: make(chan struct{}, 1)}}
}

// Readings are what one request found.
type Readings struct {
	At        time.Time
	Node      *v1.Node
	Boot      time.Time
	Pods      []*v1.Pod
	Sandboxes map[types.UID]*runtimeapi.PodSandboxStats
	Disk      map[types.UID]stats.Pod
	Claims    map[types.UID]map[string]csi.Stats
	Machine   stats.Node
	CPU       uint64  // of the node, nanoseconds of one core
	Rate      *uint64 // billionths of a core since the request before; nil at the first
	Network   []statsapi.InterfaceStats
}

// Read measures. Disks are walked only when disk is set. What cannot be measured is missing, and in the error.
func (c *Collector) Read(ctx context.Context, disk bool) (Readings, error) {
	r := Readings{At: time.Now(), Node: c.cfg.Node(), Boot: c.cfg.Boot, Pods: c.cfg.Pods(), Sandboxes: map[types.UID]*runtimeapi.PodSandboxStats{}}
	list, err := c.cfg.Sandboxes(ctx)
	for _, s := range list {
		uid := types.UID(s.GetAttributes().GetMetadata().GetUid())
		if old := r.Sandboxes[uid]; old == nil || s.GetAttributes().GetMetadata().GetAttempt() > old.GetAttributes().GetMetadata().GetAttempt() {
			r.Sandboxes[uid] = s
		}
	}
	var machine, cpu, network error
	r.Machine, machine = c.cfg.Stats.Node(ctx)
	if r.CPU, cpu = c.cpu(); cpu == nil {
		r.Rate = c.rate(r.At, r.CPU)
	}
	r.Network, network = interfaces()
	err = errors.Join(err, machine, cpu, network)
	if disk {
		var walk error
		r.Claims = c.measuredClaims(r.Pods)
		r.Disk, walk = c.cfg.Stats.Disk(ctx, r.Pods)
		err = errors.Join(err, walk)
	}
	return r, err
}

// cpu is what the whole node has used.
func (c *Collector) cpu() (uint64, error) {
	if !c.cfg.V2 {
		b, err := os.ReadFile(filepath.Join(c.cfg.Cgroup("cpuacct"), "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	}
	b, err := os.ReadFile(filepath.Join(c.cfg.Cgroup("cpu"), "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "usage_usec "); ok {
			us, err := strconv.ParseUint(v, 10, 64)
			return us * 1000, err
		}
	}
	return 0, errors.New("cannot find usage_usec in the root cgroup's cpu.stat")
}

// rate is the use since the sample before, which is at least a second old.
func (c *Collector) rate(now time.Time, used uint64) *uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := now.Sub(c.last.at)
	if passed < time.Second || used < c.last.used {
		return c.last.rate
	}
	before := c.last
	c.last = sample{at: now, used: used}
	if !before.at.IsZero() {
		c.last.rate = new(uint64(float64(used-before.used) / passed.Seconds()))
	}
	return c.last.rate
}

// interfaces reads what the node's network interfaces have carried.
func interfaces() ([]statsapi.InterfaceStats, error) {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return nil, err
	}
	var out []statsapi.InterfaceStats
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(f) < 11 || name == "lo" {
			continue
		}
		s := statsapi.InterfaceStats{Name: name}
		for i, p := range map[int]**uint64{0: &s.RxBytes, 2: &s.RxErrors, 8: &s.TxBytes, 10: &s.TxErrors} {
			if n, err := strconv.ParseUint(f[i], 10, 64); err == nil {
				*p = &n
			}
		}
		out = append(out, s)
	}
	return out, nil
}
