package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// matrixPods go through all of a pod's life. The first has an init container, a sidecar, hooks, probes, volumes of every
// kind of source, an address and a port of the node; the second ends; the third has what security contexts can say.
const (
	matrixStory = `
metadata: {name: story}
spec:
  terminationGracePeriodSeconds: 2
  initContainers:
  - {name: init, image: $busybox, command: [sh, -c, "echo prepared >/work/file; echo init >>/host/order"], volumeMounts: &mounts [{name: work, mountPath: /work}, {name: host, mountPath: /host}]}
  - name: sidecar
    image: $busybox
    restartPolicy: Always
    command: [sh, -c, "echo sidecar >>/host/order; trap 'echo sidecar-ends >>/host/order; exit 0' TERM; touch /work/started; sleep 3600 & wait"]
    startupProbe: {exec: {command: [test, -e, /work/started]}, periodSeconds: 1}
    volumeMounts: *mounts
  containers:
  - name: web
    image: $web
    args: [-ignore-term]
    env:
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    ports: [{containerPort: 8080, hostPort: %d}]
    readinessProbe: {exec: {command: [/web, get, "http://127.0.0.1:8080/readyz"]}, periodSeconds: 1, timeoutSeconds: 5}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 2}
    volumeMounts: [{name: work, mountPath: /work}, {name: config, mountPath: /config}, {name: data, mountPath: /data}, {name: work, mountPath: /sub, subPath: deep/er}]
  - name: shell
    image: $busybox
    command: [sh, -c, "echo shell >>/host/order; trap 'echo shell-ends >>/host/order; exit 0' TERM; sleep 3600 & wait"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo hook-starts >>/host/order"]}}
      preStop: {exec: {command: [sh, -c, "echo hook-ends >>/host/order"]}}
    volumeMounts: *mounts
  volumes:
  - {name: work, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: "%s"}}
  - {name: config, configMap: {name: settings}}
  - {name: data, csi: {driver: %s, volumeAttributes: {size: 16Mi}}}
`
	matrixEnds = `
metadata: {name: ends}
spec:
  restartPolicy: Never
  containers: [{name: c, image: $busybox, command: [sh, -c, "echo out; echo err >&2; echo bye >/dev/termination-log; exit 4"]}]
`
	matrixConfined = `
metadata: {name: confined}
spec:
  terminationGracePeriodSeconds: 1
  shareProcessNamespace: true
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "id -u; id -g; id -G; touch /scratch/f && stat -c %g /scratch/f; touch /new 2>/dev/null || echo read-only; grep CapEff /proc/self/status; ps | grep -c '[p]ause'; sleep 3600"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    resources: {limits: {memory: 32Mi, cpu: 500m}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
`
	confinedLog = "1000\n2000\n2000 3000\n3000\nread-only\nCapEff:\t0000000000000000\n1\n"
)

// TestMatrix walks through all of a pod's life on each runtime that is supported. Debian's containerd 1.6 streams no
// events, and has older CNI plugins. Its crun refuses a hybrid of cgroup v1 and v2: it has its part in TestCgroup2.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, runtime := range []struct {
		name       string
		containerd testbed.ContainerdConfig
	}{
		{"containerd 2.4 with runc 1.5", testbed.ContainerdConfig{}},
		{"containerd 1.6 with runc 1.1", testbed.ContainerdConfig{Version: "1.6"}},
	} {
		t.Run(runtime.name, func(t *testing.T) {
			t.Parallel()
			s := newStandalone(t, runtime.containerd, testbed.AgentConfig{})
			s.env.CSIDriver(testbed.CSIDriverConfig{Agent: s.Agent})
			m := &matrix{standalone: s, port: s.env.Port(), host: filepath.Dir(s.env.Path("host", "x"))}
			m.walk(t)
		})
	}
}

type matrix struct {
	*standalone
	port int
	host string
}

func (m *matrix) walk(t *testing.T) {
	t.Helper()
	m.WriteManifest("objects.yaml", fmt.Sprintf(volumeObjects, "red"))
	m.WriteManifest("story.yaml", pods(fmt.Sprintf(matrixStory, m.port, m.host, testbed.CSIDriverName), matrixEnds, matrixConfined, crashing))
	m.nodeReady()
	p := m.networked(t, "story", netip.MustParsePrefix(m.env.PodCIDR()), m.port)
	web := "http://" + p.Status.PodIP + ":8080"
	for path, want := range map[string]string{"/work/file": "prepared\n", "/config/color": "red"} {
		if got, err := get(web + "/file?path=" + path); err != nil || got != want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
		}
	}
	m.hasOrder(t, "init", "sidecar", "shell", "hook-starts")
	m.others(t)
	m.restarts(t, web)

	p = m.ready("story")
	m.Kill()
	m.Start()
	again := m.ready("story")
	for i, c := range again.Status.ContainerStatuses {
		if was := p.Status.ContainerStatuses[i]; c.ContainerID != was.ContainerID || c.RestartCount != was.RestartCount {
			t.Errorf("over the agent's restart, %+v became %+v", was, c)
		}
	}

	ended := m.watchEnd(p)
	m.gone("story.yaml")
	if last := <-ended; last.Status.Phase != v1.PodFailed { // web had to be killed
		t.Errorf("at last the pod was %s", last.Status.Phase)
	}
	m.hasOrder(t, "init", "sidecar", "shell", "hook-starts", "hook-ends", "shell-ends", "sidecar-ends")
	if err := m.netless(p.Status.PodIP, m.port); err != nil {
		t.Error(err)
	}
}

// others looks at the pods beside the story.
func (m *matrix) others(t *testing.T) {
	t.Helper()
	crashLoops(m.standalone)
	p := m.phase("ends", v1.PodFailed)
	if last := container(p, "c").State.Terminated; last == nil || last.ExitCode != 4 || last.Reason != "Error" || last.Message != "bye\n" {
		t.Errorf("it ended as %+v", last)
	}
	if log := m.logs("ends", "c"); log != "out\nerr\n" && log != "err\nout\n" {
		t.Errorf("its log is %q", log)
	}
	m.prints("confined", "c", confinedLog)
	for _, command := range []struct {
		args []string
		want string
	}{
		{[]string{"cat", "/work/file"}, "prepared\n"},
		{[]string{"sh", "-c", "echo $0 $HOSTNAME", "here"}, "here story-" + m.NodeName + "\n"},
	} {
		args := slices.Concat([]string{"exec", "story", "-c", "shell", "--socket=" + m.Socket, "--"}, command.args)
		out, err := testbed.Run(t.Context(), "", testbed.AgentBinary(t), args...)
		if err != nil || out != command.want {
			t.Errorf("exec %q printed %q, %v; want %q", command.args, out, err, command.want)
		}
	}
}

// restarts lets the liveness probe fail.
func (m *matrix) restarts(t *testing.T, web string) {
	t.Helper()
	if err := post(web + "/set/healthz?ok=false"); err != nil {
		t.Fatal(err)
	}
	m.restartedByProbe("story", "Liveness probe failed: HTTP probe failed with statuscode: 503")
	if last := container(m.ready("story"), "web").LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("the probe ended the container as %+v, want exit code 137", last)
	}
	if log := m.logs("story", "web", "--previous"); !strings.Contains(log, "received terminated") {
		t.Errorf("the previous log is %q", log)
	}
}

// hasOrder checks in which order the parts of the story have begun and ended.
func (m *matrix) hasOrder(t *testing.T, want ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.host, "order"))
	if got := strings.Fields(string(b)); err != nil || !slices.Equal(got, want) {
		t.Errorf("what ran is %q, %v; want %q", got, err, want)
	}
}
