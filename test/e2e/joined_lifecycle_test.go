package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// imageChanges replaces a container in place: the pod, its address and its other container stay.
func (j *joined) imageChanges() {
	p := j.apply("in-place", `restartPolicy: OnFailure, containers: [{name: web, image: "minikubelet.dev/web:1"}, {name: other, image: "minikubelet.dev/web:1", args: ["-addr=:8081"]}]`, ready)
	j.kubectl("set", "image", "pod/in-place", "web=docker.io/library/busybox:1.36") // whose shell ends at once
	q := j.waitPod("in-place", "the container is another", func(q *v1.Pod) error {
		c := q.Status.ContainerStatuses[0]
		if c.State.Terminated == nil || c.RestartCount != 1 || !strings.HasSuffix(c.Image, "busybox:1.36") || q.Status.ObservedGeneration != q.Generation {
			return errors.New("not yet")
		}
		return nil
	})
	a, b := p.Status.ContainerStatuses, q.Status.ContainerStatuses
	if a[0].ImageID == b[0].ImageID || a[1].ContainerID != b[1].ContainerID || b[1].RestartCount != 0 || p.Status.PodIP != q.Status.PodIP {
		j.t.Errorf("before %s, after %s", describeStatus(p.Status), describeStatus(q.Status))
	}
	j.waitEvents("in-place", "Killing: Container web definition changed, will be restarted")
}

// debugs adds an ephemeral container that sees the processes of another one and is never restarted.
func (j *joined) debugs() {
	p := j.apply("debugged", webContainer, ready)
	p.Spec.EphemeralContainers = []v1.EphemeralContainer{{
		TargetContainerName: "web",
		EphemeralContainerCommon: v1.EphemeralContainerCommon{
			Name: "debugger", Image: testbed.BusyboxImage, Command: []string{"sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 3"},
		},
	}}
	if _, err := j.admin.CoreV1().Pods("default").UpdateEphemeralContainers(j.t.Context(), p.Name, p, metav1.UpdateOptions{}); err != nil {
		j.t.Fatal(err)
	}
	q := j.waitPod("debugged", "its debugger has ended", func(q *v1.Pod) error {
		if s := q.Status.EphemeralContainerStatuses; len(s) != 1 || s[0].State.Terminated == nil {
			return fmt.Errorf("ephemeral containers %+v", s)
		}
		return ready(q)
	})
	s := q.Status.EphemeralContainerStatuses[0]
	if s.State.Terminated.ExitCode != 3 || s.RestartCount != 0 || s.Ready || q.Status.ContainerStatuses[0].RestartCount != 0 {
		j.t.Errorf("status %s, %+v", describeStatus(q.Status), s)
	}
	if out := j.kubectl("logs", "debugged", "-c", "debugger"); out != "/web" {
		j.t.Errorf("its first process is %q, want that of its target", out)
	}
}

func (j *joined) deadlineComes() {
	j.apply("deadline", webContainer, ready)
	j.kubectl("patch", "pod", "deadline", "-p", `{"spec":{"activeDeadlineSeconds":1}}`)
	p := j.waitPod("deadline", "Failed", phase(v1.PodFailed))
	if p.Status.Reason != "DeadlineExceeded" || p.Status.Message != "Pod was active on the node longer than the specified deadline" || p.Status.ContainerStatuses[0].State.Terminated == nil {
		j.t.Errorf("status %s", describeStatus(p.Status))
	}
}

func (j *joined) gateHolds() {
	const gate = "example.com/gate"
	j.apply("gated", `readinessGates: [{conditionType: `+gate+`}], `+webContainer, func(p *v1.Pod) error {
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionFalse && c.Reason == "ReadinessGatesNotReady" &&
				c.Message == `corresponding condition of pod readiness gate "`+gate+`" does not exist.` {
				return nil
			}
		}
		return errors.New("not held back")
	})
	j.kubectl("patch", "pod", "gated", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"`+gate+`","status":"True"}]}}`)
	j.waitReady("gated")
}

// restartsAll is placed by the scheduler only on a node that declares the feature.
func (j *joined) restartsAll() {
	p := j.apply("all-again", `restartPolicy: Never, initContainers: [{name: init, image: "minikubelet.dev/web:1", args: [echo, ready]}],
  containers: [{name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]},
    {name: other, image: "minikubelet.dev/web:1", args: ["-addr=:8081"]}]`, ready)
	if err := j.post(p.Status.PodIP, "/exit?code=88"); err != nil {
		j.t.Log("the answer was cut off:", err)
	}
	q := j.waitPod("all-again", "all its containers were restarted", func(q *v1.Pod) error {
		for _, list := range [][]v1.ContainerStatus{q.Status.InitContainerStatuses, q.Status.ContainerStatuses} {
			for _, c := range list {
				if c.RestartCount != 1 {
					return fmt.Errorf("container %s was restarted %d times", c.Name, c.RestartCount)
				}
			}
		}
		return ready(q)
	})
	for _, c := range q.Status.Conditions {
		if c.Type == v1.AllContainersRestarting && c.Status == v1.ConditionFalse {
			return
		}
	}
	j.t.Errorf("status %s", describeStatus(q.Status))
}

func (j *joined) post(ip, path string) error {
	ctx, cancel := context.WithTimeout(j.t.Context(), soon)
	defer cancel()
	_, err := testbed.Post(ctx, "http://"+ip+":8080"+path, "")
	return err
}
