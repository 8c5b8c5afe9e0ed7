package loop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// A person imports the image of a pod that has waited for it for long.
func TestLoop_PullsAtOnceWhenAnImageWasFound(t *testing.T) {
	inBubble(t, func(ctx context.Context, w *world, s *Set) {
		w.fails[plan.ImagePull] = &pod.Error{Class: pod.ErrImagePull, Err: errors.New("no route to host")}
		w.fails[plan.ImageLook] = errors.New("not there yet")
		s.Apply(ctx, desired(testPod("web", "u1")), always)
		pass(4 * time.Minute) // pulled at 0, 10, 30, 70 and 150 s, and at 310 s next
		if n := count(w.actions(), string(plan.ImagePull)); n != 5 {
			t.Errorf("the image was pulled %d times in 4 minutes, want 5: a look changes nothing", n)
		}
		if n := count(w.actions(), string(plan.ImageLook)); n < 15 || n > 25 {
			t.Errorf("the image was looked for %d times in 4 minutes, want about one each 10 s", n)
		}
		w.mu.Lock()
		events := len(w.events)
		clear(w.fails)
		w.mu.Unlock()
		pass(10 * time.Second)
		synctest.Wait()
		if p := s.Pods(); p[0].Status.Phase != v1.PodRunning {
			t.Errorf("10 s after its image has come the pod is %s: %v", p[0].Status.Phase, w.actions())
		}
		if events != 2*5 {
			t.Errorf("%d events in 4 minutes, want two of each pull: %q", events, w.events)
		}
	})
}
