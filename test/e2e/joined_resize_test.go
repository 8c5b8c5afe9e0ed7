package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const resizedPod = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: a
    image: minikubelet.dev/web:1
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
  - name: b
    image: registry.k8s.io/pause:3.10.1
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
`

// TestJoined_ResizesPodsThatRun changes the resources of containers in place, up and down, and holds the runtime, the cgroups
// and the status to it; also when the agent is killed meanwhile.
func TestJoined_ResizesPodsThatRun(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	j.Apply(fmt.Sprintf(resizedPod, "p"))
	before := j.waitReady("p")

	j.resize("p", "a", "300m", "600m", "128Mi")
	p := j.waitResized("p", "a", 307, 60_000, 128<<20)
	if now, was := p.Status.ContainerStatuses, before.Status.ContainerStatuses; now[0].ContainerID != was[0].ContainerID || now[0].RestartCount > 0 {
		t.Errorf("a was started again: %v", now[0])
	}
	j.waitEvents("p", "ResizeStarted", "ResizeCompleted")
	j.podCgroup(p, 80_000, 192<<20)

	j.resize("p", "a", "50m", "100m", "48Mi")
	j.waitResized("p", "a", 51, 10_000, 48<<20)
	j.podCgroup(p, 30_000, 112<<20)

	j.resize("p", "b", "100m", "200m", "96Mi")
	p = j.waitResized("p", "b", 102, 20_000, 96<<20)
	if s := p.Status.ContainerStatuses[1]; s.RestartCount != 1 {
		t.Errorf("b asks to be started again for its memory, and was %d times", s.RestartCount)
	}
	j.podCgroup(p, 30_000, 144<<20)

	room := j.room()
	j.Apply(fmt.Sprintf(resizedPod, "q"))
	j.waitReady("q")
	j.resize("p", "a", fmt.Sprintf("%dm", room-250), "64", "64Mi") // the node has it, and q has 200m of it
	j.waitPod("p", "the resize is deferred", resizePending(v1.PodReasonDeferred))
	j.kubectl("delete", "pod", "q")
	j.waitPod("p", "the resize is granted", func(p *v1.Pod) error {
		if resizePending(v1.PodReasonDeferred)(p) == nil {
			return errors.New("it still waits")
		}
		return nil
	})
	j.resize("p", "a", "50m", "100m", "48Mi")
	j.waitResized("p", "a", 51, 10_000, 48<<20)

	for i, moment := range []string{"before", "after"} {
		j.agent.Kill()
		j.agent.Launch("MINIKUBELET_TEST_KILL_AT=pod-resize:" + moment + ":1")
		quota := int64(30+10*i) * 1000
		j.resize("p", "a", "50m", fmt.Sprintf("%dm", quota/100), "48Mi")
		if code := j.agent.Process().Wait(soon); code != -1 {
			t.Fatalf("the agent ended with code %d", code)
		}
		j.agent.Start()
		p = j.waitResized("p", "a", 51, quota, 48<<20)
		j.podCgroup(p, quota+20_000, 144<<20)
		if s := p.Status.ContainerStatuses; s[0].RestartCount != 0 || s[1].RestartCount != 1 {
			t.Errorf("containers were started again: %v", s)
		}
	}
	j.kubectl("delete", "pod", "p")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
}

// resize asks for other resources of a container.
func (j *joined) resize(name, container, request, limit, memory string) {
	j.t.Helper()
	j.kubectl("patch", "pod", name, "--subresource=resize", "-p", fmt.Sprintf(
		`{"spec": {"containers": [{"name": %q, "resources": {"requests": {"cpu": %q}, "limits": {"cpu": %q, "memory": %q}}}]}}`, container, request, limit, memory))
}

// room is the CPU that pods may request together, in milli-CPU.
func (j *joined) room() int64 {
	j.t.Helper()
	n, err := j.admin.CoreV1().Nodes().Get(j.t.Context(), j.agent.NodeName, metav1.GetOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
	return n.Status.Allocatable.Cpu().MilliValue()
}

// waitResized waits until a container has the cgroup values by the runtime's word and by its own files, and the status has
// nothing more to come.
func (j *joined) waitResized(name, container string, shares, quota, memory int64) *v1.Pod {
	j.t.Helper()
	return j.waitPod(name, "container "+container+" is resized", func(p *v1.Pod) error {
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodResizePending || c.Type == v1.PodResizeInProgress {
				return fmt.Errorf("%s %s: %s", c.Type, c.Reason, c.Message)
			}
		}
		i := slices.IndexFunc(p.Status.ContainerStatuses, func(s v1.ContainerStatus) bool { return s.Name == container })
		s := p.Status.ContainerStatuses[i]
		want := p.Spec.Containers[i].Resources
		if p.Status.ObservedGeneration != p.Generation || s.Resources == nil || s.Resources.Limits.Cpu().Cmp(*want.Limits.Cpu()) != 0 ||
			s.Resources.Requests.Cpu().Cmp(*want.Requests.Cpu()) != 0 || s.AllocatedResources.Cpu().Cmp(*want.Requests.Cpu()) != 0 ||
			s.Resources.Limits.Memory().Value() != memory {
			return fmt.Errorf("status: has %v of %v, observed %d of %d", s.Resources, s.AllocatedResources, p.Status.ObservedGeneration, p.Generation)
		}
		ctx, cancel := context.WithTimeout(j.t.Context(), soon)
		defer cancel()
		_, id, _ := strings.Cut(s.ContainerID, "://")
		r, err := j.cd.Runtime().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			return err
		}
		if l := r.GetStatus().GetResources().GetLinux(); l.GetCpuShares() != shares || l.GetCpuQuota() != quota || l.GetMemoryLimitInBytes() != memory {
			return fmt.Errorf("the runtime has %v", l)
		}
		return errors.Join(ready(p), j.cgroup(p, id, quota, memory))
	})
}

func (j *joined) podCgroup(p *v1.Pod, quota, memory int64) {
	j.t.Helper()
	j.eventually("the pod's cgroup is resized", func() error { return j.cgroup(p, "", quota, memory) })
}

// cgroup reads limits of a burstable pod, or of a container in it, from the node's cgroup files.
func (j *joined) cgroup(p *v1.Pod, below string, quota, memory int64) error {
	for file, want := range map[string]int64{"cpu/%s/cpu.cfs_quota_us": quota, "memory/%s/memory.limit_in_bytes": memory} {
		b, err := os.ReadFile("/sys/fs/cgroup/" + fmt.Sprintf(file, j.env.CgroupRoot()+"/kubepods/burstable/pod"+string(p.UID)+"/"+below))
		if got := strings.TrimSpace(string(b)); err != nil || got != fmt.Sprint(want) {
			return errors.Join(err, fmt.Errorf("%s is %q, want %d", fmt.Sprintf(file, below), got, want))
		}
	}
	return nil
}

func resizePending(reason string) func(*v1.Pod) error {
	return func(p *v1.Pod) error {
		for _, c := range p.Status.Conditions {
			if c.Type == v1.PodResizePending && c.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", p.Status.Conditions)
	}
}
