package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const debugged = `
apiVersion: v1
kind: Pod
metadata: {name: subject}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}
  - {name: shell, image: "docker.io/library/busybox:1.36", command: [sleep, "3600"]}
`

// TestJoined_Debugging is what a person does with kubectl, and what others do with the node's API, to look into pods and the
// node. The node is drained at the end.
func TestJoined_Debugging(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	j.Apply(debugged)
	j.waitReady("subject")
	for _, s := range []struct {
		name string
		f    func(*joined)
	}{
		{"commands, running pods and the node's logs", (*joined).asksTheNode},
		{"a checkpoint is made, or it is said why not", (*joined).checkpoints},
		{"a terminal in a container", (*joined).terminal},
		{"files are copied in and out", (*joined).copies},
		{"a debugger in a pod and one on the node", (*joined).kubectlDebug},
		{"kubectl shows the pod and the node", (*joined).shows},
		{"requests that are slow, huge, malformed or half open", (*joined).endures},
		{"the node is drained and used again", (*joined).drains},
	} {
		t.Run(s.name, func(t *testing.T) { s.f(j.in(t)) })
	}
}

// onNode asks the node's API through the API server. The answer begins with its code.
func (j *joined) onNode(method, path string) string {
	j.t.Helper()
	client, err := rest.HTTPClientFor(j.RESTConfig())
	if err != nil {
		j.t.Fatal(err)
	}
	client.Timeout = soon
	return request(client, method, "", j.URL+"/api/v1/nodes/"+j.agent.NodeName+"/proxy"+path)
}

func (j *joined) asksTheNode() {
	p, err := j.pod("subject")
	if err != nil {
		j.t.Fatal(err)
	}
	for _, q := range []struct{ method, path, want string }{
		{"POST", "/run/default/subject/shell?cmd=echo+one+two", "200 one two"},
		{"POST", "/run/default/subject/" + string(p.UID) + "/shell?cmd=ls+/none+/bin/sh", "500 command 'ls /none /bin/sh' exited with 1: "},
		{"POST", "/run/default/subject/shell?cmd=false", "command 'false' exited with 1:"},
		{"POST", "/run/default/subject/none?cmd=ls", "404 "},
		{"POST", "/run/default/none/shell?cmd=ls", "404 "},
		{"GET", "/run/default/subject/shell?cmd=ls", "405 "},
		{"GET", "/runningpods/", `"name":"subject"`},
		{"GET", "/logs/", `<a href="containers">containers</a>`},
		{"GET", "/logs/..%2f..%2fetc%2fpasswd", "404 "},
		{"GET", "/logs/no-such-log", "no such file or directory"},
		{"GET", "/configz", `"kind":"KubeletConfiguration"`},
		{"GET", "/statusz", "\nBinary version: 1.36.3"},
		{"GET", "/flagz", "\nhostname-override: " + j.agent.NodeName + "\n"},
		{"GET", "/debug/pprof/goroutine?debug=1", "goroutine profile: total"},
		{"GET", "/debug/pprof/cmdline", "minikubelet"},
	} {
		if got := j.onNode(q.method, q.path); !strings.Contains(got, q.want) {
			j.t.Errorf("%s %s: %.500s, want %q", q.method, q.path, got, q.want)
		}
	}
	flag := "/api/v1/nodes/" + j.agent.NodeName + "/proxy/debug/flags/v"
	if out, err := j.KubectlIn("2", "replace", "--raw", flag, "-f", "-"); err != nil || out != "successfully set klog.logging.verbosity to 2" {
		j.t.Errorf("the verbosity: %q, %v", out, err)
	}
	j.eventually("more is logged", func() error {
		got := ask(http.DefaultClient, "", fmt.Sprintf("http://%s:%d/", j.env.NodeIP(), j.agent.Port)) // without TLS
		if !strings.Contains(j.agent.Log(), "level=DEBUG msg=\"http server\"") {
			return fmt.Errorf("no line of level DEBUG; the server says %s", got)
		}
		return nil
	})
	var list v1.PodList
	if err := json.Unmarshal([]byte(strings.TrimPrefix(j.onNode("GET", "/runningpods/"), "200 ")), &list); err != nil {
		j.t.Fatal(err)
	}
	for _, q := range list.Items {
		if q.Name == "subject" && (q.UID != p.UID || q.Namespace != "default" || len(q.Spec.Containers) != 2) {
			j.t.Errorf("the running pod %+v", q)
		}
	}
}

// checkpoints needs criu on the node, which has to know the kernel: without it, the runtime's word reaches who asked.
func (j *joined) checkpoints() {
	out, made := strings.CutPrefix(j.onNode("POST", "/checkpoint/default/subject/shell"), "200 ")
	dir := filepath.Join(j.agent.RootDir, "checkpoints")
	i, statErr := os.Stat(dir)
	if statErr != nil || i.Mode().Perm() != 0o700 {
		j.t.Errorf("the directory of checkpoints: %v, %v; it must be root's alone", i, statErr)
	}
	if !made {
		for _, want := range []string{"500 checkpointing of default/subject/shell failed (", "criu"} {
			if !strings.Contains(strings.ToLower(out), want) {
				j.t.Errorf("the error has no %q: %s", want, out)
			}
		}
	} else {
		var list struct{ Items []string }
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) != 1 || !strings.HasPrefix(list.Items[0], dir+"/checkpoint-subject_default-shell-") {
			j.t.Fatalf("the answer %s, %v", out, err)
		}
		if i, err := os.Stat(list.Items[0]); err != nil || i.Size() == 0 {
			j.t.Errorf("the archive: %v, %v", i, err)
		}
	}
	for path, want := range map[string]string{
		"subject/none": `container "none" not found in pod "subject"`, "none/shell": "pod does not exist", "subject/shell?timeout=x": "cannot parse value of timeout parameter",
	} {
		if got := j.onNode("POST", "/checkpoint/default/"+path); !strings.HasPrefix(got, "404 "+want) {
			j.t.Errorf("%s: %s, want 404 %s", path, got, want)
		}
	}
}

// terminal runs kubectl under script, which gives it a terminal.
func (j *joined) terminal() {
	cmd := fmt.Sprintf("%s --kubeconfig=%s exec -it subject -c shell -- sh -c 'tty; stty size; exit 5'", testbed.Tool(j.t, "kubectl"), j.AdminKubeconfig)
	out, err := exec.CommandContext(j.t.Context(), "script", "-qefc", cmd, "/dev/null").CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !strings.Contains(string(out), "/dev/pts/") || !ok || exit.ExitCode() != 5 {
		j.t.Errorf("kubectl exec -it: %s, %v; want a terminal and exit code 5", out, err)
	}
}

func (j *joined) copies() {
	text := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	from := j.env.WriteFile(text, "copied", "in", "file")
	j.kubectl("cp", filepath.Dir(from), "subject:/tmp/there", "-c", "shell")
	to := j.env.Path("copied", "out")
	j.kubectl("cp", "subject:/tmp/there/file", to, "-c", "shell")
	if back, err := os.ReadFile(to); err != nil || string(back) != text {
		j.t.Errorf("what came back has %d bytes, %v; want %d", len(back), err, len(text))
	}
}

func (j *joined) kubectlDebug() {
	j.kubectl("debug", "subject", "--image="+testbed.BusyboxImage, "--image-pull-policy=IfNotPresent", "-c", "looker", "--target=web", "--profile=general", "--", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/root/etc/hostname")
	j.waitPod("subject", "its debugger has ended", func(p *v1.Pod) error {
		if s := p.Status.EphemeralContainerStatuses; len(s) != 1 || s[0].State.Terminated == nil {
			return fmt.Errorf("ephemeral containers %+v", s)
		}
		return nil
	})
	if out := j.kubectl("logs", "subject", "-c", "looker"); !strings.Contains(out, "/web") {
		j.t.Errorf("kubectl debug of a pod: %s", out)
	}
	out := j.kubectl("debug", "node/"+j.agent.NodeName, "--image="+testbed.BusyboxImage, "--image-pull-policy=IfNotPresent", "--profile=sysadmin", "--", "sh", "-c", "cat /host/proc/1/comm; ls /host"+j.agent.RootDir)
	_, name, _ := strings.Cut(out, "debugging pod ")
	name, _, _ = strings.Cut(name, " ")
	j.waitPod(name, "has ended", phase(v1.PodSucceeded))
	if out := j.kubectl("logs", name); !strings.Contains(out, "pods") {
		j.t.Errorf("kubectl debug of the node: %s", out)
	}
	j.kubectl("delete", "pod", name, "--timeout=20s")
}

func (j *joined) shows() {
	p, err := j.pod("subject")
	if err != nil {
		j.t.Fatal(err)
	}
	for what, want := range map[string][]string{
		"get pod subject -o wide": {"2/2", "Running", p.Status.PodIP, j.agent.NodeName},
		"get nodes -o wide":       {" Ready ", j.env.NodeIP(), "containerd://", "v1.36."},
		"describe pod subject":    {p.Status.PodIP, "containerd://", "Ephemeral Containers:", "looker", "Container started", "kubelet"},
		"describe node " + j.agent.NodeName: {
			"KubeletReady", "Non-terminated Pods:", "subject", "Allocated resources:", "Kubelet Version:", "HolderIdentity:  " + j.agent.NodeName, "Starting"},
	} {
		out := j.kubectl(strings.Fields(what)...)
		for _, w := range want {
			if !strings.Contains(out, w) {
				j.t.Errorf("kubectl %s has no %q:\n%s", what, w, out)
			}
		}
	}
}

const drained = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: managed}
spec:
  replicas: 2
  selector: {matchLabels: {app: managed}}
  template:
    metadata: {labels: {app: managed}}
    spec:
      terminationGracePeriodSeconds: 5
      volumes: [{name: scratch, emptyDir: {}}]
      containers: [{name: web, image: "minikubelet.dev/web:1", volumeMounts: [{name: scratch, mountPath: /scratch}], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]
`

func (j *joined) drains() {
	j.Apply(drained)
	j.kubectl("rollout", "status", "deployment/managed", "--timeout=30s")
	j.kubectl("cordon", j.agent.NodeName)
	if out := j.kubectl("get", "node", j.agent.NodeName); !strings.Contains(out, "Ready,SchedulingDisabled") {
		j.t.Errorf("a cordoned node: %s", out)
	}
	j.kubectl("drain", j.agent.NodeName, "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
	list, err := j.admin.CoreV1().Pods("default").List(j.t.Context(), metav1.ListOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.Spec.NodeName != "" {
			j.t.Errorf("%s is still on the node: %s", p.Name, describeStatus(p.Status))
		}
	}
	j.kubectl("uncordon", j.agent.NodeName)
	j.kubectl("rollout", "status", "deployment/managed", "--timeout=30s")
	j.kubectl("delete", "deployment", "managed", "--cascade=foreground", "--timeout=30s")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
}
