package sessions

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNotStarted_SaysWhatTheContainerWaitsFor(t *testing.T) {
	waits := func(reason string) []v1.ContainerStatus {
		return []v1.ContainerStatus{{Name: "c", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}}}
	}
	for want, statuses := range map[string][]v1.ContainerStatus{
		`container "c" in pod "p" is not available`:                                      nil,
		`container "c" in pod "p" is waiting to start - no logs yet`:                     {{Name: "c"}},
		`container "c" in pod "p" is waiting to start: PodInitializing`:                  waits("PodInitializing"),
		`container "c" in pod "p" is waiting to start: image can't be pulled`:            waits("ErrImagePull"),
		`container "c" in pod "p" is waiting to start: trying and failing to pull image`: waits("ImagePullBackOff"),
	} {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: v1.PodStatus{ContainerStatuses: statuses}}
		if got := notStarted(p, "c").Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
