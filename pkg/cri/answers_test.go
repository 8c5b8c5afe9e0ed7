package cri

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
)

// answering is a client of a runtime that gives each method one answer, an empty one where none is given.
func answering(t *testing.T, answers map[string]proto.Message) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "cri.sock")
	p, err := criproxy.Start(socket, "", func(_ context.Context, c *criproxy.Call) error {
		method := c.Method[strings.LastIndex(c.Method, "/")+1:]
		if answers[method] == nil {
			return c.Answer(nil)
		}
		b, err := proto.Marshal(answers[method])
		return errors.Join(err, c.Answer(b))
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), p.Stop()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// calls are all methods of a Client that ask the runtime, and whether an empty answer is one.
var calls = map[string]struct {
	call  func(ctx context.Context, c *Client) error
	legal bool
}{
	"Version":                   {call: func(ctx context.Context, c *Client) error { _, err := c.Version(ctx); return err }},
	"Status":                    {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.Status(ctx, true); return err }},
	"CgroupDriver":              {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.CgroupDriver(ctx); return err }},
	"SetPodCIDR":                {legal: true, call: func(ctx context.Context, c *Client) error { return c.SetPodCIDR(ctx, "10.0.0.0/24") }},
	"RunPodSandbox":             {call: func(ctx context.Context, c *Client) error { _, err := c.RunPodSandbox(ctx, nil, ""); return err }},
	"StopPodSandbox":            {legal: true, call: func(ctx context.Context, c *Client) error { return c.StopPodSandbox(ctx, "s") }},
	"RemovePodSandbox":          {legal: true, call: func(ctx context.Context, c *Client) error { return c.RemovePodSandbox(ctx, "s") }},
	"PodSandboxStatus":          {call: func(ctx context.Context, c *Client) error { _, err := c.PodSandboxStatus(ctx, "s"); return err }},
	"ListPodSandboxes":          {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ListPodSandboxes(ctx, "uid"); return err }},
	"UpdatePodSandboxResources": {legal: true, call: func(ctx context.Context, c *Client) error { return c.UpdatePodSandboxResources(ctx, "s", nil, nil) }},
	"CreateContainer": {call: func(ctx context.Context, c *Client) error {
		_, err := c.CreateContainer(ctx, "s", nil, nil)
		return err
	}},
	"StartContainer":           {legal: true, call: func(ctx context.Context, c *Client) error { return c.StartContainer(ctx, "c") }},
	"StopContainer":            {legal: true, call: func(ctx context.Context, c *Client) error { return c.StopContainer(ctx, "c", 0) }},
	"RemoveContainer":          {legal: true, call: func(ctx context.Context, c *Client) error { return c.RemoveContainer(ctx, "c") }},
	"ContainerStatus":          {call: func(ctx context.Context, c *Client) error { _, err := c.ContainerStatus(ctx, "c"); return err }},
	"ListContainers":           {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ListContainers(ctx, "uid"); return err }},
	"ListPodSandboxStats":      {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ListPodSandboxStats(ctx); return err }},
	"ListContainerStats":       {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ListContainerStats(ctx, ""); return err }},
	"UpdateContainerResources": {legal: true, call: func(ctx context.Context, c *Client) error { return c.UpdateContainerResources(ctx, "c", nil) }},
	"ReopenContainerLog":       {legal: true, call: func(ctx context.Context, c *Client) error { return c.ReopenContainerLog(ctx, "c") }},
	"ExecSync": {legal: true, call: func(ctx context.Context, c *Client) error {
		_, err := c.ExecSync(ctx, "c", nil, time.Second)
		return err
	}},
	"Exec":                {call: func(ctx context.Context, c *Client) error { _, err := c.Exec(ctx, "c", nil, Streams{}); return err }},
	"Attach":              {call: func(ctx context.Context, c *Client) error { _, err := c.Attach(ctx, "c", Streams{}); return err }},
	"PortForward":         {call: func(ctx context.Context, c *Client) error { _, err := c.PortForward(ctx, "s", nil); return err }},
	"CheckpointContainer": {legal: true, call: func(ctx context.Context, c *Client) error { return c.CheckpointContainer(ctx, "c", "/x", 1) }},
	"ImageStatus":         {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ImageStatus(ctx, "i"); return err }},
	"PullImage":           {call: func(ctx context.Context, c *Client) error { _, err := c.PullImage(ctx, "i", Auth{}, nil); return err }},
	"ListImages":          {legal: true, call: func(ctx context.Context, c *Client) error { _, err := c.ListImages(ctx); return err }},
	"RemoveImage":         {legal: true, call: func(ctx context.Context, c *Client) error { return c.RemoveImage(ctx, "i") }},
	"ImageFilesystems":    {legal: true, call: func(ctx context.Context, c *Client) error { _, _, err := c.ImageFilesystems(ctx); return err }},
}

func TestClient_FailsWhenAnAnswerLacksWhatCRIRequires(t *testing.T) {
	c := answering(t, nil)
	asks := reflect.TypeFor[context.Context]()
	for m := range reflect.TypeOf(c).Methods() {
		if m.Type.NumIn() > 1 && m.Type.In(1) == asks && calls[m.Name].call == nil {
			t.Errorf("method %s is not in the table", m.Name)
		}
	}
	for name, tt := range calls {
		err := tt.call(t.Context(), c)
		switch {
		case tt.legal && err != nil:
			t.Errorf("%s: an empty answer is %v", name, err)
		case !tt.legal && !errors.Is(err, errIncomplete):
			t.Errorf("%s: an empty answer is %v, want errIncomplete", name, err)
		case !tt.legal && !strings.Contains(err.Error(), ": the container runtime answered with "):
			t.Errorf("%s: the error does not say what the runtime did: %v", name, err)
		}
	}
}

func TestClient_FailsWhenAStatusLacksWhatItIsKnownBy(t *testing.T) {
	for name, answers := range map[string]map[string]proto.Message{
		"a status without an ID": {
			"PodSandboxStatus": &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}}},
			"ContainerStatus":  &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{Metadata: &runtimeapi.ContainerMetadata{Name: "n"}}},
		},
		"a status without metadata": {
			"PodSandboxStatus": &runtimeapi.PodSandboxStatusResponse{Status: &runtimeapi.PodSandboxStatus{Id: "s"}},
			"ContainerStatus":  &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{Id: "c"}},
		},
		"an image without an ID": {"ImageStatus": &runtimeapi.ImageStatusResponse{Image: &runtimeapi.Image{Size: 1}}},
	} {
		c := answering(t, answers)
		for method := range answers {
			if err := calls[method].call(t.Context(), c); !errors.Is(err, errIncomplete) || !strings.HasSuffix(err.Error(), "answered with "+name) {
				t.Errorf("%s with %s: %v", method, name, err)
			}
		}
	}
}

func TestClient_ListsOfAllPodsLeaveOutWhatHasNoID(t *testing.T) {
	c := answering(t, map[string]proto.Message{
		"ListPodSandbox": &runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{{}, {Id: "s"}}},
		"ListContainers": &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{{Id: "c"}, {}}},
		"ListImages":     &runtimeapi.ListImagesResponse{Images: []*runtimeapi.Image{{}, {Id: "i"}, {}}},
		"ListContainerStats": &runtimeapi.ListContainerStatsResponse{Stats: []*runtimeapi.ContainerStats{
			{}, {Attributes: &runtimeapi.ContainerAttributes{Id: "c"}}, {Attributes: &runtimeapi.ContainerAttributes{Id: "c", Metadata: &runtimeapi.ContainerMetadata{Name: "n"}}},
		}},
		"ListPodSandboxStats": &runtimeapi.ListPodSandboxStatsResponse{Stats: []*runtimeapi.PodSandboxStats{{}, {
			Attributes: &runtimeapi.PodSandboxAttributes{Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}},
			Linux:      &runtimeapi.LinuxPodSandboxStats{Containers: []*runtimeapi.ContainerStats{{}}},
		}}},
	})
	boxes, err1 := c.ListPodSandboxes(t.Context(), "")
	containers, err2 := c.ListContainers(t.Context(), "")
	images, err3 := c.ListImages(t.Context())
	usage, err4 := c.ListContainerStats(t.Context(), "")
	pods, err5 := c.ListPodSandboxStats(t.Context())
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	if len(boxes) != 1 || len(containers) != 1 || len(images) != 1 || len(usage) != 1 || len(pods) != 1 || len(pods[0].Linux.Containers) != 0 {
		t.Errorf("sandboxes %v, containers %v, images %v, usage %v, pods %v: want one each", boxes, containers, images, usage, pods)
	}
	// The list of one pod is that pod's truth.
	for _, method := range []string{"ListPodSandboxes", "ListContainers"} {
		if err := calls[method].call(t.Context(), c); !errors.Is(err, errIncomplete) {
			t.Errorf("%s of one pod: %v, want errIncomplete", method, err)
		}
	}
}

func TestObserve_FailsForAPodWithoutAStatus(t *testing.T) {
	c := answering(t, map[string]proto.Message{
		"ListPodSandbox": &runtimeapi.ListPodSandboxResponse{Items: []*runtimeapi.PodSandbox{{Id: "s", Labels: map[string]string{LabelPodUID: "u"}}}},
		"ListContainers": &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{{Id: "c", Labels: map[string]string{LabelPodUID: "u"}}}},
	})
	o := NewObserver(c, nil, nil)
	const want = "error determining status: cannot ask for pod sandbox s: the container runtime answered with no status"
	if _, _, err := o.Observe(t.Context(), "u"); !errors.Is(err, ErrPodStatus) || err.Error() != want {
		t.Errorf("Observe() of a pod whose sandbox has no status: %v, want %s", err, want)
	}
	if all, err := o.ObserveAll(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("ObserveAll() = %v, %v; want the pod", all, err)
	}
}

func TestUpdatePodSandboxResources_LeavesARuntimeAloneThatDoesNotWantToKnow(t *testing.T) {
	for refusal, fails := range map[error]bool{
		status.Error(codes.Unimplemented, "unknown method"):      false,
		status.Error(codes.Unknown, "not implemented yet"):       false,
		status.Error(codes.ResourceExhausted, "machine is full"): true,
	} {
		socket := filepath.Join(t.TempDir(), "cri.sock")
		p, err := criproxy.Start(socket, "", func(context.Context, *criproxy.Call) error { return refusal })
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(socket)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.UpdatePodSandboxResources(t.Context(), "s", nil, nil); (err != nil) != fails {
			t.Errorf("refused with %v: %v", refusal, err)
		}
		if err := errors.Join(c.Close(), p.Stop()); err != nil {
			t.Error(err)
		}
	}
}
