package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestJoined holds the agent to what others rely on: all on one cluster, whose pods come and go beside each other.
func TestJoined(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	for name, f := range map[string]func(*joined){
		"the Node tells what it is":                        (*joined).nodeTellsWhatItIs,
		"the lease is renewed":                             (*joined).leaseIsRenewed,
		"a file pod is shown by a mirror pod":              (*joined).mirrorFollowsFile,
		"deletion waits for the grace period":              (*joined).deletionWaits,
		"a grace period of centuries is not over at once":  (*joined).centuriesAreLong,
		"deletion by force is obeyed":                      (*joined).forceIsObeyed,
		"a shorter grace period replaces a longer one":     (*joined).shorterGrace,
		"a Job completes and one fails":                    (*joined).jobsEnd,
		"a pod that does not fit is Failed":                (*joined).tooBigIsRefused,
		"a ConfigMap's update reaches the volume":          (*joined).configMapUpdates,
		"status carries conditions and generations":        (*joined).statusIsWhole,
		"a crashed container is restarted and reported":    (*joined).crashIsReported,
		"what cannot start says why":                       (*joined).brokenSaysWhy,
		"a container of a pod that runs gets a new image":  (*joined).imageChanges,
		"an ephemeral container sees its target":           (*joined).debugs,
		"a deadline is set on a pod that runs":             (*joined).deadlineComes,
		"a readiness gate holds a pod back":                (*joined).gateHolds,
		"a pod that restarts all its containers is placed": (*joined).restartsAll,
		"port-forward and attach go through to the pod":    (*joined).streams,
		"the node's API lets in whom the cluster allows":   (*joined).nodeAPI,
		"monitoring reads what pods and the agent use":     (*joined).monitored,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(j.in(t))
		})
	}
	t.Cleanup(func() {
		for _, a := range []string{"pods", "jobs"} {
			if _, err := j.Kubectl("delete", a, "--all", "--timeout=30s"); err != nil {
				t.Error(err)
			}
		}
		j.eventually("nothing is left on the node", j.agent.NothingLeft)
	})
}

const filePod = `
apiVersion: v1
kind: ConfigMap
metadata: {name: of-file}
data: {text: %[1]s}
---
apiVersion: v1
kind: Pod
metadata: {name: filed, labels: {version: %[1]q}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: web
    image: minikubelet.dev/web:1
    env: [{name: TEXT, valueFrom: {configMapKeyRef: {name: of-file, key: text}}}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
`

func (j *joined) mirrorFollowsFile() {
	name := "filed-" + j.agent.NodeName
	j.agent.WriteManifest("filed.yaml", fmt.Sprintf(filePod, "one"))
	p := j.waitReady(name)
	if out, err := j.web(p.Status.PodIP, "/env?name=TEXT"); err != nil || out != "one" {
		j.t.Errorf("the file pod answers %q, %v", out, err)
	}
	if p.Annotations["kubernetes.io/config.mirror"] == "" || p.Annotations["kubernetes.io/config.source"] != "file" || len(p.OwnerReferences) != 1 || p.OwnerReferences[0].Kind != "Node" {
		j.t.Errorf("the mirror pod: %v %v", p.Annotations, p.OwnerReferences)
	}
	if p.Status.ObservedGeneration != 0 || p.Generation != 1 {
		j.t.Errorf("a mirror pod has observed generation %d of %d", p.Status.ObservedGeneration, p.Generation)
	}
	if out := j.kubectl("logs", name); !strings.Contains(out, "GET /readyz") {
		j.t.Errorf("kubectl logs of a mirror pod: %s", out)
	}
	if out := j.kubectl("exec", name, "--", "/web", "echo", "hi"); out != "hi" {
		j.t.Errorf("kubectl exec in a mirror pod: %s", out)
	}

	id := p.Status.ContainerStatuses[0].ContainerID
	j.kubectl("delete", "pod", name, "--wait=false")
	again := j.waitPod(name, "made again", func(q *v1.Pod) error {
		if q.UID == p.UID {
			return errors.New("still the first mirror pod")
		}
		return ready(q)
	})
	if got := again.Status.ContainerStatuses[0].ContainerID; got != id {
		j.t.Errorf("deleting the mirror pod gave the static pod another container: %s, was %s", got, id)
	}
	j.agent.WriteManifest("filed.yaml", fmt.Sprintf(filePod, "two"))
	changed := j.waitPod(name, "follows its file", func(q *v1.Pod) error {
		if q.Labels["version"] != "two" {
			return errors.New("still the old version")
		}
		return ready(q)
	})
	if out, err := j.web(changed.Status.PodIP, "/env?name=TEXT"); err != nil || out != "two" {
		j.t.Errorf("the changed file pod answers %q, %v", out, err)
	}
	j.agent.RemoveManifest("filed.yaml")
	j.waitGone(name)
	for _, q := range []*v1.Pod{p, changed} {
		j.eventually("its containers are gone", func() error { return j.noContainers(string(q.UID), q.Annotations["kubernetes.io/config.hash"]) })
	}
}

// noContainers fails while the runtime has a sandbox with one of the UIDs.
func (j *joined) noContainers(uids ...string) error {
	out, err := j.agent.CLI("get", "pods", "-o", "json")
	if err != nil {
		return err
	}
	for _, uid := range uids {
		if uid != "" && strings.Contains(out, uid) {
			return fmt.Errorf("the agent still has %s", uid)
		}
	}
	return nil
}

// apply makes a pod with one container of busybox or of the web image, and returns it when it is as wanted.
func (j *joined) apply(name, spec string, want func(*v1.Pod) error) *v1.Pod {
	j.t.Helper()
	j.Apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {terminationGracePeriodSeconds: 1, %s}\n", name, spec))
	return j.waitPod(name, "as wanted", want)
}

const (
	webContainer    = `containers: [{name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]`
	stubborn        = `terminationGracePeriodSeconds: 2, containers: [{name: web, image: "minikubelet.dev/web:1", args: [-ignore-term], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]`
	stubbornForLong = `terminationGracePeriodSeconds: 600, containers: [{name: web, image: "minikubelet.dev/web:1", args: [-ignore-term], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]`
)

const centuriesOfGrace = `terminationGracePeriodSeconds: 10000000000, containers: [{name: web, image: "minikubelet.dev/web:1", args: [-term-delay=1s], lifecycle: {preStop: {sleep: {seconds: 1}}}, readinessProbe: {httpGet: {path: readyz, port: 8080}, periodSeconds: 1}}]`

func (j *joined) applySpec(name, spec string) *v1.Pod {
	j.t.Helper()
	j.Apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {%s}\n", name, spec))
	return j.waitReady(name)
}

// deletes a pod and returns the last that the API saw of it, and its first deletionTimestamp: the last event's is that of the
// deletion for good.
func (j *joined) deletes(p *v1.Pod) (last *v1.Pod, deadline time.Time) {
	j.t.Helper()
	w, err := j.admin.CoreV1().Pods("default").Watch(j.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + p.Name, ResourceVersion: p.ResourceVersion})
	if err != nil {
		j.t.Fatal(err)
	}
	defer w.Stop()
	j.kubectl("delete", "pod", p.Name, "--wait=false")
	for e := range w.ResultChan() {
		if q, ok := e.Object.(*v1.Pod); ok {
			last = q
		}
		if deadline.IsZero() && last.DeletionTimestamp != nil {
			deadline = last.DeletionTimestamp.Time
		}
		if e.Type == "DELETED" {
			break
		}
	}
	return last, deadline
}

func (j *joined) deletionWaits() {
	p := j.applySpec("stubborn", stubborn)
	last, deadline := j.deletes(p)
	c := last.Status.ContainerStatuses[0].State.Terminated
	if last.Status.Phase != v1.PodFailed || c == nil || c.ExitCode != 137 {
		j.t.Fatalf("the last that the API saw of it: %s", describeStatus(last.Status))
	}
	if waited := c.FinishedAt.Sub(deadline); waited < -time.Second {
		j.t.Errorf("it was killed %s before its deadline", -waited)
	}
	if last.Status.PodIP != p.Status.PodIP {
		j.t.Errorf("the IP did not stay: %q", last.Status.PodIP)
	}
	if *last.DeletionGracePeriodSeconds != 0 {
		j.t.Errorf("the object was deleted with grace %d", *last.DeletionGracePeriodSeconds)
	}
	j.eventually("its containers are gone", func() error { return j.noContainers(string(p.UID)) })
	j.waitEvents("stubborn", "Killing: Stopping container web")
}

// centuriesAreLong: the API server's own sum overflows, and its deletionTimestamp lies in 1760.
func (j *joined) centuriesAreLong() {
	last, _ := j.deletes(j.applySpec("centuries", centuriesOfGrace))
	if c := last.Status.ContainerStatuses[0].State.Terminated; last.Status.Phase != v1.PodSucceeded || c == nil || c.ExitCode != 0 {
		j.t.Errorf("the last that the API saw of it: %s", describeStatus(last.Status))
	}
}

func (j *joined) forceIsObeyed() {
	p := j.applySpec("forced", stubbornForLong)
	j.kubectl("delete", "pod", "forced", "--force", "--grace-period=0", "--wait=false")
	j.waitGone("forced")
	j.eventually("the agent has let go of it", func() error { return j.noContainers(string(p.UID)) })
}

func (j *joined) shorterGrace() {
	p := j.applySpec("shortened", stubbornForLong)
	j.kubectl("delete", "pod", "shortened", "--wait=false")
	j.waitEvents("shortened", "Killing: ")
	j.kubectl("delete", "pod", "shortened", "--grace-period=1", "--wait=false")
	j.waitGone("shortened")
	j.eventually("its containers are gone", func() error { return j.noContainers(string(p.UID)) })
}

const jobs = `
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  completions: 2
  parallelism: 2
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, "echo done; echo well > /dev/termination-log"]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, "echo oh; exit 3"], terminationMessagePolicy: FallbackToLogsOnError}]}}
`

func (j *joined) jobsEnd() {
	j.Apply(jobs)
	j.kubectl("wait", "--for=condition=Complete", "--timeout=30s", "job/good")
	j.kubectl("wait", "--for=condition=Failed", "--timeout=30s", "job/bad")
	for job, want := range map[string]string{"good": "Succeeded 0 Completed well\nSucceeded 0 Completed well", "bad": "Failed 3 Error oh"} {
		out := j.kubectl("get", "pods", "-l", "job-name="+job, "-o", `jsonpath={range .items[*]}{.status.phase} {.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.message}{end}`)
		if out != want && out+"\n" != want {
			j.t.Errorf("pods of job %s: %q, want %q", job, out, want)
		}
	}
	if out := j.kubectl("logs", "job/bad"); out != "oh" {
		j.t.Errorf("kubectl logs of an ended pod: %q", out)
	}
}

func (j *joined) tooBigIsRefused() {
	p := j.apply("too-big", `nodeName: `+j.agent.NodeName+`, containers: [{name: web, image: "minikubelet.dev/web:1", resources: {requests: {cpu: 1000}}}]`, phase(v1.PodFailed))
	if p.Status.Reason != "OutOfcpu" {
		j.t.Errorf("status %s", describeStatus(p.Status))
	}
	j.waitEvents("too-big", "OutOfcpu: ")
	j.kubectl("delete", "pod", "too-big", "--timeout=20s")
}

func (j *joined) configMapUpdates() {
	j.kubectl("create", "configmap", "changing", "--from-literal=key=one")
	p := j.apply("reader", `containers: [{name: web, image: "minikubelet.dev/web:1", volumeMounts: [{name: c, mountPath: /c}]}], volumes: [{name: c, configMap: {name: changing}}]`, ready)
	j.kubectl("patch", "configmap", "changing", "-p", `{"data":{"key":"two"}}`)
	j.eventually("the file has the new value", func() error {
		if out, err := j.web(p.Status.PodIP, "/file?path=/c/key"); err != nil || out != "two" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

func (j *joined) statusIsWhole() {
	p := j.apply("whole", `containers: [{name: web, image: "minikubelet.dev/web:1", resources: {requests: {cpu: 5m, memory: 8Mi}}}]`, ready)
	for _, typ := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		i := slices.IndexFunc(p.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == typ })
		if i < 0 || p.Status.Conditions[i].Status != v1.ConditionTrue {
			j.t.Errorf("condition %s: %s", typ, describeStatus(p.Status))
			continue
		}
		if c := p.Status.Conditions[i]; typ != v1.PodScheduled && (c.ObservedGeneration != p.Generation || c.LastTransitionTime.IsZero()) {
			j.t.Errorf("condition %+v, generation %d", c, p.Generation)
		}
	}
	s := p.Status
	if s.ObservedGeneration != p.Generation || s.HostIP != j.env.NodeIP() || len(s.HostIPs) != 1 || len(s.PodIPs) != 1 || s.PodIPs[0].IP != s.PodIP || s.StartTime == nil || s.QOSClass != v1.PodQOSBurstable {
		j.t.Errorf("status %+v", s)
	}
	c := s.ContainerStatuses[0]
	if c.Started == nil || !*c.Started || c.Image != "minikubelet.dev/web:1" || !strings.HasPrefix(c.ContainerID, "containerd://") || c.ImageID == "" || c.Resources == nil || c.AllocatedResources == nil {
		j.t.Errorf("container status %+v", c)
	}
	j.kubectl("patch", "pod", "whole", "--type=json", "-p", `[{"op":"replace","path":"/spec/terminationGracePeriodSeconds","value":1},{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]`)
	j.kubectl("patch", "pod", "whole", "-p", `{"spec":{"activeDeadlineSeconds":600}}`)
	j.waitPod("whole", "the new generation is observed", func(q *v1.Pod) error {
		if q.Generation == p.Generation || q.Status.ObservedGeneration != q.Generation {
			return fmt.Errorf("observed generation %d of %d", q.Status.ObservedGeneration, q.Generation)
		}
		return nil
	})
	j.kubectl("patch", "pod", "whole", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"example.com/mine","status":"True"}]}}`)
	j.web(s.PodIP, "/set/readyz?ok=false")
	j.waitPod("whole", "keeps the condition of another", func(q *v1.Pod) error {
		return isTrue(q.Status.Conditions, func(c v1.PodCondition) (string, string) { return string(c.Type), string(c.Status) }, "example.com/mine")
	})
}

func (j *joined) crashIsReported() {
	p := j.apply("crasher", webContainer, ready)
	ctx, cancel := context.WithTimeout(j.t.Context(), soon)
	defer cancel()
	if _, err := testbed.Post(ctx, "http://"+p.Status.PodIP+":8080/exit?code=5", ""); err != nil {
		j.t.Log("the answer was cut off:", err)
	}
	j.waitPod("crasher", "restarted", func(q *v1.Pod) error {
		c := q.Status.ContainerStatuses[0]
		if last := c.LastTerminationState.Terminated; c.RestartCount != 1 || last == nil || last.ExitCode != 5 || last.Reason != "Error" {
			return errors.New("not restarted")
		}
		return ready(q)
	})
	if out := j.kubectl("logs", "crasher", "--previous"); !strings.Contains(out, "POST /exit") {
		j.t.Errorf("kubectl logs --previous: %s", out)
	}
	j.Apply("apiVersion: v1\nkind: Pod\nmetadata: {name: looper}\nspec: {containers: [{name: main, image: 'docker.io/library/busybox:1.36', command: ['false']}]}\n")
	j.waitPod("looper", "CrashLoopBackOff", func(q *v1.Pod) error {
		if len(q.Status.ContainerStatuses) != 1 || q.Status.ContainerStatuses[0].State.Waiting == nil || q.Status.ContainerStatuses[0].State.Waiting.Reason != "CrashLoopBackOff" {
			return errors.New("not yet")
		}
		return nil
	})
	j.waitEvents("looper", "BackOff: Back-off restarting failed container main in pod looper_default(")
}

func (j *joined) brokenSaysWhy() {
	reason := func(want string) func(*v1.Pod) error {
		return func(p *v1.Pod) error {
			if len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].State.Waiting == nil || p.Status.ContainerStatuses[0].State.Waiting.Reason != want {
				return errors.New("not " + want)
			}
			return nil
		}
	}
	j.apply("no-image", `containers: [{name: web, image: "127.0.0.1:1/none:1"}]`, func(p *v1.Pod) error {
		return errors.Join(reason("ImagePullBackOff")(p))
	})
	j.waitEvents("no-image", `Failed: Failed to pull image "127.0.0.1:1/none:1"`, `BackOff: Back-off pulling image "127.0.0.1:1/none:1"`)
	j.apply("no-config", `containers: [{name: web, image: "minikubelet.dev/web:1", env: [{name: X, valueFrom: {configMapKeyRef: {name: late, key: x}}}]}]`, reason("CreateContainerConfigError"))
	j.kubectl("create", "configmap", "late", "--from-literal=x=1")
	j.waitReady("no-config")
	j.Apply("apiVersion: v1\nkind: Pod\nmetadata: {name: no-volume}\nspec: {containers: [{name: web, image: 'minikubelet.dev/web:1', volumeMounts: [{name: s, mountPath: /s}]}], volumes: [{name: s, secret: {secretName: absent}}]}\n")
	j.waitEvents("no-volume", `FailedMount: MountVolume.SetUp failed for volume "s" : secrets "absent" not found`)
	j.kubectl("delete", "pod", "no-image", "no-volume", "--grace-period=1", "--timeout=20s")
}

func (j *joined) streams() {
	p := j.apply("streamed", `containers: [{name: cat, image: "docker.io/library/busybox:1.36", stdin: true, stdinOnce: false, command: [cat]}, {name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]`, ready)
	port := j.env.Port()
	forward := j.follow("port-forward", "pod/"+p.Name, fmt.Sprintf("%d:8080", port))
	j.eventually("the forwarded port answers", func() error {
		ctx, cancel := context.WithTimeout(j.t.Context(), 2*time.Second)
		defer cancel()
		out, err := testbed.Get(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil && !strings.Contains(out, "hello from") {
			err = errors.New(out)
		}
		if err != nil {
			err = fmt.Errorf("%w; kubectl says %s", err, forward)
		}
		return err
	})
	attached := j.follow("attach", p.Name, "-c", "cat")
	j.eventually("what the container says reaches who is attached", func() error {
		if _, err := j.KubectlIn("typed\n", "exec", "-i", p.Name, "-c", "cat", "--", "sh", "-c", "cat > /proc/1/fd/1"); err != nil {
			return err
		}
		return attached.has("typed")
	})
}
