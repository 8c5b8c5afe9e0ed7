package resources

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestNodeCgroup_LeavesPodsWhatIsNotReserved(t *testing.T) {
	got, err := NodeCgroup(4, 8<<30,
		v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("1Gi")},
		v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")})
	if d := cmp.Diff(CgroupValues{CPUShares: 3584, Memory: 6 << 30}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestNodeCgroup_RefusesReservesThatLeaveNothing(t *testing.T) {
	for _, r := range []v1.ResourceList{list("memory", "8Gi"), list("cpu", "5")} {
		if got, err := NodeCgroup(4, 8<<30, r); err == nil {
			t.Errorf("%v: %v", r, got)
		}
	}
}
