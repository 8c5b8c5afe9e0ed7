package setup

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minikubelet/minikubelet/deploy"
)

// Where things go, below the root.
const (
	unit       = "minikubelet.service"
	configPath = "/etc/minikubelet/config.yaml"
	binaryPath = "/usr/local/bin/minikubelet"
	unitPath   = "/etc/systemd/system/" + unit
	recordPath = "/etc/minikubelet/.installed.json"
)

// installation is what is set up.
type installation struct {
	Root    string    // "": this machine; else a directory that becomes one, as of an image or a package
	Program string    // the running program
	Out     io.Writer // what was done, a line each
	Force   bool      // replace what an earlier version wrote, too

	// Systemctl runs systemctl; nil where no systemd runs.
	Systemctl func(ctx context.Context, args ...string) error
}

// file is a file that the agent needs.
type file struct {
	path    string // as the machine will see it
	mode    fs.FileMode
	content func() (io.ReadCloser, error)
}

func text(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// directory is one that the agent needs, with its mode when it has to be made.
type directory struct {
	path string
	mode fs.FileMode
}

func directories() []directory {
	return []directory{
		{"/etc/minikubelet", 0o755}, {"/etc/kubernetes", 0o755}, {"/etc/kubernetes/manifests", 0o700},
		{"/var/lib/kubelet", 0o750}, {"/var/lib/kubelet/images", 0o750},
	}
}

// files are what install writes. A program that is where programs are is used there, else it is copied.
func (m *installation) files() ([]file, error) {
	program, err := filepath.EvalSymlinks(m.Program)
	if err != nil {
		return nil, fmt.Errorf("cannot find the running program: %w", err)
	}
	var all []file
	used := program
	if !slices.Contains([]string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}, filepath.Dir(program)) || m.Root != "" {
		all = append(all, file{binaryPath, 0o755, func() (io.ReadCloser, error) { return open(program) }})
		used = binaryPath
	}
	unit := strings.Replace(deploy.Unit, binaryPath, used, 1)
	return append(all, file{configPath, 0o600, text(deploy.Config)}, file{unitPath, 0o644, text(unit)}), nil
}

func (m *installation) say(format string, args ...any) {
	fmt.Fprintf(m.Out, format+"\n", args...)
}

// at is where a path of the machine is from here.
func (m *installation) at(path string) string { return filepath.Join(m.Root, path) }

// install makes the agent a service. With now it is started and begins with the machine from then on.
func (m *installation) install(ctx context.Context, now bool) error {
	files, err := m.files()
	if err != nil {
		return err
	}
	r, err := readRecord(m.at(recordPath))
	if err != nil {
		return err
	}
	for _, d := range directories() {
		made, err := makeDir(m.at(d.path), d.mode)
		if err != nil {
			return err
		}
		if made {
			r.made(d.path)
			m.say("made %s", d.path)
		}
	}
	wrote := false
	for _, f := range files {
		did, err := m.write(f, r)
		if err != nil {
			return err
		}
		wrote = wrote || did
		// After each file: what was written is known as ours also when the next one fails.
		if err := r.save(m.at(recordPath)); err != nil {
			return err
		}
	}
	return m.start(ctx, now, wrote)
}

// write writes a file unless one is there that it may not replace.
func (m *installation) write(f file, r *record) (wrote bool, err error) {
	is, err := sumOf(func() (io.ReadCloser, error) { return open(m.at(f.path)) })
	if err != nil {
		return false, err
	}
	want, err := sumOf(f.content)
	if err != nil {
		return false, err
	}
	switch {
	case is == want:
		m.say("%s is as it should be", f.path)
		return false, nil
	case is != "" && is != r.Files[f.path]:
		m.say("%s is yours and stays: what would be there now is other, move yours away to get it", f.path)
		return false, nil
	case is != "" && !m.Force:
		m.say("%s was written by another version and stays: --force replaces it", f.path)
		return false, nil
	}
	if err := replace(m.at(f.path), f.mode, f.content); err != nil {
		return false, err
	}
	r.Files[f.path] = want
	m.say("wrote %s", f.path)
	return true, nil
}

// start tells systemd.
func (m *installation) start(ctx context.Context, now, wrote bool) error {
	if m.Systemctl == nil {
		m.say("no systemd runs here: on the machine, systemctl enable --now minikubelet")
		return nil
	}
	if err := m.Systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if !now {
		m.say("next: look at %s, then systemctl enable --now minikubelet", configPath)
		return nil
	}
	verb := "start"
	if wrote {
		verb = "restart" // what runs may be the program that was replaced
	}
	m.say("starting it; when that takes long, systemctl status minikubelet says what it waits for")
	for _, args := range [][]string{{"enable", "--quiet", unit}, {verb, unit}} {
		if err := m.Systemctl(ctx, args...); err != nil {
			return fmt.Errorf("%w: see journalctl -u minikubelet", err)
		}
	}
	m.say("minikubelet runs: put manifests into /etc/kubernetes/manifests, and see minikubelet get pods")
	return nil
}
