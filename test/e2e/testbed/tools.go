package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ToolsDir is where hack/build-tools installs to: $MINIKUBELET_TOOLS, else the user's cache directory.
func ToolsDir() string {
	if dir := os.Getenv("MINIKUBELET_TOOLS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/root/.cache"
	}
	return filepath.Join(cache, "minikubelet", "tools")
}

// Tool is the path of a built component, which is built if it is missing.
func Tool(t T, name string) string {
	t.Helper()
	buildTools(t, name)
	return toolPath(name)
}

// PluginsDir is where the CNI reference plugins are. They are built if they are missing.
func PluginsDir(t T) string {
	t.Helper()
	buildTools(t, "cni")
	return filepath.Dir(toolPath("cni"))
}

// buildTools builds those of the components that are missing, together: that is quicker than one after the other. It shows
// how far it is, for the API server takes minutes.
func buildTools(t T, names ...string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := os.Stat(toolPath(name))
		return err == nil
	})
	if len(missing) == 0 {
		return
	}
	cmd := exec.Command(filepath.Join(RepoRoot(t), "hack", "build-tools"), missing...)
	cmd.Env = append(os.Environ(), "MINIKUBELET_TOOLS="+ToolsDir())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot test without %s: hack/build-tools: %v", strings.Join(missing, ", "), err)
	}
	for _, name := range missing {
		existing(t, toolPath(name), fmt.Sprintf("run rm %s/stamps/%s-*, then hack/build-tools %s", ToolsDir(), name, name))
	}
}

// toolPath is the program of a component; one of them, where there are several.
func toolPath(name string) string {
	if name == "cni" {
		return filepath.Join(ToolsDir(), "cni", "bridge")
	}
	return filepath.Join(ToolsDir(), "bin", name)
}

// debian is the path of a component that the distribution gives.
func debian(t T, path string) string {
	t.Helper()
	return existing(t, path, "run sudo hack/build-tools, which installs it")
}

func existing(t T, path, remedy string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("cannot test without a component: %v; %s", err, remedy)
	}
	return path
}

// RepoRoot is the directory of the module's go.mod above the working directory.
func RepoRoot(t T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if b, readErr := os.ReadFile(filepath.Join(dir, "go.mod")); readErr == nil && bytes.HasPrefix(b, []byte("module github.com/minikubelet/minikubelet\n")) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("cannot find the repository above the working directory: %v", err)
	return ""
}

// Run runs a program to its end and returns its standard output; an error carries its standard error.
func Run(ctx context.Context, stdin string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	return output(cmd, stdin)
}

func output(cmd *exec.Cmd, stdin string) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		words := errors.Join(err, errors.New(strings.TrimSpace(errOut.String())))
		return out.String(), fmt.Errorf("%s %s: %w", filepath.Base(cmd.Path), strings.Join(cmd.Args[1:], " "), words)
	}
	return out.String(), nil
}

// programs are those that this process has compiled, by package: the repository does not change under it.
var programs sync.Map

// buildProgram compiles a program of this repository, static, and returns its path in the tools' cache.
func buildProgram(t T, pkg string) string {
	t.Helper()
	root := RepoRoot(t)
	once, _ := programs.LoadOrStore(pkg, sync.OnceValues(func() (string, error) { return compile(root, pkg) }))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("cannot build %s: %v", pkg, err)
	}
	return path
}

// compile puts a program at its path whole: another test program may be running or reading it.
func compile(root, pkg string) (string, error) {
	dir := filepath.Join(ToolsDir(), "testbed")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	own, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(own)
	out, temp := filepath.Join(dir, filepath.Base(pkg)), filepath.Join(own, filepath.Base(pkg))
	goTool := "go"
	if _, err := exec.LookPath(goTool); err != nil {
		goTool = "/usr/local/go/bin/go"
	}
	cmd := exec.Command(goTool, "build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", temp, pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(cmd, ""); err != nil {
		return "", err
	}
	return out, os.Rename(temp, out)
}
