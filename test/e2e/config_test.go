package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	kubeletHeader = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
	// talker writes more than a log may hold, and then rests.
	talker = `
metadata: {name: talker}
spec:
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "i=0; while [ $i -lt 400 ]; do echo a line that makes the log longer than it may be; i=$((i+1)); done; exec sleep 3600"]
`
)

// configured is an agent that reads drop-ins.
type configured struct {
	*standalone
	dir  string
	args []string // the flags that `minikubelet config` needs to see the same
}

func (c *configured) drop(name, fields string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(kubeletHeader+fields), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// reload asks the agent to read its configuration again and waits for what it says then.
func (c *configured) reload(says string) string {
	c.t.Helper()
	before := len(c.Log())
	c.Process().Signal(syscall.SIGHUP)
	var said string
	testbed.Eventually(c.t, soon, "the agent says "+says, func() error {
		if said = c.Log()[before:]; !strings.Contains(said, says) {
			return errors.New("it said: " + said)
		}
		return nil
	})
	return said
}

// TestConfiguration runs one agent from a file, drop-ins and flags: what is in force is what is shown, has the effect that
// it names, and follows SIGHUP.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	c := &configured{standalone: newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{NotYet: true})}
	c.dir = filepath.Dir(c.env.Path("agent", "conf.d", "x"))
	c.drop("10-node.conf", "podsPerCore: 3\nmaxPods: 1000\noomScoreAdj: 100\nkubeReserved: {memory: 256Mi}\n")
	c.drop("20-api.conf", "enableDebuggingHandlers: false\ntlsMinVersion: VersionTLS13\nauthentication: {anonymous: {enabled: true}}\n")
	c.drop("ignored.yaml", "nonsense: true\n")
	c.Agent = c.env.Agent(testbed.AgentConfig{
		Containerd: c.cd, NotYet: true, Args: []string{"--config-dir=" + c.dir, "--event-qps=7"},
		Kubelet: map[string]any{"maxPods": 1, "eventRecordQPS": 9, "containerLogMonitorInterval": "3s"},
	})
	c.args = []string{"--config=" + filepath.Join(filepath.Dir(c.dir), "config.yaml"), "--config-dir=" + c.dir, "--event-qps=7", "--root-dir=" + c.RootDir}
	c.Start()
	c.WriteManifest("talker.yaml", pods(talker))
	c.ready("talker")

	t.Run("is shown with its origins", c.showsOrigins)
	t.Run("bounds the node", c.boundsTheNode)
	t.Run("guards the API", c.guardsTheAPI)
	t.Run("is not reloaded when it is broken", c.keepsWhatWorks)
	t.Run("is reloaded on SIGHUP", c.takesUpChanges)
}

func (c *configured) showsOrigins(t *testing.T) {
	out, err := exec.Command(testbed.AgentBinary(t), append([]string{"config"}, c.args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"maxPods: 1000 # " + c.dir + "/10-node.conf:4", "podsPerCore: 3 # " + c.dir + "/10-node.conf:3", "eventRecordQPS: 7 # --event-qps",
		"enableDebuggingHandlers: false # " + c.dir + "/20-api.conf:3", "registryPullQPS: 5 # default", "--root-dir=" + c.RootDir + "  # --root-dir",
		"socket: " + c.Socket + " # " + strings.TrimPrefix(c.args[0], "--config=") + ":",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing from\n%s", want, out)
		}
	}
}

func (c *configured) boundsTheNode(t *testing.T) {
	var n v1.NodeList
	if err := c.local("/api/v1/nodes", &n); err != nil || len(n.Items) != 1 {
		t.Fatal(err, len(n.Items))
	}
	cores := n.Items[0].Status.Capacity.Cpu().Value()
	if got := n.Items[0].Status.Capacity.Pods().Value(); got != 3*cores {
		t.Errorf("%d pods on %d cores, want 3 for each", got, cores)
	}
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", c.Process().Pid()))
	if d := cmp.Diff("100", strings.TrimSpace(string(score))); d != "" || err != nil {
		t.Error(d, err)
	}
	memory := n.Items[0].Status.Capacity.Memory().Value()
	text, err := os.ReadFile("/sys/fs/cgroup/memory" + c.env.CgroupRoot() + "/kubepods/memory.limit_in_bytes")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err != nil || got != (memory-256<<20)/4096*4096 {
		t.Errorf("all pods may use %d bytes (%v), want %d less 256 MiB", got, err, memory)
	}
}

func (c *configured) guardsTheAPI(t *testing.T) {
	get := func(path string, most uint16) (int, string, error) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: most}, //nolint:gosec // the agent signs its own
		}}
		r, err := client.Get(fmt.Sprintf("https://%s:%d%s", c.env.NodeIP(), c.Port, path))
		if err != nil {
			return 0, "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return r.StatusCode, string(b), err
	}
	if _, _, err := get("/healthz", tls.VersionTLS12); err == nil {
		t.Error("the API speaks TLS 1.2, which tlsMinVersion forbids")
	}
	if code, _, err := get("/pods", tls.VersionTLS13); err != nil || code != http.StatusOK {
		t.Errorf("/pods: %d, %v", code, err)
	}
	for _, path := range []string{"/exec/default/talker-" + c.NodeName + "/c?command=id&output=1", "/containerLogs/default/talker-" + c.NodeName + "/c", "/run/default/talker/c"} {
		if code, body, err := get(path, tls.VersionTLS13); err != nil || code != http.StatusMethodNotAllowed || !strings.Contains(body, "Debug endpoints are disabled") {
			t.Errorf("%s: %d %q, %v", path, code, body, err)
		}
	}
}

func (c *configured) keepsWhatWorks(t *testing.T) {
	on := &configured{standalone: c.on(t), dir: c.dir, args: c.args}
	on.drop("30-new.conf", "containerLogMaxSize: 4Ki\nimageGCLowThresholdPercent: 90\nmaxPod: 1\n")
	said := on.reload("nothing has changed")
	if !strings.Contains(said, `30-new.conf: document 1: line 5: maxPod: unknown field: did you mean \"maxPods\"?`) {
		t.Errorf("the reason is missing: %s", said)
	}
	on.ready("talker")
}

func (c *configured) takesUpChanges(t *testing.T) {
	on := &configured{standalone: c.on(t), dir: c.dir, args: c.args}
	if names := on.images(); !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, testbed.WebImage) }) {
		t.Fatalf("the test's own images are missing: %q", names)
	}
	on.drop("30-new.conf", "containerLogMaxSize: 4Ki\nimageGCHighThresholdPercent: 1\nimageGCLowThresholdPercent: 0\nimageMinimumGCAge: 1ns\nregistryPullQPS: 8\nlogging: {verbosity: 4}\n")
	said := on.reload("configuration reloaded")
	for _, want := range []string{
		"configuration changed", `field=containerLogMaxSize from="\"10Mi\"" to="\"4Ki\"" origin=` + c.dir + "/30-new.conf:3",
		"field=imageGCHighThresholdPercent from=100 to=1", "restart the agent for this field", "field=registryPullQPS from=5 to=8", "changed=5 waiting=1",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing from what it said: %s", want, said)
		}
	}
	testbed.Eventually(t, soon, "images that nothing uses are gone, the others are not", func() error {
		var web, busybox bool
		names := on.images()
		for _, n := range names {
			web = web || strings.HasPrefix(n, testbed.WebImage)
			busybox = busybox || strings.HasPrefix(n, testbed.BusyboxImage)
		}
		if web || !busybox {
			return fmt.Errorf("there are %q", names)
		}
		return nil
	})
	if names := on.images(); !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "pause") }) {
		t.Errorf("the sandboxes' image went: %q", names)
	}
	var z struct {
		Kubeletconfig struct {
			ContainerLogMaxSize string
			RegistryPullQPS     int
		}
	}
	if err := on.local("/configz", &z); err != nil || z.Kubeletconfig.ContainerLogMaxSize != "4Ki" || z.Kubeletconfig.RegistryPullQPS != 5 {
		t.Errorf("/configz tells %+v, %v; want the new size of logs and the old rate of pulls", z, err)
	}
	p := on.ready("talker")
	testbed.Eventually(t, soon, "the log is rotated at its new size", func() error {
		rotated, err := filepath.Glob(filepath.Join(c.PodLogs, "default_"+p.Name+"_*", "c", "0.log.*"))
		if err == nil && len(rotated) == 0 {
			err = errors.New("there is no rotated log")
		}
		return err
	})
	if restarts := container(on.ready("talker"), "c").RestartCount; restarts != 0 {
		t.Errorf("the container was restarted %d times", restarts)
	}
}

func (c *configured) images() []string {
	c.t.Helper()
	r, err := c.cd.Images().ListImages(c.t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, i := range r.Images {
		out = append(out, i.RepoTags...)
	}
	return out
}

// TestConfiguration_RefusedAtTheStart holds the agent and its config command to one clear line for each thing that is
// wrong, and to exit code 2.
func TestConfiguration_RefusedAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", kubeletHeader)
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o750); err != nil {
		t.Fatal(err)
	}
	write("d/a.conf", kubeletHeader+"nope: 1\n")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":            {[]string{"--config=" + dir + "/none"}, "none: no such file or directory"},
		"a directory":        {[]string{"--config=" + dir}, "is a directory: --config takes a file, --config-dir a directory"},
		"an empty file":      {[]string{"--config=" + write("empty.yaml", "")}, "empty.yaml: says nothing"},
		"a huge file":        {[]string{"--config=" + write("huge.yaml", kubeletHeader+strings.Repeat("# x\n", 1<<19))}, "huge.yaml is larger than 1 MiB"},
		"no text":            {[]string{"--config=" + write("binary.yaml", "\x00\x01\x02")}, "binary.yaml: document 1: "},
		"another kind":       {[]string{"--config=" + write("pod.yaml", "apiVersion: v1\nkind: Pod\n")}, `line 2: kind: must be KubeletConfiguration`},
		"an unknown field":   {[]string{"--config=" + write("field.yaml", kubeletHeader+"evictionHrd: {}\n")}, `line 3: evictionHrd: unknown field: did you mean "evictionHard"?`},
		"a wrong type":       {[]string{"--config=" + write("type.yaml", kubeletHeader+"maxPods: many\n")}, "line 3: maxPods: must be a number, but this is a string (many)"},
		"what has no effect": {[]string{"--config=" + write("swap.yaml", kubeletHeader+"memorySwap: {swapBehavior: LimitedSwap}\n")}, "line 3: memorySwap.swapBehavior: this agent supports only NoSwap"},
		"a broken drop-in":   {[]string{"--config=" + good, "--config-dir=" + dir + "/d"}, "d/a.conf: document 1: line 3: nope: unknown field"},
		"no drop-ins":        {[]string{"--config=" + good, "--config-dir=" + dir + "/e"}, "cannot list the drop-ins"},
		"an unknown flag":    {[]string{"--max-pod=3"}, "unknown flag: --max-pod"},
		"a flag's value":     {[]string{"--eviction-hard=memory.available"}, `write memory.available<100Mi`},
		"a gate":             {[]string{"--feature-gates=MemoryQoS=true"}, "--feature-gates: MemoryQoS: always false in this agent"},
	} {
		for _, command := range [][]string{nil, {"config"}} {
			t.Run(name+" "+strings.Join(command, ""), func(t *testing.T) {
				out, err := exec.Command(testbed.AgentBinary(t), slices.Concat(command, c.args)...).CombinedOutput()
				exit, ok := errors.AsType[*exec.ExitError](err)
				if !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), c.want) {
					t.Errorf("%v: %s\nwant exit status 2 and %q", err, out, c.want)
				}
			})
		}
	}
}
