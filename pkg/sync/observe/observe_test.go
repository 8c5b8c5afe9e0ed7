package observe

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
)

// answer gives every method an empty answer, but for the list of sandboxes, which has one.
func answer(_ context.Context, c *criproxy.Call) error {
	if c.Method != runtimeapi.RuntimeService_ListPodSandbox_FullMethodName {
		return c.Answer(nil)
	}
	b, err := proto.Marshal(&runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{{Id: "s"}}})
	return errors.Join(err, c.Answer(b))
}

func TestRuntime_TellsOnceOfAPodThatTheRuntimeIsUnclearAbout(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "cri.sock")
	proxy, err := criproxy.Start(socket, "", answer)
	if err != nil {
		t.Fatal(err)
	}
	client, err := cri.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), proxy.Stop()); err != nil {
			t.Error(err)
		}
	})
	var told []string
	o := &Observer{CRI: cri.NewObserver(client, nil, nil), Unclear: func(uid types.UID, err error) { told = append(told, string(uid)+": "+err.Error()) }}
	refuse := func(c codes.Code) criproxy.Hook {
		return func(ctx context.Context, call *criproxy.Call) error {
			if call.Method == runtimeapi.RuntimeService_PodSandboxStatus_FullMethodName {
				return status.Error(c, "no")
			}
			return answer(ctx, call)
		}
	}
	for _, h := range []criproxy.Hook{answer, answer, refuse(codes.Unavailable), refuse(codes.NotFound), refuse(codes.Internal), refuse(codes.Internal), answer} {
		proxy.Set(h)
		_, _, _ = o.Runtime(t.Context(), "u")
	}
	want := []string{
		"u: error determining status: cannot ask for pod sandbox s: the container runtime answered with no status",
		"u: error determining status: cannot ask for pod sandbox s: no",
		"u: error determining status: cannot ask for pod sandbox s: the container runtime answered with no status",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
