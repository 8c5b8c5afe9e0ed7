package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/term"
	v1 "k8s.io/api/core/v1"
)

// node is the demo's own node: a containerd and an agent in one directory.
type node struct {
	repo, dir, bin string
	containerd     *process
	agent          *process
	bridgeWasThere bool     // another agent's: not to be used
	newDirs        []string // of the machine, which were not there before
}

func newNode(repo string) (*node, error) {
	repo, err := filepath.Abs(repo)
	if err != nil {
		return nil, err
	}
	// A unix socket's path has at most 107 bytes: the directory's name is short.
	dir, err := os.MkdirTemp("/tmp", "mkdemo-")
	if err != nil {
		return nil, fmt.Errorf("cannot make the demo's directory: %w", err)
	}
	n := &node{repo: repo, dir: dir, bin: filepath.Join(repo, "bin", "minikubelet")}
	_, err = netlink.LinkByName(bridge)
	n.bridgeWasThere = err == nil
	for _, d := range []string{"/var/log/containers", "/var/lib/cni/results", "/var/lib/cni"} {
		if _, err := os.Stat(d); errors.Is(err, os.ErrNotExist) {
			n.newDirs = append(n.newDirs, d)
		}
	}
	return n, nil
}

func (n *node) path(elem ...string) string { return filepath.Join(append([]string{n.dir}, elem...)...) }

func (n *node) socket() string { return n.path("api.sock") }

// command is a subcommand as a person would type it.
func (n *node) command(args ...string) string {
	s := "minikubelet"
	for _, a := range args {
		s += " " + a
	}
	return s + " --socket " + n.socket()
}

// cli runs a subcommand and returns what it printed.
func (n *node) cli(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, n.bin, append(args, "--socket", n.socket())...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

func (n *node) pods(ctx context.Context) ([]v1.Pod, error) {
	b, err := n.cli(ctx, "get", "pods", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list v1.PodList
	return list.Items, json.Unmarshal(b, &list)
}

// startContainerd writes a configuration that shares nothing with a containerd of the machine, and starts it.
func (n *node) startContainerd(ctx context.Context) error {
	program, err := exec.LookPath("containerd")
	if err != nil {
		return fmt.Errorf("%w: apt-get install containerd runc", err)
	}
	if err := n.linkPlugins(); err != nil {
		return err
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = %q
    bin_dir = %q
`, n.path("containerd"), n.path("run"), n.path("c.sock"), n.path("net.d"), n.path("cni"))
	if err := os.WriteFile(n.path("containerd.toml"), []byte(config), 0o600); err != nil {
		return err
	}
	n.containerd, err = start(n.path("containerd.log"), program, "--config", n.path("containerd.toml"))
	if err != nil {
		return err
	}
	say("A private containerd runs in %s.", n.dir)
	return n.containerd.until(ctx, "containerd answers", func() error { return dial(n.path("c.sock")) })
}

// linkPlugins gives the demo a plugin directory of its own: the agent installs itself there, and nowhere else.
func (n *node) linkPlugins() error {
	for _, d := range []string{"net.d", "cni", "manifests", "root/images", "logs"} {
		if err := os.MkdirAll(n.path(d), 0o750); err != nil {
			return err
		}
	}
	for _, from := range []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"} {
		names, err := filepath.Glob(filepath.Join(from, "*"))
		if err != nil {
			return err
		}
		for _, f := range names {
			if err := os.Symlink(f, n.path("cni", filepath.Base(f))); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	if _, err := os.Stat(n.path("cni", "bridge")); err != nil {
		return errors.New("no CNI plugins in /opt/cni/bin or /usr/lib/cni: apt-get install containernetworking-plugins")
	}
	if !n.bridgeWasThere {
		return nil
	}
	// Two agents on one bridge would hand out the same addresses.
	return os.WriteFile(n.path("net.d", "10-demo.conflist"), []byte(fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "demo", "plugins": [
  {"type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.87.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": %q}}]}`,
		secondBridge, n.path("ipam"))), 0o600)
}

// startAgent preloads the image, copies the examples and starts minikubelet on them.
func (n *node) startAgent(ctx context.Context) error {
	if err := n.packImage(ctx); err != nil {
		return err
	}
	healthz, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%s
staticPodPath: %s
podLogsDir: %s
cgroupDriver: cgroupfs
cgroupRoot: /minikubelet-demo
failSwapOn: false
port: %d
healthzPort: %d
---
apiVersion: minikubelet.dev/v1alpha1
kind: MinikubeletConfiguration
localAPI: {socket: %s}
network: {provider: auto, confDir: %s, binDir: %s}
`, n.path("c.sock"), n.path("manifests"), n.path("logs"), port, healthz, n.socket(), n.path("net.d"), n.path("cni"))
	if err := os.WriteFile(n.path("config.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	n.agent, err = start(n.path("agent.log"), n.bin, "--config", n.path("config.yaml"), "--root-dir", n.path("root"), "--hostname-override", "edge")
	if err != nil {
		return err
	}
	if err := n.agent.until(ctx, "minikubelet answers", func() error { return dial(n.socket()) }); err != nil {
		return err
	}
	return n.copyExamples()
}

func (n *node) copyExamples() error {
	files, err := filepath.Glob(filepath.Join(n.repo, "examples", "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.path("manifests", filepath.Base(f)), b, 0o600); err != nil {
			return err
		}
	}
	say("minikubelet runs on %d manifests of examples/. The pods, live: %s", len(files), n.command("get", "pods", "-w"))
	return nil
}

// watchPods shows the pods until all are ready or completed: on a terminal as a table that is redrawn in place.
func (n *node) watchPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	live := exec.CommandContext(ctx, n.bin, "get", "pods", "-w", "--socket", n.socket())
	live.Stdout, live.Stderr = os.Stdout, os.Stderr
	live.Cancel = func() error { return live.Process.Signal(os.Interrupt) }
	if err := live.Start(); err != nil {
		return err
	}
	err := poll(ctx, "the pods are ready", func() error {
		pods, err := n.pods(ctx)
		if err != nil {
			return err
		}
		return settled(pods)
	})
	cancel()
	if waitErr := live.Wait(); waitErr != nil && ctx.Err() == nil {
		return errors.Join(err, waitErr)
	}
	if err == nil && !term.IsTerminal(int(os.Stdout.Fd())) {
		var table []byte
		if table, err = n.cli(context.WithoutCancel(ctx), "get", "pods"); err == nil {
			fmt.Printf("\n$ minikubelet get pods\n%s", table)
		}
	}
	return err
}

// settled returns nil when the examples' pods are all where they are to stay.
func settled(pods []v1.Pod) error {
	const examples = 2
	if len(pods) < examples {
		return fmt.Errorf("%d pods so far", len(pods))
	}
	for _, p := range pods {
		if p.Status.Phase == v1.PodSucceeded {
			continue
		}
		if !ready(p) {
			return fmt.Errorf("pod %s is not ready", p.Name)
		}
	}
	return nil
}

func ready(p v1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// ask requests a page of the web pod at its own address and shows its log.
func (n *node) ask(ctx context.Context) error {
	pods, err := n.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Labels["app"] != "web" {
			continue
		}
		url := "http://" + net.JoinHostPort(p.Status.PodIP, "8080") + "/"
		fmt.Printf("\n$ curl %s\n", url)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("the web pod does not answer: %w", err)
		}
		if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
			return err
		}
		log, err := n.cli(ctx, "logs", p.Name)
		if err != nil {
			return err
		}
		fmt.Printf("\n$ minikubelet logs %s\n%s", p.Name, log)
		return resp.Body.Close()
	}
	return errors.New("there is no web pod")
}

// stopPods removes the manifests and waits until no pod is left, when there is an agent to do it.
func (n *node) stopPods(ctx context.Context) error {
	if n.agent == nil || dial(n.socket()) != nil {
		return nil
	}
	files, err := filepath.Glob(n.path("manifests", "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return poll(ctx, "the pods are gone", func() error {
		pods, err := n.pods(ctx)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods))
		}
		return err
	})
}
