package cri

import (
	"context"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// counting is a runtime that notes the seconds that it is given.
type counting struct {
	runtimeapi.RuntimeServiceClient
	seconds []int64
}

func (r *counting) StopContainer(ctx context.Context, q *runtimeapi.StopContainerRequest, _ ...grpc.CallOption) (*runtimeapi.StopContainerResponse, error) {
	r.seconds = append(r.seconds, q.Timeout)
	return nil, ctx.Err()
}

func (r *counting) ExecSync(ctx context.Context, q *runtimeapi.ExecSyncRequest, _ ...grpc.CallOption) (*runtimeapi.ExecSyncResponse, error) {
	r.seconds = append(r.seconds, q.Timeout)
	return &runtimeapi.ExecSyncResponse{}, ctx.Err()
}

func (r *counting) CheckpointContainer(ctx context.Context, q *runtimeapi.CheckpointContainerRequest, _ ...grpc.CallOption) (*runtimeapi.CheckpointContainerResponse, error) {
	r.seconds = append(r.seconds, q.Timeout)
	return nil, ctx.Err()
}

// What a runtime is given it multiplies again: no number of seconds may overflow there, nor the deadline of the call here.
func TestClient_GivesRuntimesSecondsThatDoNotOverflow(t *testing.T) {
	const most = int64(pod.Longest / time.Second)
	for d, want := range map[time.Duration]int64{
		-time.Hour: 0, 0: 0, 1: 1, time.Second: 1, 1500 * time.Millisecond: 2, math.MaxInt32 * time.Second: math.MaxInt32,
		pod.Longest - 1: most, pod.Longest: most, math.MaxInt64: most,
	} {
		r := &counting{}
		c := &Client{timeout: 2 * time.Minute, runtime: r}
		if err := c.StopContainer(t.Context(), "id", d); err != nil {
			t.Errorf("stop within %v: %v", d, err)
		}
		if _, err := c.ExecSync(t.Context(), "id", nil, d); err != nil {
			t.Errorf("a command of %v: %v", d, err)
		}
		if len(r.seconds) != 2 || r.seconds[0] != want || r.seconds[1] != want {
			t.Errorf("%v became %v s, want %d", d, r.seconds, want)
		}
	}
	for seconds, want := range map[int64]int64{0: 120, 300: 300, math.MaxInt64: most} {
		r := &counting{}
		c := &Client{timeout: 2 * time.Minute, runtime: r}
		if err := c.CheckpointContainer(t.Context(), "id", "/path", seconds); err != nil || r.seconds[0] != want {
			t.Errorf("a checkpoint within %d s was given %v s, %v, want %d", seconds, r.seconds, err, want)
		}
	}
}
