package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

// ContainerdConfig says which containerd to run. The zero value is containerd 2.4 with runc 1.5 and the Env's bridge network.
type ContainerdConfig struct {
	Version   string    // "2.4" (default, with runc 1.5 and CNI plugins 1.9), or "1.6": Debian's, with its runc 1.1 and CNI plugins 1.1
	Crun      bool      // add Debian's crun as runtime handler "crun"; it runs neither under 2.4 nor on a hybrid of cgroup v1 and v2
	Runc      string    // another runc than the version's own: a program that wraps it
	NoNetwork bool      // write no CNI configuration: the agent provides a network, or the node has none
	NoImages  bool      // import no images
	Name      string    // of its directory and log; default "containerd"
	Mirror    *Registry // with 2.4: where it pulls from what images name registry.k8s.io
}

// Containerd is a private containerd: its root, state, sockets and CNI directories are its own.
type Containerd struct {
	Version string
	Socket  string // path; CRI endpoints are written unix://Socket
	Root    string
	State   string // holds the mounts of its network namespaces too, in State/netns or below
	ConfDir string // CNI configuration: 10-testbed.conflist unless NoNetwork
	BinDir  string // CNI plugins: symlinks, and what the agent installs
	IPAMDir string // host-local's files, one per address in use

	e       *Env
	name    string
	program string
	ctr     string
	config  string
	path    string // PATH of the daemon, where it looks for its shim and its OCI runtime
	proc    *Process
	conn    *grpc.ClientConn
}

// Containerd starts a containerd, imports the harness's images, and waits until its CRI service answers.
func (e *Env) Containerd(c ContainerdConfig) *Containerd {
	e.t.Helper()
	if c.Name == "" {
		c.Name = "containerd"
	}
	d := &Containerd{
		Version: c.Version, e: e, name: c.Name,
		Socket: e.Path(c.Name, "containerd.sock"), Root: e.Path(c.Name, "root"), State: e.Path(c.Name, "state"),
		ConfDir: e.Path(c.Name, "cni", "net.d"), BinDir: e.Path(c.Name, "cni", "bin"), IPAMDir: e.Path(c.Name, "cni", "ipam"),
	}
	runc, plugins := d.choosePrograms()
	if c.Runc != "" {
		runc = c.Runc
	}
	d.linkPlugins(plugins)
	if !c.NoNetwork {
		e.WriteFile(d.conflist(e.Bridge()), c.Name, "cni", "net.d", "10-testbed.conflist")
	}
	if c.Mirror != nil {
		e.WriteFile(fmt.Sprintf("[host.\"http://%s\"]\n", c.Mirror.Host), c.Name, "certs.d", "registry.k8s.io", "hosts.toml")
	}
	d.config = e.WriteFile(d.render(runc, c), c.Name, "config.toml")
	d.Start()
	if !c.NoImages {
		d.Import()
	}
	return d
}

func (d *Containerd) choosePrograms() (runc, plugins string) {
	t := d.e.t
	t.Helper()
	switch d.Version {
	case "", "2.4":
		d.Version = "2.4"
		buildTools(t, "containerd", "runc", "cni")
		d.program = Tool(t, "containerd")
		dir := filepath.Dir(d.program)
		d.ctr, d.path = filepath.Join(dir, "ctr"), dir+":"+os.Getenv("PATH")
		return Tool(t, "runc"), PluginsDir(t)
	case "1.6":
		d.program, d.ctr = debian(t, "/usr/bin/containerd"), debian(t, "/usr/bin/ctr")
		d.path = "/usr/bin:/usr/sbin:/bin:/sbin"
		return debian(t, "/usr/sbin/runc"), "/usr/lib/cni"
	}
	t.Fatalf("there is no containerd %q; choose 2.4 or 1.6", d.Version)
	return "", ""
}

func (d *Containerd) linkPlugins(from string) {
	t := d.e.t
	t.Helper()
	existing(t, filepath.Join(from, "bridge"), "run hack/build-tools")
	plugins, err := filepath.Glob(filepath.Join(from, "*"))
	for _, dir := range []string{d.BinDir, d.ConfDir, d.IPAMDir} {
		err = errors.Join(err, os.MkdirAll(dir, 0o755))
	}
	for _, p := range plugins {
		err = errors.Join(err, os.Symlink(p, filepath.Join(d.BinDir, filepath.Base(p))))
	}
	if err != nil {
		t.Fatalf("cannot lay out CNI directories: %v", err)
	}
}

// conflist is a CNI configuration list of the Env's bridge with host-local addresses and portmap, under a network name.
func (d *Containerd) conflist(network string) string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": %q,
  "plugins": [
    {"type": "bridge", "bridge": %q, "isGateway": true, "ipMasq": false, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, network, d.e.Bridge(), d.IPAMDir, d.e.PodCIDR())
}

// Start runs the daemon and waits until CRI answers. After Kill or Stop it is a restart: state and containers are kept.
func (d *Containerd) Start() {
	d.e.t.Helper()
	cmd := exec.Command(d.program, "--config", d.config)
	// NO_PROXY: a registry of a test is on loopback.
	cmd.Env = append(os.Environ(), "PATH="+d.path, "NO_PROXY=*", "no_proxy=*")
	d.proc = d.e.Start(d.name, cmd)
	Eventually(d.e.t, 20*time.Second, d.name+" answers", func() error {
		if !d.proc.Running() {
			d.e.t.Fatalf("%s ended:\n%s", d.name, tail(d.proc.Log, 20))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := d.Runtime().Version(ctx, &runtimeapi.VersionRequest{})
		if status.Code(err) == codes.Unimplemented { // it runs on without a CRI service that could not start, and logs why
			return fmt.Errorf("%w: %s", err, grep(d.proc.Log, "failed to load plugin"))
		}
		return err
	})
}

// Tasks holds a directory for each container that runs, named by its id: its OCI bundle.
func (d *Containerd) Tasks() string {
	return filepath.Join(d.State, "io.containerd.runtime.v2.task", "k8s.io")
}

// Kill ends the daemon with SIGKILL. Shims and containers go on.
func (d *Containerd) Kill() { d.proc.Kill() }

// Stop ends the daemon with SIGTERM. Shims and containers go on.
func (d *Containerd) Stop() {
	d.e.t.Helper()
	if err := d.proc.stop(10 * time.Second); err != nil && d.proc.cmd.ProcessState.ExitCode() > 0 {
		d.e.t.Fatalf("cannot stop %s: %v", d.name, err)
	}
}

// Process is the daemon.
func (d *Containerd) Process() *Process { return d.proc }

// Endpoint is the address of the CRI service as flags take it.
func (d *Containerd) Endpoint() string { return "unix://" + d.Socket }

func (d *Containerd) dial() *grpc.ClientConn {
	d.e.t.Helper()
	if d.conn == nil {
		conn, err := grpc.NewClient("unix://"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)), grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
		if err != nil {
			d.e.t.Fatalf("cannot dial %s: %v", d.Socket, err)
		}
		d.conn = conn
		d.e.t.Cleanup(func() { _ = conn.Close() })
	}
	return d.conn
}

// Runtime is a bare CRI client: what a test observes with, and the floor of the benchmarks.
func (d *Containerd) Runtime() runtimeapi.RuntimeServiceClient {
	d.e.t.Helper()
	return runtimeapi.NewRuntimeServiceClient(d.dial())
}

// Images is the CRI image service.
func (d *Containerd) Images() runtimeapi.ImageServiceClient {
	d.e.t.Helper()
	return runtimeapi.NewImageServiceClient(d.dial())
}

// Import loads the harness's images and more into the namespace of CRI, and waits until CRI knows them.
func (d *Containerd) Import(more ...ociarchive.Image) {
	d.e.t.Helper()
	d.ImportArchive(d.e.ImageArchive(more...))
	refs := []string{PauseImage, BusyboxImage, WebImage}
	for _, im := range more {
		refs = append(refs, im.Ref)
	}
	for _, ref := range refs {
		Eventually(d.e.t, 10*time.Second, "CRI knows image "+ref, func() error {
			resp, err := d.Images().ImageStatus(context.Background(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
			if err == nil && resp.Image == nil {
				err = errors.New("no such image")
			}
			return err
		})
	}
}

// ImportArchive loads an OCI archive into the namespace of CRI.
func (d *Containerd) ImportArchive(path string) {
	d.e.t.Helper()
	if _, err := d.Ctr("images", "import", path); err != nil {
		d.e.t.Fatalf("cannot import %s: %v", path, err)
	}
}

// Ctr runs ctr in the namespace of CRI.
func (d *Containerd) Ctr(args ...string) (string, error) {
	return runOut(d.ctr, append([]string{"--address", d.Socket, "--namespace", "k8s.io"}, args...)...)
}

func (d *Containerd) render(runc string, c ContainerdConfig) string {
	d.e.t.Helper()
	source := config24
	if d.Version == "1.6" {
		source = config16
	}
	runtimes := map[string]string{"runc": runc}
	if c.Crun {
		runtimes["crun"] = debian(d.e.t, "/usr/bin/crun")
	}
	var b bytes.Buffer
	err := template.Must(template.New("").Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(source)).Execute(&b, map[string]any{
		"D": d, "Pause": PauseImage, "Runtimes": runtimes, "Dir": filepath.Dir(d.Socket), "Mirror": c.Mirror != nil,
	})
	if err != nil {
		d.e.t.Fatalf("cannot write containerd's configuration: %v", err)
	}
	return strings.TrimSpace(b.String()) + "\n"
}
