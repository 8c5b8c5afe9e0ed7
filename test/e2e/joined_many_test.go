package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	manyPods   = 300
	manyProbed = 20 // of them have a readiness probe
	manySoon   = 5 * time.Minute
)

// TestJoined_ManyPodsStayReadyThroughARestart kills the agent of a full node and starts it again: no container is another,
// nothing was restarted, and the API server never hears that a pod is not Ready. The pods are on the host's network: what an
// address costs is not at stake, and the test's own network has fewer.
func TestJoined_ManyPodsStayReadyThroughARestart(t *testing.T) {
	j := join(t, map[string]any{"maxPods": manyPods + 10})
	for i := range manyPods {
		if _, err := j.admin.CoreV1().Pods("default").Create(t.Context(), manyPod(j.agent.NodeName, i), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var before map[string]string
	testbed.Eventually(t, manySoon, "all pods are Ready", func() (err error) {
		before, err = j.manyReady(manyPods)
		return err
	})
	list, err := j.admin.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := j.admin.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*v1.Pod)
			if !ok || e.Type == watch.Added || p.Name == "later" {
				continue
			}
			if err := ready(p); err != nil {
				t.Errorf("%s of %s: %v: %s", e.Type, p.Name, err, describeStatus(p.Status))
			}
		}
	})
	j.agent.Restart()
	later := manyPod(j.agent.NodeName, manyPods)
	later.Name = "later"
	if _, err := j.admin.CoreV1().Pods("default").Create(t.Context(), later, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	j.waitReady("later") // by then the agent has taken up those that were there
	after, err := j.manyReady(manyPods + 1)
	delete(after, "later")
	if err != nil || !maps.Equal(before, after) {
		t.Errorf("containers after the restart: %v, %d of them; want those of before", err, len(after))
	}
	w.Stop()
	watching.Wait()
	j.kubectl("delete", "pods", "--all", "--wait=false")
	testbed.Eventually(t, manySoon, "nothing is left", j.agent.NothingLeft)
}

func manyPod(node string, i int) *v1.Pod {
	c := v1.Container{Name: "c", Image: testbed.PauseImage, ImagePullPolicy: v1.PullNever}
	if i < manyProbed {
		c.Image, c.Command = testbed.BusyboxImage, []string{"sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"}
		c.ReadinessProbe = &v1.Probe{PeriodSeconds: 2, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}}
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%03d", i)},
		Spec: v1.PodSpec{
			NodeName: node, HostNetwork: true, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Containers: []v1.Container{c},
		},
	}
}

// manyReady are the container IDs of n pods, all of which are Ready and were never restarted.
func (j *joined) manyReady(n int) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(j.t.Context(), soon)
	defer cancel()
	list, err := j.admin.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for i := range list.Items {
		p := &list.Items[i]
		if err := ready(p); err != nil {
			return nil, fmt.Errorf("%d of %d: %s: %w: %s", len(ids), n, p.Name, err, describeStatus(p.Status))
		}
		if restarts(*p) > 0 {
			return nil, fmt.Errorf("%s was restarted", p.Name)
		}
		ids[p.Name] = p.Status.ContainerStatuses[0].ContainerID
	}
	if len(ids) != n {
		return nil, fmt.Errorf("%d pods, want %d", len(ids), n)
	}
	return ids, nil
}
