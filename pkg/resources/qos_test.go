package resources

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// list makes a resource list of name, quantity pairs.
func list(pairs ...string) v1.ResourceList {
	l := v1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[v1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func reqs(requests, limits v1.ResourceList) v1.ResourceRequirements {
	return v1.ResourceRequirements{Requests: requests, Limits: limits}
}

// podOf makes a pod of one container per requirement.
func podOf(all ...v1.ResourceRequirements) *v1.Pod {
	p := &v1.Pod{}
	for _, r := range all {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Resources: r})
	}
	return p
}

func TestQOSClass(t *testing.T) {
	both := list("cpu", "1", "memory", "1Gi")
	withInit := podOf(reqs(both, both))
	withInit.Spec.InitContainers = []v1.Container{{}}
	podLevel := podOf(reqs(nil, nil))
	podLevel.Spec.Resources = &v1.ResourceRequirements{Requests: both, Limits: both}
	for name, tc := range map[string]struct {
		pod  *v1.Pod
		want v1.PodQOSClass
	}{
		"nothing":                    {podOf(reqs(nil, nil)), v1.PodQOSBestEffort},
		"zero requests":              {podOf(reqs(list("cpu", "0"), nil)), v1.PodQOSBestEffort},
		"only other resources":       {podOf(reqs(list("ephemeral-storage", "1Gi"), nil)), v1.PodQOSBestEffort},
		"requests equal limits":      {podOf(reqs(both, both)), v1.PodQOSGuaranteed},
		"equal, written differently": {podOf(reqs(list("cpu", "1000m", "memory", "1024Mi"), both)), v1.PodQOSGuaranteed},
		"limits alone":               {podOf(reqs(nil, both)), v1.PodQOSGuaranteed},
		"one of two":                 {podOf(reqs(both, both), reqs(nil, nil)), v1.PodQOSBurstable},
		"memory alone":               {podOf(reqs(list("memory", "1Gi"), list("memory", "1Gi"))), v1.PodQOSBurstable},
		"requests below limits":      {podOf(reqs(list("cpu", "1", "memory", "1Mi"), both)), v1.PodQOSBurstable},
		"an init container counts":   {withInit, v1.PodQOSBurstable},
		"pod level alone decides":    {podLevel, v1.PodQOSGuaranteed},
	} {
		if got := QOSClass(tc.pod); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestPodCgroup(t *testing.T) {
	overhead := podOf(reqs(list("cpu", "500m"), list("cpu", "1", "memory", "100Mi")))
	overhead.Spec.Overhead = list("cpu", "250m", "memory", "28Mi")
	alone := podOf(reqs(nil, nil))
	alone.Spec.Overhead = list("cpu", "50m", "memory", "28Mi")
	podLevel := podOf(reqs(nil, nil))
	podLevel.Spec.Resources = &v1.ResourceRequirements{Limits: list("memory", "64Mi")}
	for name, tc := range map[string]struct {
		pod    *v1.Pod
		quota  bool
		period time.Duration
		want   CgroupValues
	}{
		"best effort":        {podOf(reqs(nil, nil)), true, 0, CgroupValues{CPUShares: 2}},
		"all limited":        {podOf(reqs(list("cpu", "1"), list("cpu", "2", "memory", "1Mi"))), true, 0, CgroupValues{CPUShares: 1024, CPUQuota: 200000, CPUPeriod: 100000, Memory: 1 << 20}},
		"one is not limited": {podOf(reqs(nil, list("cpu", "2", "memory", "1Mi")), reqs(list("cpu", "500m"), nil)), true, 0, CgroupValues{CPUShares: 512}},
		"no quota":           {podOf(reqs(list("cpu", "1"), list("cpu", "2", "memory", "1Mi"))), false, 0, CgroupValues{CPUShares: 1024, Memory: 1 << 20}},
		"another period":     {podOf(reqs(list("cpu", "1m"), list("cpu", "1"))), true, 10 * time.Millisecond, CgroupValues{CPUShares: 2, CPUQuota: 10000, CPUPeriod: 10000}},
		"overhead":           {overhead, true, 0, CgroupValues{CPUShares: 768, CPUQuota: 125000, CPUPeriod: 100000, Memory: 128 << 20}},
		"overhead alone":     {alone, true, 0, CgroupValues{CPUShares: 2}},
		"pod level":          {podLevel, true, 0, CgroupValues{CPUShares: 2, Memory: 64 << 20}},
	} {
		if diff := cmp.Diff(tc.want, PodCgroup(tc.pod, CFS{Quota: tc.quota, Period: tc.period}, Capacity{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCPUShares_StayWithinTheKernelsBounds(t *testing.T) {
	for milli, want := range map[int64]int64{0: 2, 1: 2, 100: 102, 1000: 1024, 1 << 40: 262144} {
		if got := CPUShares(milli); got != want {
			t.Errorf("CPUShares(%d) = %d, want %d", milli, got, want)
		}
	}
	for milli, want := range map[int64]int64{0: 0, 1: 1000, 100: 10000, 2500: 250000} {
		if got := cpuQuota(milli, 100000); got != want {
			t.Errorf("CPUQuota(%d) = %d, want %d", milli, got, want)
		}
	}
}
