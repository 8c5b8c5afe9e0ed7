package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/deploy"
)

// machine is a directory that stands for one.
type machine struct {
	*installation
	t   *testing.T
	out strings.Builder
	ran []string // of systemctl
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("v1"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.installation = &installation{Root: t.TempDir(), Program: program, Out: &m.out, Systemctl: func(_ context.Context, args ...string) error {
		m.ran = append(m.ran, strings.Join(args, " "))
		return nil
	}}
	return m
}

func (m *machine) does(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.at(path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func (m *machine) put(path, content string) {
	m.t.Helper()
	m.does(os.MkdirAll(filepath.Dir(m.at(path)), 0o755))
	m.does(os.WriteFile(m.at(path), []byte(content), 0o600))
}

// files lists what is below the root.
func (m *machine) files() []string {
	m.t.Helper()
	var all []string
	m.does(filepath.WalkDir(m.Root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(path, m.Root))
		}
		return err
	}))
	return all
}

// said is what was told since the last time.
func (m *machine) said() string {
	defer m.out.Reset()
	return m.out.String()
}

func TestInstall_AndUninstallLeaveNothing(t *testing.T) {
	m := newMachine(t)
	m.does(m.install(t.Context(), true))
	want := []string{recordPath, configPath, unitPath, binaryPath}
	got := m.files()
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("files: %s", d)
	}
	if m.read(binaryPath) != "v1" || m.read(configPath) != deploy.Config || m.read(unitPath) != deploy.Unit {
		t.Error("a file has another content")
	}
	for path, mode := range map[string]os.FileMode{binaryPath: 0o755, configPath: 0o600, unitPath: 0o644, "/etc/kubernetes/manifests": 0o700 | os.ModeDir} {
		if i, err := os.Stat(m.at(path)); err != nil || i.Mode() != mode {
			t.Errorf("%s: %v, %v, want mode %v", path, i.Mode(), err, mode)
		}
	}
	if d := cmp.Diff([]string{"daemon-reload", "enable --quiet minikubelet.service", "restart minikubelet.service"}, m.ran); d != "" {
		t.Error(d)
	}
	m.ran = nil
	m.said()
	m.does(m.install(t.Context(), true))
	if said := m.said(); strings.Contains(said, "wrote") || strings.Count(said, "is as it should be") != 3 || !slices.Contains(m.ran, "start minikubelet.service") {
		t.Errorf("the second time: %q, %q", said, m.ran)
	}
	m.does(m.uninstall(t.Context(), nil))
	if got := m.files(); len(got) > 0 {
		t.Errorf("left: %q\n%s", got, m.said())
	}
	if _, err := os.Stat(m.at("/etc/kubernetes")); err == nil {
		t.Error("a directory is left that install made")
	}
	m.said()
	m.does(m.uninstall(t.Context(), nil))
	if said := m.said(); !strings.Contains(said, "nothing is installed") {
		t.Errorf("the second time: %q", said)
	}
}

func TestInstall_NeverReplacesWhatAPersonWrote(t *testing.T) {
	m := newMachine(t)
	m.Force = true
	m.put(configPath, "mine: true\n")
	m.put("/etc/kubernetes/manifests/web.yaml", "kind: Pod\n")
	m.does(m.install(t.Context(), false))
	if said := m.said(); !strings.Contains(said, configPath+" is yours and stays") || m.read(configPath) != "mine: true\n" {
		t.Errorf("a configuration of a person's: %q", said)
	}
	m.put(unitPath, deploy.Unit+"# changed\n")
	m.does(m.install(t.Context(), false))
	if said := m.said(); !strings.Contains(said, unitPath+" is yours and stays") {
		t.Errorf("a unit that was changed: %q", said)
	}
	m.does(m.uninstall(t.Context(), nil))
	got := m.files()
	slices.Sort(got)
	if d := cmp.Diff([]string{"/etc/kubernetes/manifests/web.yaml", configPath, unitPath}, got); d != "" {
		t.Errorf("what stays: %s\n%s", d, m.said())
	}
}

func TestInstall_ReplacesAnEarlierVersionWhenForced(t *testing.T) {
	m := newMachine(t)
	m.does(m.install(t.Context(), false))
	m.does(os.WriteFile(m.Program, []byte("v2"), 0o600))
	m.said()
	m.does(m.install(t.Context(), false))
	if said := m.said(); !strings.Contains(said, binaryPath+" was written by another version and stays: --force") || m.read(binaryPath) != "v1" {
		t.Errorf("without --force: %q", said)
	}
	m.Force = true
	m.does(m.install(t.Context(), false))
	if m.read(binaryPath) != "v2" {
		t.Errorf("with --force: %q", m.said())
	}
	m.does(m.uninstall(t.Context(), nil))
	if got := m.files(); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func TestUninstall_RemovesNothingWhenThePurgeFails(t *testing.T) {
	m := newMachine(t)
	m.does(m.install(t.Context(), true))
	before := m.files()
	err := m.uninstall(t.Context(), func(context.Context) error { return errors.New("a pod hangs") })
	if err == nil || !strings.Contains(err.Error(), "a pod hangs: nothing was uninstalled yet") {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(before, m.files()); d != "" {
		t.Error(d)
	}
	m.put(recordPath, "{")
	if err := m.install(t.Context(), false); err == nil || !strings.Contains(err.Error(), "remove that file") {
		t.Errorf("a garbled record: %v", err)
	}
}
