package testbed_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestCSIDriver_PassesTheSanitySuite(t *testing.T) {
	e := testbed.New(t)
	d := e.CSIDriver(testbed.CSIDriverConfig{})
	config := sanity.NewTestConfig()
	config.Address = d.Socket
	config.TargetPath, config.StagingPath = e.Path("sanity", "target"), e.Path("sanity", "staging")
	config.TestVolumeSize = 64 << 20
	sanity.Test(t, config)
}

func TestCSIDriver_FailsAsToldAndTellsItsCalls(t *testing.T) {
	e := testbed.New(t)
	d := e.CSIDriver(testbed.CSIDriverConfig{})
	d.Fail("CreateVolume delay 10ms")
	id := d.CreateVolume("pv", 32<<20)
	if d := cmp.Diff([]string{"Probe", "CreateVolume"}, d.Calls("")); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	info, err := os.Stat(filepath.Join(filepath.Dir(d.Socket), "volumes", id+".img"))
	if err != nil || info.Size() != 32<<20 {
		t.Errorf("the volume's file: %v %v", info, err)
	}
}

func TestCSIDriver_AnnouncesItselfToTheAgent(t *testing.T) {
	e := testbed.New(t)
	a := &testbed.Agent{NodeName: "n", RootDir: e.Path("agent", "root")}
	d := e.CSIDriver(testbed.CSIDriverConfig{Agent: a})
	sockets, err := filepath.Glob(filepath.Join(a.RootDir, "plugins_registry", "*.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("registration sockets: %v %v", sockets, err)
	}
	conn, err := grpc.NewClient("unix://"+sockets[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	info, err := registerapi.NewRegistrationClient(conn).GetInfo(ctx, &registerapi.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != d.Name || info.Endpoint != d.Socket || !strings.HasPrefix(d.Socket, a.RootDir) {
		t.Errorf("registration %v, want %s at %s", info, d.Name, d.Socket)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", info.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestCSIDriver_AnswersVolumeAttachments(t *testing.T) {
	e := testbed.New(t)
	cp := e.ControlPlane()
	d := e.CSIDriver(testbed.CSIDriverConfig{Attach: cp})
	cp.Apply(strings.NewReplacer("DRIVER", d.Name).Replace(attachment))
	testbed.Eventually(t, 10*time.Second, "the volume is attached", func() error {
		out, err := cp.Kubectl("get", "volumeattachment", "va", "-o", "jsonpath={.status.attached} {.status.attachmentMetadata}")
		if want := `true {"attached-node":"node"}`; err == nil && out != want {
			err = fmt.Errorf("%s, want %s", out, want)
		}
		return err
	})
}

const attachment = `
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: va}
spec:
  attacher: DRIVER
  nodeName: node
  source: {persistentVolumeName: pv}
`
