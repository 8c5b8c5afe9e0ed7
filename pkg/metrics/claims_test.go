package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
)

func claiming(name string, phase v1.PodPhase) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)},
		Spec: v1.PodSpec{Volumes: []v1.Volume{
			{Name: "data", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "shared"}}},
			{Name: "own", VolumeSource: v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}},
			{Name: "block", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "block"}}},
		}},
		Status: v1.PodStatus{Phase: phase},
	}
}

// A scrape gives what is known and asks for the rest: it waits for no driver. A driver that fails leaves what it told before.
func TestClaims_AreMeasuredBesideTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := []*v1.Pod{claiming("a", v1.PodPending), claiming("b", v1.PodRunning)}
		asked, hang, fail := 0, make(chan struct{}), false
		c := NewCollector(Config{Pods: func() []*v1.Pod { return pods }, Volumes: func(_ context.Context, uid types.UID) (map[string]csi.Stats, error) {
			asked++
			<-hang
			if fail {
				return nil, errors.New("the driver is away")
			}
			return map[string]csi.Stats{"data": {Bytes: csi.Amount{Total: 10, Used: 3, Available: 7}}, "own": {Abnormal: "worn out"}}, nil
		}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.RunClaims(ctx)
		scrape := func() map[string]float64 {
			got, registry := map[string]float64{}, prometheus.NewRegistry()
			if err := registry.Register(c); err != nil {
				t.Fatal(err)
			}
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.Metric {
					got[m.Label[0].GetValue()+"/"+m.Label[1].GetValue()+" "+strings.TrimPrefix(f.GetName(), "kubelet_volume_stats_")] = m.Gauge.GetValue()
				}
			}
			return got
		}
		if got := scrape(); len(got) != 0 {
			t.Errorf("while the driver hangs: %v", got)
		}
		close(hang)
		synctest.Wait()
		want := map[string]float64{
			"ns/shared capacity_bytes": 10, "ns/shared available_bytes": 7, "ns/shared used_bytes": 3, "ns/shared inodes": 0,
			"ns/shared inodes_free": 0, "ns/shared inodes_used": 0, "ns/shared health_status_abnormal": 0,
			"ns/b-own capacity_bytes": 0, "ns/b-own available_bytes": 0, "ns/b-own used_bytes": 0, "ns/b-own inodes": 0,
			"ns/b-own inodes_free": 0, "ns/b-own inodes_used": 0, "ns/b-own health_status_abnormal": 1,
		}
		if d := cmp.Diff(want, scrape()); d != "" {
			t.Error(d)
		}
		before := asked
		scrape()
		synctest.Wait()
		if asked != before {
			t.Error("a scrape has asked for what is known")
		}
		fail = true
		pods = []*v1.Pod{claiming("b", v1.PodRunning), claiming("c", v1.PodRunning)}
		scrape()
		synctest.Wait()
		if d := cmp.Diff(want, scrape()); d != "" || asked != before+2 {
			t.Errorf("a new pod, and a driver that fails: asked %d times more; %s", asked-before, d)
		}
		pods = nil
		if got := scrape(); len(got) != 0 {
			t.Errorf("without pods: %v", got)
		}
	})
}
