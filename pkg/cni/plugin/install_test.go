package plugin

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/cni"
)

const network = `{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}`

func newConfig(t *testing.T, p Provider) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{
		Provider: p,
		Settings: cni.Settings{
			Socket: filepath.Join(dir, "s"), Dir: filepath.Join(dir, "cni"),
			ConfDir: filepath.Join(dir, "net.d"), BinDirs: []string{filepath.Join(dir, "bin")},
		},
		Bridge: Bridge{Device: "mktestnone0", Subnet: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}},
		Log:    slog.New(slog.DiscardHandler),
	}
}

// binaryBeside makes sure that there is a plugin to install, also in a build without the embedded one.
func binaryBeside(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(self), cni.PluginType)
	if err := os.WriteFile(path, bytes.Repeat([]byte("plugin"), 20_000), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
}

// tree lists the files below a directory.
func tree(t *testing.T, c Config) []string {
	t.Helper()
	root := filepath.Dir(c.Settings.Dir)
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestInstall_ByProvider(t *testing.T) {
	installed := []string{"bin/minikubelet-cni", "net.d/00-minikubelet.conflist"}
	for name, tc := range map[string]struct {
		provider Provider
		conf     string // a network file that is there
		want     Provider
		files    []string
	}{
		"agent":                      {Agent, network, Agent, append(installed, "net.d/10-net.conflist")},
		"agent waits for a network":  {Agent, "", Agent, installed},
		"auto with a network":        {Auto, network, Agent, append(installed, "net.d/10-net.conflist")},
		"auto brings a bridge":       {Auto, "", Agent, append([]string{installed[0], "cni/network.conflist"}, installed[1])},
		"auto and a garbled network": {Auto, "{", Agent, append([]string{installed[0], "cni/network.conflist"}, installed[1], "net.d/10-net.conflist")},
		"runtime touches nothing":    {Runtime, network, Runtime, []string{"net.d/10-net.conflist"}},
	} {
		t.Run(name, func(t *testing.T) {
			binaryBeside(t)
			c := newConfig(t, tc.provider)
			if tc.conf != "" {
				write(t, filepath.Join(c.Settings.ConfDir, "10-net.conflist"), tc.conf)
			}
			got, err := Install(c)
			if err != nil || got != tc.want {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
			if diff := cmp.Diff(tc.files, tree(t, c)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := Install(newConfig(t, "kubenet")); err == nil || !strings.Contains(err.Error(), "kubenet") {
		t.Errorf("an unknown provider gave %v", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestInstall_AutoLeavesANodeAloneThatItCannotWriteTo(t *testing.T) {
	binaryBeside(t)
	c := newConfig(t, Auto)
	write(t, filepath.Join(c.Settings.ConfDir, "10-net.conflist"), network)
	write(t, filepath.Join(filepath.Dir(c.Settings.Dir), "bin"), "a file where the directory should be")
	if got, err := Install(c); got != Runtime || err != nil {
		t.Errorf("got %s, %v; want runtime", got, err)
	}
	c.Provider = Agent
	if _, err := Install(c); err == nil {
		t.Error("provider agent did not fail")
	}
}

func TestInstall_WritesOnlyWhatDiffers(t *testing.T) {
	binaryBeside(t)
	c := newConfig(t, Auto)
	inodes := func() (all []os.FileInfo) {
		for _, f := range []string{filepath.Join(c.Settings.BinDirs[0], cni.PluginType), filepath.Join(c.Settings.ConfDir, cni.ConflistName)} {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, info)
		}
		return all
	}
	install := func() {
		if _, err := Install(c); err != nil {
			t.Fatal(err)
		}
	}
	install()
	first := inodes()
	install()
	for i, info := range inodes() {
		if !os.SameFile(first[i], info) {
			t.Errorf("%s was written again", info.Name())
		}
	}
	bin := filepath.Join(c.Settings.BinDirs[0], cni.PluginType)
	good, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0), append([]byte{good[0] + 1}, good[1:]...), {}} {
		if err := os.WriteFile(bin, broken, 0o755); err != nil {
			t.Fatal(err)
		}
		install()
		if now, err := os.ReadFile(bin); err != nil || !bytes.Equal(now, good) {
			t.Errorf("a plugin of %d bytes was not replaced", len(broken))
		}
	}
}

func TestRemove_LeavesNothing(t *testing.T) {
	binaryBeside(t)
	c := newConfig(t, Auto)
	if _, err := Install(c); err != nil {
		t.Fatal(err)
	}
	attached := filepath.Join(c.Settings.Dir, "attachments")
	lock := filepath.Join(c.Settings.Dir, "lock")
	if err := errors.Join(os.MkdirAll(filepath.Join(attached, "x"), 0o700), os.WriteFile(lock, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(c.Settings, c.Bridge); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(attached); err != nil {
			continue // the second time
		}
		if _, err := os.Stat(lock); err != nil {
			t.Errorf("the lock is gone while something is attached: %v", err)
		}
		if err := os.Remove(filepath.Join(attached, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(c.Settings.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the agent's directory is left: %v", err)
	}
	if diff := cmp.Diff([]string(nil), tree(t, c)); diff != "" {
		t.Error(diff)
	}
}
