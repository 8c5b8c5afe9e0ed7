package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
)

// AgentConfig says how to run the agent. Only Containerd is needed.
type AgentConfig struct {
	Containerd   *Containerd
	Program      string         // a kubelet's, to run in its place in the same directories: it has no Socket and no CLI
	ControlPlane *ControlPlane  // join it; nil runs standalone
	NodeName     string         // default node-N
	Kubelet      map[string]any // fields of KubeletConfiguration, beside and over the harness's own
	Own          map[string]any // fields of MinikubeletConfiguration, beside and over the harness's own
	Args         []string       // more flags
	Environ      []string       // more environment, NAME=value
	NotYet       bool           // do not start it: the test calls Start
	Hook         criproxy.Hook  // put a proxy with this hook between it and containerd: Agent.Proxy
}

// Agent is the minikubelet binary as a subprocess. Its directories outlive it, so that it can be killed and started again.
type Agent struct {
	NodeName  string
	RootDir   string          // --root-dir
	Manifests string          // staticPodPath
	PodLogs   string          // podLogsDir
	Socket    string          // localAPI.socket
	Port      int             // HTTPS API
	Healthz   string          // URL
	Proxy     *criproxy.Proxy // nil without AgentConfig.Hook

	e       *Env
	cd      *Containerd
	program string
	args    []string
	environ []string
	proc    *Process
}

// AgentBinary is $MINIKUBELET_BIN, else bin/minikubelet of the repository, where `make build` puts it.
func AgentBinary(t T) string {
	t.Helper()
	path := os.Getenv("MINIKUBELET_BIN")
	if path == "" {
		path = filepath.Join(RepoRoot(t), "bin", "minikubelet")
	}
	return existing(t, path, "run make build")
}

// Agent writes the agent's configuration, starts it, and waits until it is healthy.
func (e *Env) Agent(c AgentConfig) *Agent {
	e.t.Helper()
	a := &Agent{
		e: e, cd: c.Containerd, NodeName: c.NodeName, environ: c.Environ, Port: e.Port(),
		RootDir: e.Path("agent", "root"), Manifests: e.Path("agent", "manifests"), PodLogs: e.Path("agent", "pods-log"), Socket: e.Path("agent", "api.sock"),
	}
	if a.NodeName == "" {
		a.NodeName = "node-" + strconv.Itoa(e.N)
	}
	if a.program = c.Program; c.Program != "" {
		e.makeCgroupRoot()
	} else {
		a.program = AgentBinary(e.t)
	}
	for _, dir := range []string{a.RootDir, a.Manifests, a.PodLogs} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			e.t.Fatalf("cannot make the agent's directories: %v", err)
		}
	}
	if c.Hook != nil {
		a.Proxy = e.proxy(c.Containerd.Socket, c.Hook)
	}
	a.args = []string{"--config=" + a.writeConfig(c), "--root-dir=" + a.RootDir, "--hostname-override=" + a.NodeName, "--node-ip=" + e.NodeIP()}
	if c.ControlPlane != nil {
		a.args = append(a.args, "--kubeconfig="+c.ControlPlane.NodeKubeconfig(a.NodeName))
	}
	if c.Program != "" {
		a.args = append(a.args, "--cert-dir="+e.Path("agent", "pki"))
	}
	a.args = append(a.args, c.Args...)
	if !c.NotYet {
		a.Start()
	}
	return a
}

// makeCgroupRoot makes the cgroup root in every hierarchy: a kubelet insists that it is there.
func (e *Env) makeCgroupRoot() {
	e.t.Helper()
	for _, file := range must[[]string](e.t, "find the cgroup hierarchies")(filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")) {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(file), e.CgroupRoot()), 0o755); err != nil {
			e.t.Fatalf("cannot make the cgroup root: %v", err)
		}
	}
}

// proxy runs between the agent and containerd until the test ends.
func (e *Env) proxy(runtime string, hook criproxy.Hook) *criproxy.Proxy {
	e.t.Helper()
	p, err := criproxy.Start(e.Path("agent", "cri.sock"), runtime, hook)
	if err != nil {
		e.t.Fatalf("cannot start a proxy of the runtime: %v", err)
	}
	e.t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			e.t.Logf("cannot stop the proxy of the runtime: %v", err)
		}
	})
	return p
}

func (a *Agent) writeConfig(c AgentConfig) string {
	a.e.t.Helper()
	healthz := a.e.Port()
	healthzIP := "127.0.0.1"
	if a.e.place != nil {
		healthzIP = a.e.NodeIP() // loopback is another in there
	}
	a.Healthz = fmt.Sprintf("http://%s:%d/healthz", healthzIP, healthz)
	runtime := a.cd.Endpoint()
	if a.Proxy != nil {
		runtime = "unix://" + a.e.Path("agent", "cri.sock")
	}
	x509 := map[string]any{}
	if c.ControlPlane != nil {
		x509["clientCAFile"] = c.ControlPlane.CA.CertFile
	}
	kubelet := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"staticPodPath": a.Manifests, "podLogsDir": a.PodLogs, "containerRuntimeEndpoint": runtime,
		"cgroupDriver": "cgroupfs", "cgroupRoot": a.e.CgroupRoot(), "failSwapOn": false,
		"imageGCHighThresholdPercent": 100, // on a full disk the harness's images would go
		"port":                        a.Port, "healthzPort": healthz, "healthzBindAddress": healthzIP,
		"authentication": map[string]any{"x509": x509, "webhook": map[string]any{"enabled": false}, "anonymous": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
	}
	own := map[string]any{
		"apiVersion": "minikubelet.dev/v1alpha1", "kind": "MinikubeletConfiguration",
		"localAPI": map[string]any{"socket": a.Socket},
		"network":  map[string]any{"provider": "agent", "confDir": a.cd.ConfDir, "binDir": a.cd.BinDir},
	}
	if c.Program != "" {
		kubelet["failCgroupV1"] = false
	}
	maps.Copy(kubelet, c.Kubelet)
	docs := []map[string]any{kubelet}
	if c.Program == "" {
		maps.Copy(own, c.Own)
		docs = append(docs, own)
	}
	var file []string
	for _, doc := range docs {
		file = append(file, string(must[[]byte](a.e.t, "write the agent's configuration")(yaml.Marshal(doc))))
	}
	return a.e.WriteFile(strings.Join(file, "---\n"), "agent", "config.yaml")
}

// AddArgs gives the agent more flags, from its next start on.
func (a *Agent) AddArgs(args ...string) { a.args = append(a.args, args...) }

// Configure sets a field of its MinikubeletConfiguration, for its next start.
func (a *Agent) Configure(field string, value any) {
	a.e.t.Helper()
	path := strings.TrimPrefix(a.args[0], "--config=")
	b, err := os.ReadFile(path)
	first, second, _ := strings.Cut(string(b), "---\n")
	own := map[string]any{}
	err = errors.Join(err, yaml.Unmarshal([]byte(second), &own))
	own[field] = value
	out, err2 := yaml.Marshal(own)
	if err := errors.Join(err, err2, os.WriteFile(path, []byte(first+"---\n"+string(out)), 0o600)); err != nil {
		a.e.t.Fatalf("cannot change the agent's configuration: %v", err)
	}
}

// Start runs the agent and waits until its healthz answers.
func (a *Agent) Start() {
	a.e.t.Helper()
	a.Launch()
	Eventually(a.e.t, 20*time.Second, "the agent is healthy", func() error {
		if !a.proc.Running() {
			a.e.t.Fatalf("the agent ended:\n%s", tail(a.proc.Log, 40))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := Get(ctx, a.Healthz)
		return err
	})
}

// Launch runs the agent and does not wait: for tests of its start. This life of it has more environment.
func (a *Agent) Launch(environ ...string) {
	a.e.t.Helper()
	cmd := exec.Command(a.program, a.args...)
	cmd.Env = slices.Concat(os.Environ(), a.environ, environ)
	a.proc = a.e.Start("agent", cmd)
}

// PowerOn starts the agent after Containerd.PowerOff, which takes the cgroup root away that a kubelet insists on.
func (a *Agent) PowerOn() {
	a.e.t.Helper()
	if !strings.HasSuffix(a.program, "minikubelet") {
		a.e.makeCgroupRoot()
	}
	a.Start()
}

// Process is the agent's process: its pid for /proc, Wait for its exit code.
func (a *Agent) Process() *Process { return a.proc }

// Kill ends the agent with SIGKILL. Its pods go on.
func (a *Agent) Kill() { a.proc.Kill() }

// Stop ends the agent with SIGTERM, which must take less than 10 seconds and give exit code 0. Its pods go on.
func (a *Agent) Stop() {
	a.e.t.Helper()
	if err := a.proc.stop(10 * time.Second); err != nil {
		a.e.t.Fatalf("cannot stop the agent: %v", err)
	}
}

// Restart is Kill and Start: a crash.
func (a *Agent) Restart() {
	a.e.t.Helper()
	a.Kill()
	a.Start()
}

// Log is all that the agent has logged, over its restarts.
func (a *Agent) Log() string { return a.proc.Output() }

// WriteManifest puts a file into the manifest directory, atomically: it appears under its name when it is whole.
func (a *Agent) WriteManifest(name, content string) {
	a.e.t.Helper()
	temp := a.e.WriteFile(content, "agent", "manifest.tmp")
	if err := os.Rename(temp, filepath.Join(a.Manifests, name)); err != nil {
		a.e.t.Fatalf("cannot write a manifest: %v", err)
	}
}

// RemoveManifest takes a file out of the manifest directory.
func (a *Agent) RemoveManifest(name string) {
	a.e.t.Helper()
	if err := os.Remove(filepath.Join(a.Manifests, name)); err != nil {
		a.e.t.Fatalf("cannot remove a manifest: %v", err)
	}
}

// CLI runs a subcommand of the binary against this agent: a.CLI("get", "pods", "-o", "json").
func (a *Agent) CLI(args ...string) (string, error) {
	return runOut(a.program, slices.Insert(args, 1, "--socket="+a.Socket)...)
}
