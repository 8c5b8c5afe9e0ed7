package eviction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

// machine is a node whose measures a test sets. Its pods go at once unless they linger.
type machine struct {
	mu      sync.Mutex
	node    stats.Node
	used    map[types.UID]stats.Pod
	err     error
	pods    []*v1.Pod
	lingers bool
	takes   time.Duration // to measure the disk
	log     []string
	epoch   time.Time
}

func (m *machine) Node(context.Context) (stats.Node, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node, nil
}

func (m *machine) Memory(context.Context, []*v1.Pod) (map[types.UID]stats.Pod, error) {
	return m.used, m.err
}

func (m *machine) Disk(ctx context.Context, _ []*v1.Pod) (map[types.UID]stats.Pod, error) {
	select {
	case <-ctx.Done():
	case <-time.After(m.takes): // by the bubble's clock
	}
	return m.used, m.err
}

func (m *machine) Active() []*v1.Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.pods)
}

func (m *machine) Gone(types.UID) bool { m.mu.Lock(); defer m.mu.Unlock(); return !m.lingers }

func (m *machine) Evict(uid types.UID, s pod.Stop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf("%v evict %s %s %v %s", time.Since(m.epoch), uid, s.Reason, s.Grace, s.By))
	m.pods = slices.DeleteFunc(m.pods, func(p *v1.Pod) bool { return p.UID == uid })
}

func (m *machine) set(change func()) { m.mu.Lock(); change(); m.mu.Unlock() }

// start runs a guard until the test ends and returns it.
func (m *machine) start(t *testing.T, change func(*Config), reclaim ...func(context.Context) error) *Guard {
	t.Helper()
	m.epoch = time.Now()
	all, err := Parse(Settings{Hard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Limits: Limits{Thresholds: all}, Stats: m, Event: func(*v1.Pod, string, string, string) {}, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	g := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx, With{Pods: m, Reclaim: reclaim}) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return g
}

func (m *machine) expect(t *testing.T, after time.Duration, want ...string) {
	t.Helper()
	time.Sleep(after - time.Since(m.epoch)) // the bubble's clock
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if diff := cmp.Diff(want, m.log); diff != "" {
		t.Error(diff)
	}
}

func short() stats.Node {
	return stats.Node{Memory: stats.Amount{Available: 50 * mi, Capacity: 1000 * mi}, Shared: true}
}

func well() stats.Node {
	return stats.Node{Memory: stats.Amount{Available: 900 * mi, Capacity: 1000 * mi}, Shared: true}
}

func TestGuard_EvictsOnePodAtATimeUntilThereIsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{
			node: short(), lingers: true, pods: []*v1.Pod{aPod("small", 0), aPod("big", 0), aPod("last", 0)},
			used: map[types.UID]stats.Pod{"small": {WorkingSet: 10}, "big": {WorkingSet: 20}, "last": {WorkingSet: 5}},
		}
		var signals []string
		g := m.start(t, func(c *Config) { c.Evicted = func(signal string) { signals = append(signals, signal) } })
		m.expect(t, 5*time.Second, "0s evict big Evicted 1s eviction")
		if diff := cmp.Diff([]string{"memory.available"}, signals); diff != "" {
			t.Error(diff)
		}
		m.set(func() { m.lingers = false })
		m.expect(t, 6500*time.Millisecond, "0s evict big Evicted 1s eviction", "6s evict small Evicted 1s eviction")
		m.set(func() { m.node = well() })
		m.expect(t, time.Minute, "0s evict big Evicted 1s eviction", "6s evict small Evicted 1s eviction")
		if diff := cmp.Diff([]v1.NodeConditionType{v1.NodeMemoryPressure}, g.Pressure()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := g.Pressure(); len(got) != 0 {
			t.Errorf("pressure %v after the transition period", got)
		}
	})
}

func TestGuard_AnEvictedPodThatDoesNotGoIsNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{node: short(), lingers: true, pods: []*v1.Pod{aPod("a", 0), aPod("b", 1)}}
		m.used = map[types.UID]stats.Pod{"a": {}, "b": {}}
		m.start(t, nil)
		m.expect(t, 40*time.Second, "0s evict a Evicted 1s eviction", "30s evict b Evicted 1s eviction")
	})
}

func TestGuard_FreesDiskBeforeItEvicts(t *testing.T) {
	full := well()
	full.Nodefs.Bytes = stats.Amount{Available: 5, Capacity: 100}
	for name, enough := range map[string]bool{"enough": true, "not enough": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &machine{node: full, pods: []*v1.Pod{aPod("a", 0)}, used: map[types.UID]stats.Pod{"a": {}}}
				reclaimed := 0
				fails := func(context.Context) error { return errors.New("one that fails stops nothing") }
				m.start(t, nil, fails, func(context.Context) error {
					reclaimed++
					if enough {
						m.set(func() { m.node = well() })
					}
					return nil
				})
				if enough {
					m.expect(t, time.Second)
				} else {
					m.expect(t, time.Second, "0s evict a Evicted 1s eviction")
				}
				if reclaimed != 1 {
					t.Errorf("reclaimed %d times", reclaimed)
				}
			})
		})
	}
}

func TestGuard_SoftThresholdsGiveTheShorterGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := int64(60)
		a := aPod("a", 0)
		a.Spec.TerminationGracePeriodSeconds = &own
		m := &machine{node: short(), pods: []*v1.Pod{a}, used: map[types.UID]stats.Pod{"a": {}}}
		m.start(t, func(c *Config) {
			c.Thresholds = []Threshold{{Signal: memoryAvailable, Value: quantity("100Mi"), Soft: true, Grace: 25 * time.Second}}
			c.MaxPodGrace = 45 * time.Second
		})
		m.expect(t, time.Minute, "25s evict a Evicted 45s eviction")
	})
}

func TestGuard_LocalLimitsHoldOnAHealthyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := resource.MustParse("1Mi")
		over, critical := aPod("over", 0), aPod("critical", pod.CriticalPriority)
		over.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
		critical.Spec.Volumes = over.Spec.Volumes
		used := stats.Pod{Volumes: map[string]stats.Usage{"v": {Bytes: 2 * mi}}}
		m := &machine{node: well(), pods: []*v1.Pod{critical, over}, used: map[types.UID]stats.Pod{"over": used, "critical": used}}
		var signals []string
		g := m.start(t, func(c *Config) { c.Evicted = func(signal string) { signals = append(signals, signal) } })
		m.expect(t, time.Minute, "0s evict over Evicted 1s eviction")
		if diff := cmp.Diff([]string{"emptydirfs.limit"}, signals); diff != "" {
			t.Error(diff)
		}
		if len(g.Pressure()) != 0 {
			t.Error("a pod's own limit is not the node's pressure")
		}
	})
}

func TestGuard_EvictsForMemoryWhileTheDiskIsMeasuredOrFreedForEver(t *testing.T) {
	for name, full := range map[string]bool{"measuring a pod with a limit": false, "freeing a full disk": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := resource.MustParse("1Mi")
				limited := aPod("limited", 0)
				m := &machine{node: well(), takes: time.Hour, pods: []*v1.Pod{limited, aPod("big", 0)}}
				m.used = map[types.UID]stats.Pod{"limited": {WorkingSet: 10}, "big": {WorkingSet: 20}}
				if full {
					m.node.Nodefs.Bytes = stats.Amount{Available: 5, Capacity: 100}
				} else {
					limited.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
				}
				g := m.start(t, nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
				m.expect(t, 15*time.Second)
				m.set(func() { m.node.Memory = short().Memory })
				m.expect(t, 20500*time.Millisecond, "20s evict big Evicted 1s eviction")
				m.expect(t, 21500*time.Millisecond, "20s evict big Evicted 1s eviction", "21s evict limited Evicted 1s eviction")
				if !slices.Contains(g.Pressure(), v1.NodeMemoryPressure) {
					t.Errorf("pressure %v", g.Pressure())
				}
			})
		})
	}
}

func TestGuard_EvictsNoPodTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := resource.MustParse("1Mi")
		over := aPod("over", 0)
		over.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
		m := &machine{node: short(), takes: 5 * time.Second, pods: []*v1.Pod{over}}
		m.used = map[types.UID]stats.Pod{"over": {WorkingSet: 10, Volumes: map[string]stats.Usage{"v": {Bytes: 2 * mi}}}}
		m.start(t, nil) // it goes for the node's memory while its disk is measured
		m.expect(t, time.Minute, "0s evict over Evicted 1s eviction")
	})
}

func TestGuard_LooksSoonAfterAnEvictionForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := well()
		full.Nodefs.Bytes = stats.Amount{Available: 5, Capacity: 100}
		m := &machine{node: full, lingers: true, pods: []*v1.Pod{aPod("a", 0), aPod("b", 0)}}
		m.used = map[types.UID]stats.Pod{"a": {Disk: stats.Usage{Bytes: 2}}, "b": {Disk: stats.Usage{Bytes: 1}}}
		m.start(t, nil)
		m.expect(t, 2500*time.Millisecond, "0s evict a Evicted 1s eviction")
		m.set(func() { m.lingers = false })
		m.expect(t, 4*time.Second, "0s evict a Evicted 1s eviction", "3s evict b Evicted 1s eviction")
	})
}

func TestGuard_EvictsNobodyWhenItIsBlind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{node: short(), pods: []*v1.Pod{aPod("a", 0)}, err: errors.New("no cgroups")}
		m.start(t, nil)
		m.expect(t, time.Minute)
	})
}
