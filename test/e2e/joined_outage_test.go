package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const outagePods = `
apiVersion: v1
kind: ConfigMap
metadata: {name: outage}
data: {key: kept}
---
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: minikubelet.dev/web:1
    env: [{name: KEY, valueFrom: {configMapKeyRef: {name: outage, key: key}}}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: still}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "minikubelet.dev/web:1", volumeMounts: [{name: c, mountPath: /c}]}]
  volumes: [{name: c, configMap: {name: outage}}]
---
apiVersion: v1
kind: Pod
metadata: {name: doomed}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "minikubelet.dev/web:1"}]
`

const outageFile = `
apiVersion: v1
kind: Pod
metadata: {name: filed}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "minikubelet.dev/web:1"}]
`

// TestJoinedOutage takes the API server away, and the agent with it for a moment: what runs, runs on, what crashes is
// restarted, files are obeyed, and what happened meanwhile is told when the API server is back.
func TestJoinedOutage(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	j.Apply(outagePods)
	ips := map[string]string{}
	for _, name := range []string{"steady", "still", "doomed"} {
		ips[name] = j.waitReady(name).Status.PodIP
	}

	j.StopAPI()
	j.crash(ips["steady"])
	j.eventually("the crashed container runs again, with its ConfigMap", func() error {
		out, err := j.web(ips["steady"], "/env?name=KEY")
		if err == nil && out != "kept" {
			err = errors.New(out)
		}
		return errors.Join(err, j.local(ips["steady"], 1))
	})
	before := j.containers()

	j.agent.Restart()
	j.agent.WriteManifest("filed.yaml", outageFile)
	var filed v1.Pod
	j.eventually("a pod from a file starts without an API server", func() (err error) {
		filed, err = j.localPod("filed-" + j.agent.NodeName)
		return errors.Join(err, ready(&filed))
	})
	j.crash(filed.Status.PodIP)
	j.eventually("it is restarted", func() error { return j.local(filed.Status.PodIP, 1) })
	after := j.containers()
	maps.DeleteFunc(after, func(id, pod string) bool { return strings.HasPrefix(pod, "filed") })
	if !maps.Equal(before, after) {
		t.Errorf("containers before the agent's restart %v, after %v", before, after)
	}

	j.StartAPI()
	j.waitPod("steady", "its restart is told", func(p *v1.Pod) error {
		if restarts(*p) != 1 {
			return errors.New("not yet")
		}
		return ready(p)
	})
	j.waitPod("filed-"+j.agent.NodeName, "its mirror is made", func(p *v1.Pod) error {
		if restarts(*p) != 1 {
			return errors.New("not yet")
		}
		return ready(p)
	})
	j.kubectl("patch", "configmap", "outage", "-p", `{"data":{"key":"new"}}`)
	j.eventually("the ConfigMap is watched again", func() error {
		if out, err := j.web(ips["still"], "/file?path=/c/key"); err != nil || out != "new" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})

	j.agent.Kill()
	doomed := j.uid("doomed")
	j.kubectl("delete", "pod", "doomed", "--force", "--grace-period=0")
	j.agent.RemoveManifest("filed.yaml")
	j.agent.Start()
	j.waitGone("filed-" + j.agent.NodeName)
	j.eventually("what was deleted while the agent was down is gone, and nothing else", func() error {
		return errors.Join(j.noContainers(doomed), j.agent.LeftBeside(j.uid("steady"), j.uid("still")))
	})
	now := j.containers()
	maps.DeleteFunc(before, func(id, pod string) bool { return pod == "doomed" })
	if !maps.Equal(before, now) {
		t.Errorf("containers at first %v, in the end %v", before, now)
	}
	for _, name := range []string{"steady", "still"} {
		if p := j.waitReady(name); p.Status.PodIP != ips[name] {
			t.Errorf("%s has another IP", name)
		}
	}
}

// crash ends a pod's web server with an exit code.
func (j *joined) crash(ip string) {
	j.t.Helper()
	j.eventually(ip+" is told to exit", func() error {
		ctx, cancel := context.WithTimeout(j.t.Context(), 2*time.Second)
		defer cancel()
		_, err := testbed.Post(ctx, "http://"+ip+":8080/exit?code=5", "")
		if err != nil && strings.Contains(err.Error(), "EOF") {
			err = nil // it exited before it answered
		}
		return err
	})
}

// containers are those that run: their pods' names by their IDs.
func (j *joined) containers() map[string]string {
	j.t.Helper()
	list, err := j.cd.Runtime().ListContainers(j.t.Context(), &runtimeapi.ListContainersRequest{
		Filter: &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}},
	})
	if err != nil {
		j.t.Fatal(err)
	}
	ids := map[string]string{}
	for _, c := range list.Containers {
		ids[c.Id] = c.Labels["io.kubernetes.pod.name"]
	}
	return ids
}

func (j *joined) uid(name string) string {
	j.t.Helper()
	return j.kubectl("get", "pod", name, "-o", "jsonpath={.metadata.uid}")
}

// localPods are the pods as the agent itself tells them, with and without an API server.
func (j *joined) localPods() ([]v1.Pod, error) {
	out, err := j.agent.CLI("get", "pods", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list v1.PodList
	err = json.Unmarshal([]byte(out), &list)
	return list.Items, err
}

func (j *joined) localPod(name string) (v1.Pod, error) {
	pods, err := j.localPods()
	for _, p := range pods {
		if p.Name == name {
			return p, err
		}
	}
	return v1.Pod{}, errors.Join(err, fmt.Errorf("the agent has no pod %s", name))
}

// local fails unless the pod with an address is Ready and has been restarted so often.
func (j *joined) local(ip string, want int32) error {
	pods, err := j.localPods()
	for _, p := range pods {
		if p.Status.PodIP == ip {
			if got := restarts(p); got != want {
				err = errors.Join(err, fmt.Errorf("%d restarts", got))
			}
			return errors.Join(err, ready(&p))
		}
	}
	return errors.Join(err, fmt.Errorf("the agent has no pod with %s", ip))
}
