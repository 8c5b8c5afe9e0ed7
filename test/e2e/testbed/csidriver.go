package testbed

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// CSIDriverName is the driver's name unless CSIDriverConfig gives another.
const CSIDriverName = "loop.csi.minikubelet.dev"

// CSIDriverConfig says how to run test/csidriver.
type CSIDriverConfig struct {
	Name      string        // default CSIDriverName
	Agent     *Agent        // whose plugin directories to use; nil: do not register
	Attach    *ControlPlane // answer its VolumeAttachments, and refuse to stage without their metadata
	Stageless bool          // have no STAGE_UNSTAGE_VOLUME
	Flags     []string
}

// CSIDriver is a real CSI driver in a process of its own; its volumes are ext4 on loop devices. It must run in the
// directories of an agent, so make the agent first (AgentConfig.NotYet when the driver is to be there before it).
type CSIDriver struct {
	Name   string
	Socket string

	e        *Env
	cmd      func() *exec.Cmd
	failures string
	proc     *Process
}

// CSIDriver builds the driver, starts it, and waits until it answers on its socket, not until the agent knows it.
func (e *Env) CSIDriver(c CSIDriverConfig) *CSIDriver {
	e.t.Helper()
	if c.Name == "" {
		c.Name = CSIDriverName
	}
	d := &CSIDriver{e: e, Name: c.Name, Socket: e.Path("csi-"+c.Name, "csi.sock"), failures: e.Path("csi-"+c.Name, "failures")}
	node := "node"
	args := []string{"-name=" + c.Name, "-state-dir=" + e.Path("csi-"+c.Name, "volumes"), "-failures=" + d.failures}
	if c.Agent != nil {
		node = c.Agent.NodeName
		d.Socket = filepath.Join(c.Agent.RootDir, "plugins", c.Name, "csi.sock")
		args = append(args, "-registration-socket="+filepath.Join(c.Agent.RootDir, "plugins_registry", c.Name+"-reg.sock"))
	}
	if c.Attach != nil {
		args = append(args, "-attach-kubeconfig="+c.Attach.AdminKubeconfig)
	}
	if c.Stageless {
		args = append(args, "-stageless")
	}
	args = append(append(args, "-socket="+d.Socket, "-node-id="+node), c.Flags...)
	program := buildProgram(e.t, "./test/csidriver")
	d.cmd = func() *exec.Cmd { return exec.Command(program, args...) }
	d.Start()
	return d
}

// Start runs the driver and waits until it answers; after Kill it is a restart. The volumes' files are kept.
func (d *CSIDriver) Start() {
	d.e.t.Helper()
	d.proc = d.e.Start("csi-"+d.Name, d.cmd())
	conn := d.dial()
	defer conn.Close()
	Eventually(d.e.t, 10*time.Second, "the CSI driver answers", func() error {
		if !d.proc.Running() {
			d.e.t.Fatalf("the CSI driver ended:\n%s", tail(d.proc.Log, 20))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
		return err
	})
}

// Kill ends the driver with SIGKILL. What it mounted stays mounted.
func (d *CSIDriver) Kill() { d.proc.Kill() }

// Fail makes calls fail or wait from now on: lines like "NodeStageVolume Unavailable words" or "NodePublishVolume delay
// 2s". No lines end it.
func (d *CSIDriver) Fail(lines ...string) {
	d.e.t.Helper()
	rel := must[string](d.e.t, "find the failures file")(filepath.Rel(d.e.Dir, d.failures))
	d.e.WriteFile(strings.Join(lines, "\n"), rel)
}

// Calls are the methods called so far for a volume whose id contains id, in order; a call that failed is
// "NodeStageVolume:Unavailable".
func (d *CSIDriver) Calls(id string) []string {
	var calls []string
	for line := range strings.Lines(d.proc.Output()) {
		fields := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			if k, v, ok := strings.Cut(f, "="); ok {
				fields[k] = strings.Trim(v, `"`)
			}
		}
		if fields["msg"] != "call" || !strings.Contains(fields["volume"], id) {
			continue
		}
		call := fields["method"]
		if fields["code"] != "OK" {
			call += ":" + fields["code"]
		}
		calls = append(calls, call)
	}
	return calls
}

// CreateVolume provisions a volume of size bytes and returns its id: the volumeHandle of a PersistentVolume.
func (d *CSIDriver) CreateVolume(name string, size int64) string {
	d.e.t.Helper()
	conn := d.dial()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), longCall)
	defer cancel()
	resp, err := csi.NewControllerClient(conn).CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: size},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
	})
	if err == nil && resp.Volume == nil {
		err = errors.New("no volume in the answer")
	}
	if err != nil {
		d.e.t.Fatalf("cannot create volume %s: %v", name, err)
	}
	return resp.Volume.VolumeId
}

func (d *CSIDriver) dial() *grpc.ClientConn {
	d.e.t.Helper()
	return must[*grpc.ClientConn](d.e.t, "dial the CSI driver")(grpc.NewClient("unix://"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials())))
}
