package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// vmSoon is soon for a machine in software on a busy one.
const vmSoon = 2 * time.Minute

const vmConfig = `
cgroupDriver: systemd
evictionHard: {memory.available: 1300Mi}
evictionPressureTransitionPeriod: 1s
podPidsLimit: 200
`

// vmEater's child takes more memory than its container may.
const vmEater = `
metadata: {name: eater}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "dd if=/dev/zero of=/dev/null bs=100M & sleep 3600"]
    resources: {limits: {memory: 32Mi, cpu: 500m}}
`

// vmPods: one whose limits can be read back; the eater; one that takes the node's memory once it is told to.
var vmPods = pods(`
metadata: {name: limited}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'exit 0' TERM; sleep 86399 & wait"]
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1, timeoutSeconds: 20}
    resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
`, vmEater, `
metadata: {name: greedy}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "until test -e /go/now; do sleep 0.2; done; dd if=/dev/zero of=/scratch/eaten bs=1M count=600; exec sleep 3600"]
    volumeMounts: [{name: scratch, mountPath: /scratch}, {name: go, mountPath: /go}]
  volumes: [{name: scratch, emptyDir: {medium: Memory}}, {name: go, hostPath: {path: /run/go, type: DirectoryOrCreate}}]
`)

// TestCgroup2 is the smoke test on cgroup v2, with the systemd driver: on a machine of its own, which has nothing but
// that. What a pod may use is in the files of its slice, an OOM takes the whole container and is called so, memory that
// runs out evicts, and a clock that jumps changes nothing.
func TestCgroup2(t *testing.T) {
	e := testbed.New(t)
	m := &vmNode{VM: e.VM(), t: t}
	m.install(e)
	limited := m.until("limited", "is Ready", isReady)
	m.hasLimits(limited)
	t.Log("limits are in the files of cgroup v2")

	m.until("eater", "is killed for its memory", isOOMKilled)
	t.Log("an OOM of a child ends its container, OOMKilled")

	m.until("greedy", "runs", isReady)
	for _, jump := range []string{"+30 hours", "-60 hours", "+60 hours"} {
		m.Must("date", "-s", jump)
		m.steady(limited, 3*time.Second)
		m.Must("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:10248/healthz")
	}
	m.Must("date", "-s", "-60 hours")
	m.Must("pkill", "-f", "sleep 86399")
	m.until("limited", "runs again, its exit seen by a clock that was set back", func(p *v1.Pod) error {
		if c := container(p, "c"); c.RestartCount != 1 || !c.Ready {
			return errors.New("it was not restarted")
		}
		return nil
	})
	t.Log("a clock that jumps by days changes nothing")

	m.Write("/run/go/now", "", 0o600)
	m.until("greedy", "is evicted", func(p *v1.Pod) error {
		if p.Status.Phase != v1.PodFailed || p.Status.Reason != "Evicted" || !strings.Contains(p.Status.Message, "memory") {
			return errors.New(p.Status.Reason + " " + p.Status.Message)
		}
		return nil
	})
	t.Log("memory that runs out evicts the pod that takes it")
	m.Must("sh", "-c", "rm /etc/kubernetes/manifests/*.yaml")
	testbed.Eventually(t, vmSoon, "nothing is left", m.nothingLeft)

	m.Must("sed", "-i", `s|SystemdCgroup = true|&\n    BinaryName = "/usr/bin/crun"|`, "/etc/containerd/config.toml")
	m.Must("systemctl", "restart", "containerd")
	m.walksOnCrun()
	t.Log("crun runs pods as runc does")
}

// crunPods are a pod with all kinds of containers, and one whose child is out of memory.
var crunPods = pods(`
metadata: {name: limited}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
  - {name: init, image: $busybox, command: [sh, -c, "echo prepared >/work/file"], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: side, image: $busybox, restartPolicy: Always, command: [sh, -c, "trap 'exit 0' TERM; sleep 3600 & wait"]}
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "trap 'echo ends; exit 0' TERM; cat /work/file; sleep 86399 & wait"]
    readinessProbe: {exec: {command: [test, -e, /work/hook]}, periodSeconds: 1, timeoutSeconds: 20}
    lifecycle: {postStart: {exec: {command: [touch, /work/hook]}}}
    resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
    volumeMounts: [{name: work, mountPath: /work}]
  volumes: [{name: work, emptyDir: {}}]
`, vmEater)

// walksOnCrun takes pods through their lives on the runtime that crun is.
func (m *vmNode) walksOnCrun() {
	m.t.Helper()
	m.Write("/etc/kubernetes/manifests/pods.yaml", crunPods, 0o600)
	p := m.until("limited", "is Ready", isReady)
	// runc calls it state.json.
	m.Must("test", "-e", "/run/containerd/runc/k8s.io/"+strings.TrimPrefix(container(p, "c").ContainerID, "containerd://")+"/status")
	// crun makes a cgroup of its own below the scope: the container sees its limits there.
	if got := m.Must("minikubelet", "exec", "limited", "-c", "c", "--", "cat", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max"); got != "67108864\n50000 100000\n" {
		m.t.Errorf("its limits are %q", got)
	}
	if log := m.Must("minikubelet", "logs", "limited", "-c", "c"); log != "prepared\n" {
		m.t.Errorf("the log is %q", log)
	}
	if said := m.Must("minikubelet", "exec", "limited", "-c", "c", "--", "cat", "/work/file"); said != "prepared\n" {
		m.t.Errorf("exec printed %q", said)
	}
	m.until("eater", "is killed for its memory", isOOMKilled)
	m.Must("pkill", "-f", "sleep 86399")
	m.until("limited", "runs again", func(p *v1.Pod) error {
		if c := container(p, "c"); c.RestartCount != 1 || !c.Ready {
			return errors.New("it was not restarted")
		}
		return nil
	})
	m.Must("rm", "/etc/kubernetes/manifests/pods.yaml")
	testbed.Eventually(m.t, vmSoon, "nothing is left", m.nothingLeft)
}

func isOOMKilled(p *v1.Pod) error {
	last := container(p, "c").State.Terminated
	if p.Status.Phase != v1.PodFailed || last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
		return fmt.Errorf("its container is %+v", container(p, "c").State)
	}
	return nil
}

// vmNode is the agent on a virtual machine.
type vmNode struct {
	*testbed.VM
	t *testing.T
}

// install puts the agent, its unit and the pods on the machine, and starts it.
func (m *vmNode) install(e *testbed.Env) {
	m.t.Helper()
	m.t.Cleanup(m.tellWhy)
	deploy := filepath.Join(testbed.RepoRoot(m.t), "deploy")
	m.Install(testbed.AgentBinary(m.t), "/usr/local/bin/minikubelet", 0o755)
	m.Install(filepath.Join(deploy, "minikubelet.service"), "/etc/systemd/system/minikubelet.service", 0o644)
	config, err := os.ReadFile(filepath.Join(deploy, "config.yaml"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.Write("/etc/minikubelet/config.yaml", strings.Replace(string(config), "\n---\n", vmConfig+"---\n", 1), 0o600)
	m.Install(e.ImageArchive(), "/var/lib/kubelet/images/test.tar", 0o600)
	m.Write("/etc/kubernetes/manifests/pods.yaml", vmPods, 0o600)
	m.Must("systemctl", "daemon-reload")
	m.Must("systemctl", "start", "minikubelet")
}

// pods are the pods that the agent reports, by the names of their manifests.
func (m *vmNode) pods() (map[string]*v1.Pod, error) {
	out, err := m.Run("minikubelet", "get", "pods", "--output=json")
	if err != nil {
		return nil, err
	}
	var list v1.PodList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	pods := map[string]*v1.Pod{}
	for i := range list.Items {
		pods[strings.TrimSuffix(list.Items[i].Name, "-"+list.Items[i].Spec.NodeName)] = &list.Items[i]
	}
	return pods, nil
}

func (m *vmNode) until(name, what string, should func(*v1.Pod) error) *v1.Pod {
	m.t.Helper()
	var p *v1.Pod
	testbed.Eventually(m.t, vmSoon, "pod "+name+" "+what, func() error {
		pods, err := m.pods()
		if err != nil {
			return err
		}
		if p = pods[name]; p == nil {
			return errors.New("it is not reported")
		}
		if err := should(p); err != nil {
			status, _ := json.Marshal(p.Status.ContainerStatuses)
			return fmt.Errorf("%w; %s %s %s", err, p.Status.Phase, p.Status.Reason, status)
		}
		return nil
	})
	return p
}

// steady holds a pod that runs against what it was.
func (m *vmNode) steady(was *v1.Pod, d time.Duration) {
	m.t.Helper()
	for began := time.Now(); ; {
		pods, err := m.pods()
		if err != nil {
			m.t.Fatal(err)
		}
		p := pods["limited"]
		if p == nil || isReady(p) != nil || container(p, "c").ContainerID != container(was, "c").ContainerID || container(p, "c").RestartCount != 0 {
			m.t.Fatalf("the pod is no longer what it was: %+v", p)
		}
		for i, c := range p.Status.Conditions {
			if c.LastTransitionTime != was.Status.Conditions[i].LastTransitionTime {
				m.t.Errorf("condition %s has flipped: %+v", c.Type, c)
			}
		}
		if time.Since(began) >= d {
			return
		}
	}
}

// hasLimits reads a pod's slice, and the cgroup of its container in it.
func (m *vmNode) hasLimits(p *v1.Pod) {
	m.t.Helper()
	uid := strings.ReplaceAll(string(p.UID), "-", "_")
	slice := "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid + ".slice"
	scope := slice + "/cri-containerd-" + strings.TrimPrefix(container(p, "c").ContainerID, "containerd://") + ".scope"
	const weight = "10" // 256 shares, of a request of 250m
	for path, want := range map[string]string{
		slice + "/cpu.max": "50000 100000", slice + "/memory.max": "67108864", slice + "/pids.max": "200", slice + "/cpu.weight": weight,
		scope + "/cpu.max": "50000 100000", scope + "/memory.max": "67108864", scope + "/memory.oom.group": "1", scope + "/memory.swap.max": "0",
		filepath.Dir(slice) + "/cpu.weight": weight, "/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/cpu.weight": "1",
		"/sys/fs/cgroup/kubepods.slice/pids.max": strings.TrimSpace(m.Must("sh", "-c", "cat /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max | sort -n | head -1")),
	} {
		if got := strings.TrimSpace(m.Must("cat", path)); got != want {
			m.t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

// nothingLeft returns an error that names what pods have left on the machine. Shims are not looked for: containerd does not
// wait for one that takes longer to end than it has patience, which on this machine is none.
func (m *vmNode) nothingLeft() error {
	left, err := m.Run("sh", "-c", `find /var/lib/kubelet/pods /var/lib/kubelet/minikubelet/records -mindepth 1 -maxdepth 1; grep /var/lib/kubelet/pods/ /proc/mounts
		ls /run/netns; find /sys/fs/cgroup -name 'kubepods-*-pod*'; true`)
	if err == nil && strings.TrimSpace(left) != "" {
		err = errors.New("left: " + left)
	}
	return err
}

// tellWhy shows what the machine knows of a test that failed.
func (m *vmNode) tellWhy() {
	if !m.t.Failed() {
		return
	}
	for _, cmd := range []string{"journalctl --no-pager --output=cat --lines=80 --unit=minikubelet", "cat /proc/meminfo | head -5; df -h | grep -v overlay; ls -l /run/go; cat /proc/pressure/memory; date",
		"ps -eo pid,ppid,stat,args | grep -v '\\]$'; ctr --namespace k8s.io containers ls; ctr --namespace k8s.io tasks ls"} {
		said, err := m.Run("sh", "-c", cmd)
		m.t.Logf("--- %s (%v)\n%s", cmd, err, said)
	}
}
