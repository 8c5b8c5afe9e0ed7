package act

import (
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestResizeText_HasTheResourcesThatAreAskedFor(t *testing.T) {
	p := &v1.Pod{}
	p.Generation = 2
	p.Spec.Containers = []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("400m")}}}}
	const want = `Pod resize error: {"containers":[{"name":"c","resources":{"limits":{"cpu":"400m"}}}],"generation":2,"error":"no"}`
	if got := resizeText("error", p, errors.New("no")); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
