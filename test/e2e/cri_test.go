package e2e

import (
	"testing"
	"time"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/cri/critest"
	"github.com/minikubelet/minikubelet/pkg/logs"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestCRI_HoldsContract runs the contract of pkg/cri on both generations of containerd: 2.4 tells container events, 1.6
// does not.
func TestCRI_HoldsContract(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2.4", "1.6"} {
		t.Run("containerd "+version, func(t *testing.T) {
			e := testbed.New(t)
			cd := e.Containerd(testbed.ContainerdConfig{Version: version})
			c, err := cri.New(cd.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			critest.Run(t, critest.Suite{
				Client: c, Image: testbed.BusyboxImage, Dir: e.Path("critest"), Cgroup: e.CgroupRoot(), Tail: logs.Tail, Network: true,
				Restart: func() { cd.Kill(); cd.Start() }, Within: 3 * time.Second,
			})
		})
	}
}
