package sessions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/server"
)

// Sessions asks the runtime.
type Sessions struct {
	Runtime  *cri.Client
	Observer *cri.Observer
	Root     string // the agent's directory
	PodLogs  string // the directory of pods' logs
}

// API is what the servers call.
func (s Sessions) API() server.Runtime {
	streams := func(o server.Streams) cri.Streams { return cri.Streams(o) }
	return server.Runtime{
		Run: s.run, Running: s.running, Checkpoint: s.checkpoint,
		Exec: func(ctx context.Context, id string, cmd []string, o server.Streams) (string, error) {
			return s.Runtime.Exec(ctx, id, cmd, streams(o))
		},
		Attach: func(ctx context.Context, id string, o server.Streams) (string, error) {
			return s.Runtime.Attach(ctx, id, streams(o))
		},
		PortForward: func(ctx context.Context, uid string, ports []int32) (string, error) {
			boxes, _, err := s.Observer.Observe(ctx, uid)
			if err != nil {
				return "", err
			}
			if len(boxes) == 0 {
				return "", errors.New("the pod has no sandbox")
			}
			return s.Runtime.PortForward(ctx, boxes[0].ID, ports)
		},
	}
}

// run returns what a command wrote, its errors last. Its failure is told in the words of a kubelet.
func (s Sessions) run(ctx context.Context, id string, cmd []string) ([]byte, error) {
	r, err := s.Runtime.ExecSync(ctx, id, cmd, 0)
	if err == nil && r.ExitCode != 0 {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(cmd, " "), r.ExitCode, r.Stderr)
	}
	return append(r.Stdout, r.Stderr...), err
}

// running lists the pods whose sandbox is ready or that have a container that runs.
func (s Sessions) running(ctx context.Context) ([]v1.Pod, error) {
	boxes, err := s.Runtime.ListPodSandboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	containers, err := s.Runtime.ListContainers(ctx, "")
	if err != nil {
		return nil, err
	}
	var pods []v1.Pod
	at := map[string]int{} // by UID
	of := func(labels map[string]string) *v1.Pod {
		uid := labels[cri.LabelPodUID]
		if _, known := at[uid]; !known {
			at[uid] = len(pods)
			pods = append(pods, v1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: labels[cri.LabelPodName], Namespace: labels[cri.LabelPodNamespace], UID: types.UID(uid),
			}})
		}
		return &pods[at[uid]]
	}
	for _, b := range boxes {
		if b.State == runtimeapi.PodSandboxState_SANDBOX_READY && b.Labels[cri.LabelPodUID] != "" {
			of(b.Labels)
		}
	}
	for _, c := range containers {
		if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING && c.Labels[cri.LabelPodUID] != "" {
			p := of(c.Labels)
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: c.GetMetadata().GetName(), Image: c.GetImage().GetImage()})
		}
	}
	return pods, nil
}

// checkpoint has the runtime write a container's state below the root directory. The archive holds the container's memory,
// and with it its secrets: root alone may read the directory.
func (s Sessions) checkpoint(ctx context.Context, p *v1.Pod, container, id string, seconds int64) (string, error) {
	dir := filepath.Join(s.Root, "checkpoints")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the directory of checkpoints: %w", err)
	}
	name := fmt.Sprintf("checkpoint-%s_%s-%s-%s.tar", p.Name, p.Namespace, container, time.Now().Format(time.RFC3339))
	path := filepath.Join(dir, name)
	return path, s.Runtime.CheckpointContainer(ctx, id, path, seconds)
}
