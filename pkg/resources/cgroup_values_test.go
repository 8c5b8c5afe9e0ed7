package resources

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func TestNodeCgroup_LeavesPodsWhatIsNotReserved(t *testing.T) {
	node := Capacity{CPUs: 4, Memory: 8 << 30, PIDs: 32768, HugePages: map[string]int64{"2Mi": 64 << 20, "1Gi": 0}}
	got, err := NodeCgroup(node, list("cpu", "500m", "memory", "1Gi", "pid", "1000"), list("memory", "1Gi", "pid", "768"))
	want := CgroupValues{CPUShares: 3584, Memory: 6 << 30, PIDs: 31000, HugePages: node.HugePages}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got, err := NodeCgroup(Capacity{CPUs: 1, Memory: 1 << 30}); got.PIDs != 0 || err != nil {
		t.Errorf("a node whose limit is not known: %d PIDs, %v", got.PIDs, err)
	}
}

func TestNodeCgroup_RefusesReservesThatLeaveNothing(t *testing.T) {
	for _, r := range []v1.ResourceList{list("memory", "8Gi"), list("cpu", "5"), list("pid", "100")} {
		if got, err := NodeCgroup(Capacity{CPUs: 4, Memory: 8 << 30, PIDs: 100}, r); err == nil {
			t.Errorf("%v: %v", r, got)
		}
	}
}

func TestClassCgroup_WeighsBurstablePodsByWhatTheyRequest(t *testing.T) {
	node := Capacity{HugePages: map[string]int64{"2Mi": 0}}
	pods := []*v1.Pod{
		podOf(reqs(list("cpu", "250m"), nil), reqs(list("cpu", "250m"), nil)),
		podOf(reqs(list("cpu", "1", "memory", "1Gi"), list("cpu", "1", "memory", "1Gi"))), // guaranteed
		podOf(reqs(list("cpu", "1500m"), nil)),
		podOf(reqs(nil, nil)),
	}
	for class, shares := range map[v1.PodQOSClass]int64{v1.PodQOSBurstable: 2048, v1.PodQOSBestEffort: 2} {
		want := CgroupValues{CPUShares: shares, HugePages: map[string]int64{"2Mi": 1 << 62}}
		if d := cmp.Diff(want, ClassCgroup(class, pods, node)); d != "" {
			t.Errorf("%s: %s", class, d)
		}
	}
	if got := ClassCgroup(v1.PodQOSBurstable, nil, Capacity{}).CPUShares; got != 2 {
		t.Errorf("%d shares without pods, want the least", got)
	}
}

func TestContainerCgroup_HasThePodsLimitWhereItHasNone(t *testing.T) {
	node := Capacity{HugePages: map[string]int64{"2Mi": 0, "1Gi": 0}}
	p := podOf(reqs(nil, nil), reqs(list("cpu", "100m"), list("cpu", "500m", "memory", "16Mi", "hugepages-2Mi", "2Mi")))
	p.Spec.Resources = &v1.ResourceRequirements{Limits: list("cpu", "2", "memory", "64Mi", "hugepages-2Mi", "8Mi")}
	for i, want := range []CgroupValues{
		{CPUShares: 2048, CPUQuota: 200000, CPUPeriod: 100000, Memory: 64 << 20, HugePages: map[string]int64{"2Mi": 8 << 20, "1Gi": 0}},
		{CPUShares: 102, CPUQuota: 50000, CPUPeriod: 100000, Memory: 16 << 20, HugePages: map[string]int64{"2Mi": 2 << 20, "1Gi": 0}},
	} {
		if d := cmp.Diff(want, ContainerCgroup(p, p.Spec.Containers[i].Resources, CFS{Quota: true}, node)); d != "" {
			t.Errorf("container %d: %s", i, d)
		}
	}
}

func TestPodSize_IsWhatContainersHaveTogether(t *testing.T) {
	with := podOf(reqs(nil, list("cpu", "2", "memory", "1Mi")), reqs(list("cpu", "500m"), nil))
	with.Spec.Overhead = list("cpu", "1", "memory", "1Gi")
	for name, c := range map[string]struct {
		pod  *v1.Pod
		cfs  CFS
		want CgroupValues
	}{
		"best effort":            {podOf(reqs(nil, nil)), CFS{Quota: true}, CgroupValues{CPUShares: 2, CPUPeriod: 100000}},
		"one is not limited":     {with, CFS{Quota: true}, CgroupValues{CPUShares: 512, CPUQuota: 200000, CPUPeriod: 100000, Memory: 1 << 20}},
		"limits alone":           {podOf(reqs(nil, list("cpu", "2"))), CFS{}, CgroupValues{CPUShares: 2048}},
		"a limit of less than 1": {podOf(reqs(list("cpu", "1m"), list("cpu", "1m"))), CFS{Quota: true}, CgroupValues{CPUShares: 2, CPUQuota: 1000, CPUPeriod: 100000}},
	} {
		if d := cmp.Diff(c.want, PodSize(c.pod, c.cfs)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestOverheadSize_IsARequestAndALimit(t *testing.T) {
	for name, c := range map[string]struct {
		overhead v1.ResourceList
		cfs      CFS
		want     *CgroupValues
	}{
		"none":        {nil, CFS{Quota: true}, nil},
		"both":        {list("cpu", "250m", "memory", "1Mi"), CFS{Quota: true}, &CgroupValues{CPUShares: 256, CPUQuota: 25000, CPUPeriod: 100000, Memory: 1 << 20}},
		"memory only": {list("memory", "1Mi"), CFS{Quota: true}, &CgroupValues{CPUShares: 2, CPUPeriod: 100000, Memory: 1 << 20}},
		"no quota":    {list("cpu", "1"), CFS{}, &CgroupValues{CPUShares: 1024}},
	} {
		p := podOf(reqs(nil, nil))
		p.Spec.Overhead = c.overhead
		if d := cmp.Diff(c.want, OverheadSize(p, c.cfs)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestPodCgroup_LimitsHugePagesToWhatThePodRequests(t *testing.T) {
	node := Capacity{HugePages: map[string]int64{"2Mi": 0, "1Gi": 0}}
	p := podOf(reqs(list("hugepages-2Mi", "4Mi"), list("hugepages-2Mi", "4Mi")), reqs(list("hugepages-2Mi", "2Mi"), list("hugepages-2Mi", "2Mi")))
	if d := cmp.Diff(map[string]int64{"2Mi": 6 << 20, "1Gi": 0}, PodCgroup(p, CFS{}, node).HugePages); d != "" {
		t.Error(d)
	}
}

func TestCPUWeight_SpreadsSharesEvenly(t *testing.T) {
	for shares, want := range map[int64]int64{0: 1, 2: 1, 1024: 39, 2048: 79, 262144: 10000, 1 << 40: 10000} {
		if got := CPUWeight(shares); got != want {
			t.Errorf("CPUWeight(%d) = %d, want %d", shares, got, want)
		}
	}
}

func TestCPUQuota_SaturatesForLimitsThatNoMachineHas(t *testing.T) {
	for _, milli := range []int64{1 << 50, 1<<63 - 1} {
		if q, s := cpuQuota(milli, 1_000_000), CPUShares(milli); q <= 0 || s != 262144 {
			t.Errorf("%d milli-CPU: quota %d, shares %d", milli, q, s)
		}
	}
}

func TestPageSize_IsThatOfTheCgroupsFiles(t *testing.T) {
	for size, want := range map[string]string{"2Mi": "2MB", "1Gi": "1GB", "64Ki": "64KB", "16Gi": "16GB"} {
		if got := PageSize(size); got != want {
			t.Errorf("PageSize(%s) = %s, want %s", size, got, want)
		}
	}
}
