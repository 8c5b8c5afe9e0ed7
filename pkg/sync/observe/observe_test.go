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
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// answer gives every method an empty answer, but for the list of sandboxes, which has one.
func answer(_ context.Context, c *criproxy.Call) error {
	if c.Method != runtimeapi.RuntimeService_ListPodSandbox_FullMethodName {
		return c.Answer(nil)
	}
	b, err := proto.Marshal(&runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{{Id: "s"}}})
	return errors.Join(err, c.Answer(b))
}

func TestRuntime_NamesTheClassOfAPodThatTheRuntimeIsUnclearAbout(t *testing.T) {
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
	o := &Observer{CRI: cri.NewObserver(client, nil, nil)}
	refuse := func(c codes.Code) criproxy.Hook {
		return func(ctx context.Context, call *criproxy.Call) error {
			if call.Method == runtimeapi.RuntimeService_PodSandboxStatus_FullMethodName {
				return status.Error(c, "no")
			}
			return answer(ctx, call)
		}
	}
	for _, h := range []criproxy.Hook{answer, refuse(codes.Unavailable), refuse(codes.NotFound), refuse(codes.Internal)} {
		proxy.Set(h)
		_, _, err := o.Runtime(t.Context(), "u")
		if e, ok := errors.AsType[*pod.Error](err); ok && e.Class == pod.Unclear {
			told = append(told, err.Error())
		}
	}
	want := []string{
		"error determining status: cannot ask for pod sandbox s: the container runtime answered with no status",
		"error determining status: cannot ask for pod sandbox s: no",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
