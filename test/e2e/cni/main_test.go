// Package cni_test holds the agent's CNI to real plugins, real network namespaces and real containerd.
package cni_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// agentEnv holds the settings under which this test binary is the agent's CNI server: a process that can be killed.
const agentEnv = "MINIKUBELET_E2E_CNI_AGENT"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "gate" {
		os.Exit(gate())
	}
	if s := os.Getenv(agentEnv); s != "" {
		os.Exit(agent([]byte(s)))
	}
	os.Exit(m.Run())
}

// agent serves until SIGTERM.
func agent(settings []byte) int {
	var s cni.Settings
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := json.Unmarshal(settings, &s)
	if err == nil {
		err = cni.New(cni.Config{Dir: s.Dir, ConfDir: s.ConfDir, BinDirs: s.BinDirs, Log: log}).Serve(ctx, s.Socket)
	}
	if err != nil {
		log.Error("agent ended", "err", err)
		return 1
	}
	return 0
}

// gate is a CNI plugin that holds an ADD until the file "open" exists in the directory of its configuration.
func gate() int {
	var conf struct {
		Dir        string          `json:"dir"`
		PrevResult json.RawMessage `json:"prevResult"`
	}
	in, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(in, &conf)
	}
	if err != nil {
		return 1
	}
	if os.Getenv("CNI_COMMAND") != "ADD" {
		return 0
	}
	if err := os.WriteFile(filepath.Join(conf.Dir, "reached"), nil, 0o600); err != nil {
		return 1
	}
	for {
		if _, err := os.Stat(filepath.Join(conf.Dir, "open")); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(conf.PrevResult) == 0 {
		conf.PrevResult = []byte(`{"cniVersion":"1.0.0"}`)
	}
	os.Stdout.Write(conf.PrevResult)
	return 0
}

// node is a node's CNI installation without a runtime: the tests are the runtime.
type node struct {
	t        testing.TB
	e        *testbed.Env
	settings cni.Settings
	conflist []byte // of the agent's plugin
	plugin   string
	gateDir  string
	agent    *testbed.Process
}

const (
	gateNone = iota
	gateBefore
	gateAfter
)

// newNode lays out a node whose network is bridge, host-local and portmap of a directory of plugins.
func newNode(t testing.TB, e *testbed.Env, plugins string, gates int) *node {
	t.Helper()
	n := &node{t: t, e: e, plugin: buildPlugin(t, e), gateDir: e.Path("gate", "reached")}
	n.gateDir = filepath.Dir(n.gateDir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, e.Path("bin", "gate")); err != nil {
		t.Fatal(err)
	}
	n.settings = cni.Settings{Socket: e.Path("cni.sock"), Dir: e.Path("cni", "x"), ConfDir: e.Path("net.d", "x"), BinDirs: []string{e.Path("bin"), plugins}}
	n.settings.Dir, n.settings.ConfDir = filepath.Dir(n.settings.Dir), filepath.Dir(n.settings.ConfDir)
	chain := []string{
		fmt.Sprintf(`{"type": "bridge", "bridge": %q, "isGateway": true, "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]]}}`,
			e.Bridge(), e.Path("ipam"), e.PodCIDR()),
		`{"type": "portmap", "capabilities": {"portMappings": true}}`,
	}
	g := fmt.Sprintf(`{"type": "gate", "dir": %q}`, n.gateDir)
	switch gates {
	case gateBefore:
		chain = append([]string{g}, chain...)
	case gateAfter:
		chain = append(chain, g)
	}
	e.WriteFile(`{"cniVersion": "1.0.0", "name": "e2e", "plugins": [`+strings.Join(chain, ",")+`]}`, "net.d", "10-e2e.conflist")
	if n.conflist, err = n.settings.Conflist(); err != nil {
		t.Fatal(err)
	}
	return n
}

// buildPlugin builds the real plugin.
func buildPlugin(t testing.TB, e *testbed.Env) string {
	t.Helper()
	path := e.Path("bin", cni.PluginType)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/minikubelet-cni")
	cmd.Dir = testbed.RepoRoot(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the plugin: %v\n%s", err, out)
	}
	return path
}

// startAgent runs the agent's CNI server in a process of its own.
func (n *node) startAgent() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	s, err := json.Marshal(n.settings)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), agentEnv+"="+string(s))
	n.agent = n.e.Start("agent", cmd)
	testbed.Eventually(n.t, 10*time.Second, "the agent listens", func() error {
		_, err := cni.Ask(context.Background(), n.settings.Socket, cni.Request{Command: "STATUS", Config: []byte("{}")})
		return err
	})
}

// local is the node's CNI in this process: it lists and releases.
func (n *node) local() *cni.Node {
	return cni.New(cni.Config{Dir: n.settings.Dir, ConfDir: n.settings.ConfDir, BinDirs: n.settings.BinDirs, Settle: time.Nanosecond})
}

// command is the plugin as a runtime starts it.
func (n *node) command(verb, id, netnsPath, runtimeConfig string) *exec.Cmd {
	var list struct {
		CNIVersion string
		Plugins    []map[string]json.RawMessage
	}
	if err := json.Unmarshal(n.conflist, &list); err != nil {
		n.t.Fatal(err)
	}
	conf := list.Plugins[0]
	conf["cniVersion"], conf["name"] = json.RawMessage(`"1.0.0"`), json.RawMessage(`"minikubelet"`)
	if runtimeConfig != "" {
		conf["runtimeConfig"] = json.RawMessage(runtimeConfig)
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(n.plugin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_NETNS="+netnsPath, "CNI_IFNAME=eth0",
		"CNI_PATH="+strings.Join(n.settings.BinDirs, ":"), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="+id)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd
}

// run runs the plugin and returns the address of its result, if any.
func (n *node) run(verb, id, netnsPath string) (netip.Addr, error) {
	cmd := n.command(verb, id, netnsPath, "")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return netip.Addr{}, fmt.Errorf("%s %s: %w: %s %s", verb, id, err, stdout.Bytes(), stderr.Bytes())
	}
	if verb != "ADD" {
		return netip.Addr{}, nil
	}
	return address(stdout.Bytes())
}

func address(result []byte) (netip.Addr, error) {
	res, err := types100.NewResult(result)
	if err != nil {
		return netip.Addr{}, err
	}
	r, err := types100.GetResult(res)
	if err != nil || len(r.IPs) != 1 {
		return netip.Addr{}, fmt.Errorf("result %s: want one address (%v)", result, err)
	}
	a, _ := netip.AddrFromSlice(r.IPs[0].Address.IP)
	return a.Unmap(), nil
}

// must fails the test when a plugin's run does.
func (n *node) must(verb, id, netnsPath string) netip.Addr {
	n.t.Helper()
	a, err := n.run(verb, id, netnsPath)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

func (n *node) netns(name string) string { return netnsAt(n.t, n.e, name) }

// netnsAt makes a network namespace and returns its path, below the Env's directory: its end removes it.
func netnsAt(t testing.TB, e *testbed.Env, name string) string {
	t.Helper()
	path := e.WriteFile("", "netns", name)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- errors.Join(unix.Unshare(unix.CLONE_NEWNET), unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
	}()
	if err := <-done; err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
	return path
}

// inside returns the addresses of eth0 in a namespace.
func (n *node) inside(netnsPath string) []string {
	n.t.Helper()
	h, err := netns.GetFromPath(netnsPath)
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Close()
	nl, err := netlink.NewHandleAt(h)
	if err != nil {
		n.t.Fatal(err)
	}
	defer nl.Close()
	link, err := nl.LinkByName("eth0")
	if err != nil {
		return nil
	}
	addrs, err := nl.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		n.t.Fatal(err)
	}
	var all []string
	for _, a := range addrs {
		all = append(all, a.IP.String())
	}
	return all
}

// taken lists the addresses that host-local has handed out.
func taken(t testing.TB, ipam string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(ipam, "*", "10.*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, filepath.Base(f))
	}
	return all
}

// ports lists the interfaces on the bridge.
func ports(t testing.TB, bridge string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/sys/class/net", bridge, "brif"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// nothingLeft fails the test when an attachment has left anything.
func (n *node) nothingLeft() {
	n.t.Helper()
	all, err := n.local().List()
	if err != nil || len(all) > 0 {
		n.t.Errorf("the journal has %v (%v)", all, err)
	}
	if got := taken(n.t, n.e.Path("ipam")); len(got) > 0 {
		n.t.Errorf("addresses are still taken: %v", got)
	}
	if got := ports(n.t, n.e.Bridge()); len(got) > 0 {
		n.t.Errorf("the bridge still has %v", got)
	}
	for _, dir := range []string{"locks", "results"} {
		if files, _ := os.ReadDir(filepath.Join(n.settings.Dir, dir)); len(files) > 0 {
			n.t.Errorf("%s still has %v", dir, files)
		}
	}
}
