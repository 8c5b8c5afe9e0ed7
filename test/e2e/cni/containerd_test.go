package cni_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/cni/plugin"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// install makes this process the CNI of a containerd, as the agent does, until the test ends.
func install(t *testing.T, e *testbed.Env, cd *testbed.Containerd, p plugin.Provider) (*cni.Node, plugin.Config) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	built := buildPlugin(t, e)
	beside := filepath.Join(filepath.Dir(self), cni.PluginType)
	if err := os.Rename(built, beside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(beside) })
	status, err := cd.Runtime().Status(t.Context(), &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	confDir, binDirs := plugin.Dirs(status.Info, "", "")
	if confDir != cd.ConfDir || binDirs[0] != cd.BinDir {
		t.Fatalf("the runtime's directories are %s and %s, it says %s and %v", cd.ConfDir, cd.BinDir, confDir, binDirs)
	}
	c := plugin.Config{
		Provider: p,
		Settings: cni.Settings{Socket: e.Path("cni.sock"), Dir: filepath.Dir(e.Path("agent", "x")), ConfDir: confDir, BinDirs: binDirs},
		Bridge:   plugin.Bridge{Device: e.Bridge(), Subnet: []netip.Prefix{netip.MustParsePrefix(e.PodCIDR())}},
		Log:      slog.New(slog.DiscardHandler),
	}
	log := &strings.Builder{}
	node := cni.New(cni.Config{
		Dir: c.Settings.Dir, ConfDir: c.Settings.ConfDir, BinDirs: c.Settings.BinDirs, Settle: time.Nanosecond,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := node.Serve(ctx, c.Settings.Socket); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	if _, err := plugin.Install(c); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 10*time.Second, "the runtime's network is ready", func() error {
		return errors.Join(node.Status(), networkReady(ctx, cd))
	})
	return node, c
}

// networkReady also asks whether the runtime has the agent's network loaded: it had another one before.
func networkReady(ctx context.Context, cd *testbed.Containerd) error {
	s, err := cd.Runtime().Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return err
	}
	for _, c := range s.Status.Conditions {
		if c.Type == runtimeapi.NetworkReady && !c.Status {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	if !strings.Contains(fmt.Sprint(s.Info), cni.PluginType) {
		return errors.New("the runtime has not loaded " + cni.ConflistName)
	}
	return nil
}

// sandbox runs a sandbox with the web image in it, and returns its ID and addresses.
func sandbox(t *testing.T, e *testbed.Env, cd *testbed.Containerd, name string, hostPort int32) (id, ip string) {
	t.Helper()
	ctx, rt := t.Context(), cd.Runtime()
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name},
		Hostname:     name,
		LogDirectory: e.Path("pods", name),
		PortMappings: []*runtimeapi.PortMapping{{HostPort: hostPort, ContainerPort: 8080}},
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: e.CgroupRoot() + "/" + name},
	}
	run, err := rt.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	c, err := rt.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: run.PodSandboxId, SandboxConfig: config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "web"}, Image: &runtimeapi.ImageSpec{Image: testbed.WebImage}, LogPath: "web.log", Linux: &runtimeapi.LinuxContainerConfig{},
	}})
	if err == nil {
		_, err = rt.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: c.ContainerId})
	}
	if err != nil {
		t.Fatal(err)
	}
	status, err := rt.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: run.PodSandboxId})
	if err != nil {
		t.Fatal(err)
	}
	return run.PodSandboxId, status.Status.Network.Ip
}

func TestContainerd_SandboxesAttachThroughTheAgent(t *testing.T) {
	for _, version := range []string{"2.4", "1.6"} {
		for name, noNetwork := range map[string]bool{"a network": false, "no network": true} {
			t.Run("containerd "+version+" with "+name, func(t *testing.T) {
				e := testbed.New(t)
				cd := e.Containerd(testbed.ContainerdConfig{Version: version, NoNetwork: noNetwork})
				node, c := install(t, e, cd, plugin.Auto)
				ipam := cd.IPAMDir
				if noNetwork {
					ipam = filepath.Join(c.Settings.Dir, "ipam")
				}
				port := e.Port()
				id, ip := sandbox(t, e, cd, "web", int32(port))
				all, err := node.List()
				if err != nil || len(all) != 1 || all[0].ContainerID != id || all[0].Pod.UID != "uid-web" || all[0].Pod.Name != "web" {
					t.Errorf("journal %+v, %v", all, err)
				}
				if !netip.MustParsePrefix(e.PodCIDR()).Contains(netip.MustParseAddr(ip)) {
					t.Errorf("address %s is not of %s", ip, e.PodCIDR())
				}
				for _, url := range []string{"http://" + ip + ":8080/", fmt.Sprintf("http://%s:%d/", e.NodeIP(), port)} {
					testbed.Eventually(t, 10*time.Second, url+" answers", func() error {
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						_, err := testbed.Get(ctx, url)
						return err
					})
				}
				stop(t, cd, id)
				if got := append(taken(t, ipam), ports(t, e.Bridge())...); len(got) > 0 {
					t.Errorf("left: %v", got)
				}
				if err := plugin.Remove(c.Settings, c.Bridge); err != nil {
					t.Error(err)
				}
				gone := []string{filepath.Join(cd.ConfDir, cni.ConflistName), filepath.Join(cd.BinDir, cni.PluginType), c.Settings.Dir}
				if noNetwork {
					gone = append(gone, "/sys/class/net/"+e.Bridge())
				}
				for _, f := range gone {
					if _, err := os.Stat(f); err == nil {
						t.Errorf("%s is still there", f)
					}
				}
			})
		}
	}
}

func stop(t *testing.T, cd *testbed.Containerd, id string) {
	t.Helper()
	_, err := cd.Runtime().StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: id})
	if err == nil {
		_, err = cd.Runtime().RemovePodSandbox(t.Context(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestContainerd_SandboxIsStoppedThoughTheAgentIsGoneAndTheNetworkChanged(t *testing.T) {
	e := testbed.New(t)
	cd := e.Containerd(testbed.ContainerdConfig{})
	node, c := install(t, e, cd, plugin.Agent)
	id, _ := sandbox(t, e, cd, "web", 0)
	if err := os.Remove(filepath.Join(cd.ConfDir, "10-testbed.conflist")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.Settings.Socket, c.Settings.Socket+".away"); err != nil { // as after a kill: nothing listens there
		t.Fatal(err)
	}
	stop(t, cd, id)
	all, err := node.List()
	if got := append(taken(t, cd.IPAMDir), ports(t, e.Bridge())...); len(got) > 0 || len(all) > 0 || err != nil {
		t.Errorf("left: %v, journal %v (%v)", got, all, err)
	}
}

func TestContainerd_LeaksOfALostSandboxAreReleased(t *testing.T) {
	e := testbed.New(t)
	cd := e.Containerd(testbed.ContainerdConfig{})
	node, _ := install(t, e, cd, plugin.Agent)
	kept, keptIP := sandbox(t, e, cd, "kept", 0)
	// A sandbox that only the journal knows: its runtime lost it.
	lost := "lost-sandbox"
	resp := node.Do(t.Context(), cni.Request{
		Command: "ADD", ContainerID: lost, NetNS: netnsAt(t, e, "lost"), IfName: "eth0", Config: []byte(`{"cniVersion":"1.0.0"}`),
	})
	if resp.Error != nil {
		t.Fatal(resp.Error)
	}
	if got := taken(t, cd.IPAMDir); len(got) != 2 {
		t.Fatalf("taken: %v, want two addresses", got)
	}
	list, err := cd.Runtime().ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	left, err := node.Release(t.Context(), func(id string) bool {
		for _, s := range list.Items {
			if s.Id == id {
				return true
			}
		}
		return false
	})
	if left != 0 || err != nil {
		t.Errorf("left %d, %v", left, err)
	}
	if got := taken(t, cd.IPAMDir); len(got) != 1 || got[0] != keptIP {
		t.Errorf("taken: %v, want that of the sandbox that is kept, %s", got, keptIP)
	}
	stop(t, cd, kept)
}
