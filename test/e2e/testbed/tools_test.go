package testbed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTool_BuildsWhatIsMissingAndNothingElse(t *testing.T) {
	repo, tools := t.TempDir(), t.TempDir()
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(repo, "go.mod"), "module github.com/minikubelet/minikubelet\n")
	write(filepath.Join(repo, "hack", "build-tools"), "#!/bin/sh\nfor c; do echo >$MINIKUBELET_TOOLS/bin/$c; done\necho $* >>$MINIKUBELET_TOOLS/calls\n")
	write(filepath.Join(tools, "bin", "runc"), "")
	write(filepath.Join(tools, "cni", "bridge"), "")
	t.Chdir(repo)
	t.Setenv("MINIKUBELET_TOOLS", tools)

	buildTools(t, "containerd", "runc", "etcd")
	if got, want := Tool(t, "kubectl"), filepath.Join(tools, "bin", "kubectl"); got != want {
		t.Errorf("kubectl is at %s, want %s", got, want)
	}
	Tool(t, "etcd")
	if got, want := PluginsDir(t), filepath.Join(tools, "cni"); got != want {
		t.Errorf("the plugins are in %s, want %s", got, want)
	}
	calls, err := os.ReadFile(filepath.Join(tools, "calls"))
	if want := "containerd etcd\nkubectl\n"; err != nil || string(calls) != want {
		t.Errorf("built %q, %v; want %q", calls, err, want)
	}
}
