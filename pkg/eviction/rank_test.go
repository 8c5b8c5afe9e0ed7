package eviction

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/stats"
)

func aPod(name string, priority int32, requests ...string) *v1.Pod {
	c := v1.Container{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{}, Limits: v1.ResourceList{}}}
	for i := 0; i < len(requests); i += 2 {
		c.Resources.Requests[v1.ResourceName(requests[i])] = resource.MustParse(requests[i+1])
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", UID: types.UID(name)},
		Spec:       v1.PodSpec{Priority: &priority, Containers: []v1.Container{c}},
	}
}

func TestVictim(t *testing.T) {
	static := aPod("static", 0)
	static.Annotations = map[string]string{pod.AnnotationSource: "file"}
	ws := func(mib int64) stats.Pod { return stats.Pod{WorkingSet: mib * mi} }
	disk := func(writable, rest int64) stats.Pod {
		return stats.Pod{
			Disk:       stats.Usage{Bytes: (writable + rest) * mi, Inodes: writable + rest},
			Containers: []stats.Container{{Name: "c", Writable: stats.Usage{Bytes: writable * mi, Inodes: writable}}},
		}
	}
	for name, tc := range map[string]struct {
		signal Signal
		pods   []*v1.Pod
		used   map[types.UID]stats.Pod
		shared bool
		want   string
	}{
		"usage over request comes before priority": {
			memoryAvailable, []*v1.Pod{aPod("low", 0, "memory", "100Mi"), aPod("high", 10, "memory", "10Mi")},
			map[types.UID]stats.Pod{"low": ws(90), "high": ws(11)}, true, "high",
		},
		"priority comes before the amount": {
			memoryAvailable, []*v1.Pod{aPod("high", 10), aPod("low", 0)},
			map[types.UID]stats.Pod{"high": ws(500), "low": ws(1)}, true, "low",
		},
		"the amount is what is over the request": {
			memoryAvailable, []*v1.Pod{aPod("big", 0, "memory", "900Mi"), aPod("greedy", 0)},
			map[types.UID]stats.Pod{"big": ws(950), "greedy": ws(60)}, true, "greedy",
		},
		"what is not known goes first": {
			memoryAvailable, []*v1.Pod{aPod("a", 0), aPod("unknown", 100)}, map[types.UID]stats.Pod{"a": ws(900)}, true, "unknown",
		},
		"critical pods stay": {
			memoryAvailable, []*v1.Pod{static, aPod("critical", pod.CriticalPriority), aPod("a", 5)},
			map[types.UID]stats.Pod{"static": ws(900), "critical": ws(900), "a": ws(1)}, true, "a",
		},
		"nobody but critical pods": {memoryAvailable, []*v1.Pod{static}, nil, true, ""},
		"disk, all in one": {
			nodefsAvailable, []*v1.Pod{aPod("layer", 0), aPod("data", 0)},
			map[types.UID]stats.Pod{"layer": disk(100, 0), "data": disk(0, 50)}, true, "layer",
		},
		"nodefs of its own: writable layers do not count": {
			nodefsAvailable, []*v1.Pod{aPod("layer", 0), aPod("data", 0)},
			map[types.UID]stats.Pod{"layer": disk(100, 0), "data": disk(0, 50)}, false, "data",
		},
		"imagefs of its own: nothing else counts": {
			imagefsAvailable, []*v1.Pod{aPod("layer", 0), aPod("data", 0)},
			map[types.UID]stats.Pod{"layer": disk(10, 0), "data": disk(0, 50)}, false, "layer",
		},
		"disk requests are respected": {
			nodefsAvailable, []*v1.Pod{aPod("asked", 0, "ephemeral-storage", "1Gi"), aPod("a", 0)},
			map[types.UID]stats.Pod{"asked": disk(0, 500), "a": disk(0, 50)}, true, "a",
		},
		"inodes": {
			nodefsInodesFree, []*v1.Pod{aPod("few", 0), aPod("many", 0, "ephemeral-storage", "1Gi")},
			map[types.UID]stats.Pod{"few": disk(0, 5), "many": disk(0, 50)}, true, "many",
		},
		"processes: priority, then the most": {
			pidAvailable, []*v1.Pod{aPod("few", 0), aPod("many", 0), aPod("high", 1)},
			map[types.UID]stats.Pod{"few": {Processes: 1}, "many": {Processes: 9}, "high": {Processes: 99}}, true, "many",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if p := victim(tc.signal, candidates(tc.pods, false), tc.used, tc.shared); p != nil {
				got = p.Name
			}
			if got != tc.want {
				t.Errorf("%q goes, want %q", got, tc.want)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	p := aPod("p", 0)
	p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "ok", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{"memory": resource.MustParse("1Gi")},
	}})
	used := stats.Pod{Containers: []stats.Container{
		{Name: "c", WorkingSet: 60 * mi, Writable: stats.Usage{Bytes: 2 * mi}, Logs: stats.Usage{Bytes: mi}}, {Name: "ok", WorkingSet: 60 * mi},
	}}
	o := memory(50)
	o[nodefsAvailable] = stats.Amount{Available: 5 * mi, Capacity: 100 * mi}
	o[pidAvailable] = stats.Amount{Available: 5, Capacity: 100}
	for _, tc := range []struct {
		t    Threshold
		want string
	}{
		{
			Threshold{Signal: memoryAvailable, Value: quantity("100Mi")},
			"The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 60Mi, request is 0, has larger consumption of memory. ",
		},
		{
			Threshold{Signal: nodefsAvailable, Value: Value{Percent: 10}},
			"The node was low on resource: ephemeral-storage. Threshold quantity: 10Mi, available: 5Mi. Container c was using 3Mi, request is 0, has larger consumption of ephemeral-storage. ",
		},
		{Threshold{Signal: pidAvailable, Value: quantity("10")}, "The node was low on resource: pids. Threshold quantity: 10, available: 5. "},
	} {
		if diff := cmp.Diff(tc.want, message(tc.t, o, p, used)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestOverLimit(t *testing.T) {
	one := resource.MustParse("1Mi")
	p := aPod("p", 0)
	p.Spec.Volumes = []v1.Volume{
		{Name: "free", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: &one}}},
	}
	limited := aPod("q", 0)
	limited.Spec.Containers[0].Resources.Limits = v1.ResourceList{"ephemeral-storage": resource.MustParse("10Mi")}
	two := limited.DeepCopy()
	two.Spec.Containers = append(two.Spec.Containers, *two.Spec.Containers[0].DeepCopy())
	two.Spec.Containers[1].Name = "d"
	for name, tc := range map[string]struct {
		pod    *v1.Pod
		used   stats.Pod
		shared bool
		want   string
	}{
		"at the limit":   {p, stats.Pod{Volumes: map[string]stats.Usage{"v": {Bytes: mi}}}, true, ""},
		"volume":         {p, stats.Pod{Volumes: map[string]stats.Usage{"v": {Bytes: mi + 1}}}, true, `Usage of EmptyDir volume "v" exceeds the limit "1Mi". `},
		"without limit":  {p, stats.Pod{Volumes: map[string]stats.Usage{"free": {Bytes: 1 << 40}}}, true, ""},
		"pod":            {limited, stats.Pod{Disk: stats.Usage{Bytes: 11 * mi}}, true, "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "},
		"container":      {two, stats.Pod{Disk: stats.Usage{Bytes: 11 * mi}, Containers: []stats.Container{{Name: "d", Logs: stats.Usage{Bytes: mi}, Writable: stats.Usage{Bytes: 10 * mi}}}}, true, `Container d exceeded its local ephemeral storage limit "10Mi". `},
		"another's disk": {two, stats.Pod{Disk: stats.Usage{Bytes: 11 * mi}, Containers: []stats.Container{{Name: "d", Logs: stats.Usage{Bytes: mi}, Writable: stats.Usage{Bytes: 10 * mi}}}}, false, ""},
	} {
		_, why := overLimit(tc.pod, tc.used, tc.shared)
		if diff := cmp.Diff(tc.want, why); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !hasLimits(tc.pod) {
			t.Errorf("%s: the limits are not seen", name)
		}
	}
	if hasLimits(aPod("none", 0)) {
		t.Error("a pod without limits would be measured")
	}
}

func TestCandidates_StaticPodsGoOnANodeThatHasNoOthers(t *testing.T) {
	static, critical := aPod("static", 0), aPod("critical", pod.CriticalPriority)
	static.Annotations = map[string]string{pod.AnnotationSource: string(pod.SourceFile)}
	pods := []*v1.Pod{static, critical}
	if got := candidates(pods, true); len(got) != 1 || got[0] != static {
		t.Errorf("standalone, %d pods may go, want the static one", len(got))
	}
	if got := candidates(pods, false); len(got) != 0 {
		t.Errorf("joined, %d pods may go, want none", len(got))
	}
}
