package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	crashSoon = 40 * time.Second // for what takes a second on an idle machine
	// crashMaxLines bounds what the agent logs per second and pod: more is a loop without a backoff.
	crashMaxLines = 20
)

// crashContainers are the containers of crashPod, in the order of its specification.
var crashContainers = []string{"init", "side", "main", "other"}

// crashPod exercises every kind of action. Each container adds a line to a file of the host when it starts, and so do
// its hooks: the files count what really ran, whatever the agent and the runtime tell.
const crashPod = `
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 20
  initContainers:
  - {name: init, image: IMAGE, command: [sh, -c, "echo >> /runs/NAME.init && touch /scratch/init"], volumeMounts: MOUNTS}
  - name: side
    image: IMAGE
    restartPolicy: Always
    command: [sh, -c, "echo >> /runs/NAME.side; RUN"]
    volumeMounts: MOUNTS
    lifecycle: {preStop: {exec: {command: [sh, -c, "echo >> /runs/NAME.sideprestop"]}}}
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, "echo >> /runs/NAME.main; touch /csi/main; [ -e /scratch/init ] || exit 3; RUN"]
    volumeMounts: MOUNTS
    readinessProbe: {periodSeconds: 1, exec: {command: [test, -e, /csi/main]}}
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo >> /runs/NAME.poststart"]}}
      preStop: {exec: {command: [sh, -c, "echo >> /runs/NAME.prestop"]}}
  - {name: other, image: IMAGE, command: [sh, -c, "echo >> /runs/NAME.other; RUN"], volumeMounts: MOUNTS}
  volumes:
  - {name: runs, hostPath: {path: RUNS}}
  - {name: scratch, emptyDir: {}}
  - {name: csi, csi: {driver: DRIVER, volumeAttributes: {size: "16777216"}}}
`

// crashNode is a node whose agent, or whose runtime, the test kills.
type crashNode struct {
	t    *testing.T
	e    *testbed.Env
	cd   *testbed.Containerd
	a    *testbed.Agent
	csi  *testbed.CSIDriver
	runs string
	http *http.Client
}

// newCrashNode starts all but the agent.
func newCrashNode(t *testing.T) *crashNode {
	t.Helper()
	e := testbed.New(t)
	return newCrashNodeOn(t, e, e.Containerd(testbed.ContainerdConfig{}))
}

func newCrashNodeOn(t *testing.T, e *testbed.Env, cd *testbed.Containerd) *crashNode {
	t.Helper()
	n := &crashNode{t: t, e: e, cd: cd, runs: e.Path("runs")}
	n.a = e.Agent(testbed.AgentConfig{Containerd: n.cd, NotYet: true})
	n.csi = e.CSIDriver(testbed.CSIDriverConfig{Agent: n.a})
	if err := os.MkdirAll(n.runs, 0o777); err != nil {
		t.Fatal(err)
	}
	n.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.a.Socket)
	}}}
	return n
}

// add writes the manifest of a pod made from a template.
func (n *crashNode) add(name, template string) {
	n.t.Helper()
	n.a.WriteManifest(name+".yaml", strings.NewReplacer(
		"NAME", name, "IMAGE", testbed.BusyboxImage, "RUNS", n.runs, "DRIVER", n.csi.Name,
		"RUN", "trap 'exit 0' TERM; sleep 3600 & wait",
		"MOUNTS", "[{name: runs, mountPath: /runs}, {name: scratch, mountPath: /scratch}, {name: csi, mountPath: /csi}]",
	).Replace(template))
}

// pods are the pods that the agent reports, by the names of their manifests.
func (n *crashNode) pods() (map[string]*v1.Pod, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/api/v1/pods", nil)
	if err != nil {
		return nil, err
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list v1.PodList
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	pods := map[string]*v1.Pod{}
	for i := range list.Items {
		pods[n.bare(list.Items[i].Name)] = &list.Items[i]
	}
	return pods, nil
}

// bare is the name that a static pod has in its manifest.
func (n *crashNode) bare(name string) string { return strings.TrimSuffix(name, "-"+n.a.NodeName) }

// containers are what the runtime has, by pod. Two of one name that run at once fail the test.
func (n *crashNode) containers() map[string][]*runtimeapi.Container {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := n.cd.Runtime().ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		n.t.Fatalf("cannot list containers: %v", err)
	}
	all := map[string][]*runtimeapi.Container{}
	running := map[string]string{}
	for _, c := range resp.Containers {
		name := n.bare(c.Labels["io.kubernetes.pod.name"])
		all[name] = append(all[name], c)
		if c.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
			continue
		}
		key := name + "/" + c.Metadata.Name
		if other := running[key]; other != "" {
			n.t.Fatalf("two containers %s run at once: %s and %s", key, other, c.Id)
		}
		running[key] = c.Id
	}
	return all
}

// ids are the containers of a pod that have run, by name, the newest of each: they must outlive what the test does next.
func (n *crashNode) ids(name string) map[string]string {
	n.t.Helper()
	ids, attempts := map[string]string{}, map[string]uint32{}
	for _, c := range n.containers()[name] {
		if of := c.Metadata.Name; n.hasRun(c) && c.Metadata.Attempt >= attempts[of] {
			ids[of], attempts[of] = c.Id, c.Metadata.Attempt
		}
	}
	return ids
}

// hasRun leaves out those whose start the death of the agent cut off: a runtime lists them as ended.
func (n *crashNode) hasRun(c *runtimeapi.Container) bool {
	n.t.Helper()
	if c.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		return c.State != runtimeapi.ContainerState_CONTAINER_CREATED
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := n.cd.Runtime().ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
	if err != nil && status.Code(err) != codes.NotFound {
		n.t.Fatalf("cannot read the status of a container: %v", err)
	}
	return resp.GetStatus().GetStartedAt() != 0
}

// up returns nil when a crashPod runs, each of its containers having run once, those of before still being the ones.
func (n *crashNode) up(name string, before map[string]string) error {
	n.t.Helper()
	return n.upBut(name, before, nil)
}

// cutOff counts, by container, the starts of a pod that the death of the agent cut off when they had a process: the runtime
// kills that process, which may have begun its work, and each is a restart.
func (n *crashNode) cutOff(name string) map[string]int {
	n.t.Helper()
	cut := map[string]int{}
	for _, c := range n.containers()[name] {
		if c.State == runtimeapi.ContainerState_CONTAINER_EXITED && !n.hasRun(c) {
			cut[c.Metadata.Name]++
		}
	}
	return cut
}

// upBut is up for a pod of which so many starts of each container were cut off.
func (n *crashNode) upBut(name string, before map[string]string, cut map[string]int) error {
	n.t.Helper()
	found := map[string]string{}
	for _, c := range n.containers()[name] {
		if cut[c.Metadata.Name] > 0 && c.State == runtimeapi.ContainerState_CONTAINER_EXITED {
			continue
		}
		if was := found[c.Metadata.Name]; was != "" {
			return fmt.Errorf("container %s is there twice: %s and %s", c.Metadata.Name, was, c.Id)
		}
		found[c.Metadata.Name] = c.Id
	}
	for container, id := range before {
		if found[container] != id {
			return fmt.Errorf("container %s is %q, was %q", container, found[container], id)
		}
	}
	pods, err := n.pods()
	if err != nil {
		return err
	}
	if err := reportsUp(pods[name], found, cut); err != nil {
		return err
	}
	for _, container := range crashContainers {
		if ran := n.ran(name, container); ran < 1 || ran > 1+cut[container] {
			return fmt.Errorf("container %s has run %d times", container, ran)
		}
	}
	if n.ran(name, "poststart") < 1 {
		return errors.New("the postStart hook has not run")
	}
	return nil
}

// reportsUp holds the status of a crashPod against the containers of its pod and how often each was started again.
func reportsUp(p *v1.Pod, ids map[string]string, restarts map[string]int) error {
	if p == nil {
		return errors.New("not reported")
	}
	all := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	if p.Status.Phase != v1.PodRunning || len(all) != len(crashContainers) || !podReady(p) {
		return fmt.Errorf("phase %s, %d containers, ready %t: %s", p.Status.Phase, len(all), podReady(p), stateText(all))
	}
	for _, s := range all {
		if int(s.RestartCount) != restarts[s.Name] || s.ContainerID != "containerd://"+ids[s.Name] || !s.Ready {
			return fmt.Errorf("container %s: restarts %d, ready %t, %s, want %s", s.Name, s.RestartCount, s.Ready, s.ContainerID, ids[s.Name])
		}
	}
	return nil
}

func podReady(p *v1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.PodReady && c.Status == v1.ConditionTrue
	})
}

func stateText(all []v1.ContainerStatus) string {
	b, _ := json.Marshal(all)
	return string(b)
}

// ran counts the lines that something of a pod has left.
func (n *crashNode) ran(pod, what string) int {
	b, _ := os.ReadFile(filepath.Join(n.runs, pod+"."+what))
	return bytes.Count(b, []byte("\n"))
}

// nothingLeft is LeftBeside with the agent's own files: its memory, its logs and its links.
func (n *crashNode) nothingLeft(uids ...string) error {
	errs := []error{n.a.LeftBeside(uids...)}
	for _, pattern := range []string{
		filepath.Join(n.a.RootDir, "minikubelet", "records", "*"),
		filepath.Join(n.a.PodLogs, "*"),
		filepath.Join(n.a.RootDir, "plugins", "kubernetes.io", "csi", "*", "*"),
	} {
		files, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, f := range files {
			if !slices.ContainsFunc(uids, func(uid string) bool { return strings.Contains(f, uid) }) {
				errs = append(errs, errors.New("left over: "+f))
			}
		}
	}
	for _, pattern := range []string{"cni/attachments/*", "cni/results/*"} {
		files, err := filepath.Glob(filepath.Join(n.a.RootDir, pattern))
		files = slices.DeleteFunc(files, func(f string) bool {
			return strings.HasPrefix(filepath.Base(f), ".new-") // half-written, and removed when it is old enough
		})
		if len(files) > len(uids) {
			err = fmt.Errorf("%s holds %d, want at most %d: %v", pattern, len(files), len(uids), files)
		}
		errs = append(errs, err)
	}
	links, err := filepath.Glob("/var/log/containers/*")
	errs = append(errs, err)
	for _, link := range links {
		to, err := os.Readlink(link)
		if err == nil && strings.HasPrefix(to, n.a.PodLogs+"/") && !slices.ContainsFunc(uids, func(uid string) bool { return strings.Contains(to, uid) }) {
			errs = append(errs, errors.New("left over: "+link))
		}
	}
	return errors.Join(errs...)
}

// quiet fails the test when the agent has said one thing too often: attributes that differ from pod to pod count as one.
func (n *crashNode) quiet() {
	n.t.Helper()
	perSecond := map[string]int{}
	for line := range strings.Lines(n.a.Log()) {
		stamp, said, ok := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if !ok || len(stamp) < len("2006-01-02T15:04:05") {
			continue
		}
		key := stamp[:len("2006-01-02T15:04:05")] + " " + strings.TrimSpace(said)
		if perSecond[key]++; perSecond[key] == crashMaxLines {
			n.t.Errorf("the agent said %d times in one second: %s", crashMaxLines, said)
		}
	}
}
