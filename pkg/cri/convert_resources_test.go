package cri

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

func memory(s string) v1.ResourceRequirements {
	return v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse(s)}}
}

func TestOOMScoreAdj_RanksContainers(t *testing.T) {
	const gi = int64(1) << 30
	tests := map[string]struct {
		qos      v1.PodQOSClass
		spec     v1.PodSpec
		capacity int64
		want     int64
	}{
		"guaranteed":                     {qos: v1.PodQOSGuaranteed, spec: v1.PodSpec{Containers: []v1.Container{{}}}, capacity: gi, want: -997},
		"best effort":                    {qos: v1.PodQOSBestEffort, spec: v1.PodSpec{Containers: []v1.Container{{}}}, capacity: gi, want: 1000},
		"node critical":                  {qos: v1.PodQOSBestEffort, spec: v1.PodSpec{PriorityClassName: "system-node-critical", Priority: new(int32(2000001000)), Containers: []v1.Container{{}}}, capacity: gi, want: -997},
		"its priority alone":             {qos: v1.PodQOSBestEffort, spec: v1.PodSpec{Priority: new(int32(2000001000)), Containers: []v1.Container{{}}}, capacity: gi, want: 1000},
		"its class alone":                {qos: v1.PodQOSBestEffort, spec: v1.PodSpec{PriorityClassName: "system-node-critical", Containers: []v1.Container{{}}}, capacity: gi, want: 1000},
		"half of the memory":             {qos: v1.PodQOSBurstable, spec: v1.PodSpec{Containers: []v1.Container{{Resources: memory("512Mi")}}}, capacity: gi, want: 500},
		"no request stays below 1000":    {qos: v1.PodQOSBurstable, spec: v1.PodSpec{Containers: []v1.Container{{}}}, capacity: gi, want: 999},
		"all memory stays above 2":       {qos: v1.PodQOSBurstable, spec: v1.PodSpec{Containers: []v1.Container{{Resources: memory("1Gi")}}}, capacity: gi, want: 3},
		"unknown capacity":               {qos: v1.PodQOSBurstable, spec: v1.PodSpec{Containers: []v1.Container{{Resources: memory("1Gi")}}}, want: 999},
		"the pod's own request is split": {qos: v1.PodQOSBurstable, spec: v1.PodSpec{Resources: new(memory("512Mi")), Containers: []v1.Container{{}, {}}}, capacity: gi, want: 750},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{Spec: tt.spec}
			if got := oomScoreAdj(p, &p.Spec.Containers[0], tt.qos, tt.capacity); got != tt.want {
				t.Errorf("OOMScoreAdj() = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestOOMScoreAdj_SharesThePodsRequestAmongAllThatItHas(t *testing.T) {
	const gi = int64(1) << 30
	own := v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse("512Mi")}}
	for name, tt := range map[string]struct {
		init []v1.Container
		want int64
	}{
		"no init container":                {want: 500},
		"an init container":                {init: []v1.Container{{}}, want: 750},
		"and a sidecar":                    {init: []v1.Container{{}, {RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}, want: 834},
		"an init container that requests":  {init: []v1.Container{{Resources: memory("256Mi")}}, want: 875},
		"two of them, one after the other": {init: []v1.Container{{Resources: memory("256Mi")}, {Resources: memory("128Mi")}}, want: 917},
	} {
		p := &v1.Pod{Spec: v1.PodSpec{Resources: &own, InitContainers: tt.init, Containers: []v1.Container{{}}}}
		if got := oomScoreAdj(p, &p.Spec.Containers[0], v1.PodQOSBurstable, gi); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestOOMScoreAdj_ASidecarGoesNotBeforeTheFirstThatItServes(t *testing.T) {
	const gi = int64(1) << 30
	for name, tt := range map[string]struct {
		sidecar v1.ResourceRequirements
		mains   []v1.ResourceRequirements
		want    int64
	}{
		"one":                        {mains: []v1.ResourceRequirements{memory("512Mi")}, want: 500},
		"the one that requests less": {mains: []v1.ResourceRequirements{memory("512Mi"), memory("256Mi"), memory("768Mi")}, want: 750},
		"it requests more":           {sidecar: memory("768Mi"), mains: []v1.ResourceRequirements{memory("512Mi")}, want: 250},
	} {
		p := &v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{RestartPolicy: new(v1.ContainerRestartPolicyAlways), Resources: tt.sidecar}}}}
		for _, r := range tt.mains {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: r})
		}
		if got := oomScoreAdj(p, &p.Spec.InitContainers[0], v1.PodQOSBurstable, gi); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestLinuxResources_LimitsCPUAndMemory(t *testing.T) {
	list := func(cpu string) v1.ResourceList { return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)} }
	tests := map[string]struct {
		res                   v1.ResourceRequirements
		node                  Node
		shares, quota, period int64
	}{
		"nothing asked":             {node: Node{CFS: resources.CFS{Quota: true}}, shares: 2, period: 100000},
		"limit stands for request":  {res: v1.ResourceRequirements{Limits: list("2")}, node: Node{CFS: resources.CFS{Quota: true}}, shares: 2048, quota: 200000, period: 100000},
		"tiny limit has a floor":    {res: v1.ResourceRequirements{Limits: list("1m")}, node: Node{CFS: resources.CFS{Quota: true}}, shares: 2, quota: 1000, period: 100000},
		"quota switched off":        {res: v1.ResourceRequirements{Limits: list("2")}, shares: 2048},
		"period of the node":        {res: v1.ResourceRequirements{Limits: list("2")}, node: Node{CFS: resources.CFS{Quota: true, Period: 5 * time.Millisecond}}, shares: 2048, quota: 10000, period: 5000},
		"shares have a ceiling":     {res: v1.ResourceRequirements{Requests: list("1000")}, shares: 262144},
		"zero request is the least": {res: v1.ResourceRequirements{Requests: list("0"), Limits: list("1")}, shares: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := LinuxResources(&v1.Pod{}, &v1.Container{Resources: tt.res}, v1.PodQOSBurstable, tt.node)
			if diff := cmp.Diff([]int64{tt.shares, tt.quota, tt.period}, []int64{r.CpuShares, r.CpuQuota, r.CpuPeriod}); diff != "" {
				t.Errorf("shares, quota, period (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLinuxResources_KeepsContainersFromSwapping(t *testing.T) {
	limited := v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")}}
	for name, tt := range map[string]struct {
		node    Node
		res     v1.ResourceRequirements
		swap    int64
		unified map[string]string
	}{
		"v1":                    {node: Node{LimitsSwap: true}, res: limited, swap: 64 << 20},
		"v1, no limit":          {node: Node{LimitsSwap: true}},
		"v1 that cannot":        {res: limited},
		"v2":                    {node: Node{LimitsSwap: true, CgroupV2: true}, res: limited, unified: map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"}},
		"v2, no limit":          {node: Node{LimitsSwap: true, CgroupV2: true}, unified: map[string]string{"memory.swap.max": "0", "memory.oom.group": "1"}},
		"v2 that cannot":        {node: Node{CgroupV2: true}, res: limited, unified: map[string]string{"memory.oom.group": "1"}},
		"v2, one process alone": {node: Node{LimitsSwap: true, CgroupV2: true, SingleOOMKill: true}, unified: map[string]string{"memory.swap.max": "0"}},
	} {
		r := LinuxResources(&v1.Pod{}, &v1.Container{Resources: tt.res}, v1.PodQOSBurstable, tt.node)
		if r.MemorySwapLimitInBytes != tt.swap {
			t.Errorf("%s: memory and swap limited to %d, want %d", name, r.MemorySwapLimitInBytes, tt.swap)
		}
		if d := cmp.Diff(tt.unified, r.Unified); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
