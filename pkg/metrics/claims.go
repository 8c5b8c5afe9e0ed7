package metrics

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/pkg/csi"
)

const (
	claimsEvery   = time.Minute
	claimPatience = 30 * time.Second // with the drivers of one pod
	claimsAtOnce  = 4
)

// claims are the sizes of the volumes that pods claim, as they were last measured, by pod and volume.
type claims struct {
	mu    sync.Mutex
	known map[types.UID]map[string]csi.Stats
	wake  chan struct{}
}

// RunClaims measures the volumes of claims until the context ends: each minute, and soon when somebody asks for one that was
// not measured yet. Requests never wait for it, for a driver may hang.
func (c *Collector) RunClaims(ctx context.Context) {
	t := time.NewTicker(claimsEvery)
	defer t.Stop()
	for {
		c.measureClaims(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.claims.wake:
		}
	}
}

func (c *Collector) measureClaims(ctx context.Context) {
	old := c.claims.all()
	next := map[types.UID]map[string]csi.Stats{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(claimsAtOnce)
	for _, p := range c.cfg.Pods() {
		if p.Status.Phase != v1.PodRunning || !hasClaims(p) {
			continue
		}
		g.Go(func() error {
			short, cancel := context.WithTimeout(ctx, claimPatience)
			defer cancel()
			s, err := c.cfg.Volumes(short, p.UID)
			if err != nil && ctx.Err() == nil {
				slog.Debug("cannot measure every volume of a pod", "pod", p.Namespace+"/"+p.Name, "uid", p.UID, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			next[p.UID] = map[string]csi.Stats{}
			for _, all := range []map[string]csi.Stats{old[p.UID], s} { // what cannot be measured now is as it was
				for name, v := range all {
					next[p.UID][name] = v
				}
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	c.claims.mu.Lock()
	defer c.claims.mu.Unlock()
	c.claims.known = next
}

func (c *claims) all() map[types.UID]map[string]csi.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// measuredClaims are what is known, and a wish for more when a pod that runs is not among them.
func (c *Collector) measuredClaims(pods []*v1.Pod) map[types.UID]map[string]csi.Stats {
	known := c.claims.all()
	for _, p := range pods {
		if p.Status.Phase == v1.PodRunning && hasClaims(p) && known[p.UID] == nil {
			select {
			case c.claims.wake <- struct{}{}:
			default:
			}
		}
	}
	return known
}

// claimOf names the claim of a volume, "" when it has none.
func claimOf(p *v1.Pod, v *v1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

func hasClaims(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if claimOf(p, &p.Spec.Volumes[i]) != "" {
			return true
		}
	}
	return false
}

// claimStats are the volumes of a pod's claims in the form of a summary.
func claimStats(p *v1.Pod, known map[string]csi.Stats, at time.Time) (out []statsapi.VolumeStats) {
	amount := func(n int64) *uint64 { return new(uint64(max(n, 0))) }
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		s, ok := known[v.Name]
		if claim := claimOf(p, v); ok && claim != "" {
			out = append(out, statsapi.VolumeStats{
				Name: v.Name, PVCRef: &statsapi.PVCReference{Namespace: p.Namespace, Name: claim},
				VolumeHealthStats: &statsapi.VolumeHealthStats{Abnormal: s.Abnormal != ""},
				FsStats: statsapi.FsStats{
					Time:          stamp(at.UnixNano()),
					CapacityBytes: amount(s.Bytes.Total), UsedBytes: amount(s.Bytes.Used), AvailableBytes: amount(s.Bytes.Available),
					Inodes: amount(s.Inodes.Total), InodesUsed: amount(s.Inodes.Used), InodesFree: amount(s.Inodes.Available),
				},
			})
		}
	}
	return out
}

// Describe describes nothing, so that the set of series may change.
func (*Collector) Describe(chan<- *prometheus.Desc) {}

// Collect gives the series of /metrics that tell how full claims are.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	pods := c.cfg.Pods()
	known, seen := c.measuredClaims(pods), map[statsapi.PVCReference]bool{}
	for _, p := range pods {
		for _, v := range claimStats(p, known[p.UID], time.Now()) {
			if seen[*v.PVCRef] {
				continue // several pods may use it
			}
			seen[*v.PVCRef] = true
			abnormal := uint64(0)
			if v.VolumeHealthStats.Abnormal {
				abnormal = 1
			}
			for _, s := range []struct {
				name, help string
				value      *uint64
			}{
				{"capacity_bytes", "Capacity in bytes of the volume", v.CapacityBytes},
				{"available_bytes", "Number of available bytes in the volume", v.AvailableBytes},
				{"used_bytes", "Number of used bytes in the volume", v.UsedBytes},
				{"inodes", "Maximum number of inodes in the volume", v.Inodes},
				{"inodes_free", "Number of free inodes in the volume", v.InodesFree},
				{"inodes_used", "Number of used inodes in the volume", v.InodesUsed},
				{"health_status_abnormal", "Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates volume is healthy", &abnormal},
			} {
				d := desc("kubelet_volume_stats_"+s.name, s.help, "namespace", "persistentvolumeclaim")
				out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(*s.value), v.PVCRef.Namespace, v.PVCRef.Name)
			}
		}
	}
}
