package pod_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

func TestContainerHash_IsTheKubelets(t *testing.T) {
	c := v1.Container{Name: "c", Image: "docker.io/library/busybox:1.36"}
	if got := pod.ContainerHash(&c); got != "c0d793c2" { // a kubelet 1.36 wrote it
		t.Errorf("the hash is %s", got)
	}
	other := v1.Container{Name: "c", Image: "docker.io/library/busybox:1.37"}
	for _, hash := range []string{"c0d793c2", "782ad4a7"} { // the second is of an agent before
		if !pod.MadeFrom(hash, &c) || pod.MadeFrom(hash, &other) {
			t.Errorf("%s: made from the old image %v, from a new one %v", hash, pod.MadeFrom(hash, &c), pod.MadeFrom(hash, &other))
		}
	}
}

func BenchmarkContainerHash(b *testing.B) {
	c := v1.Container{Name: "c", Image: "docker.io/library/busybox:1.36"}
	for b.Loop() {
		pod.ContainerHash(&c)
	}
}
