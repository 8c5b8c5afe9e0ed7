package cri

import (
	"context"
	"errors"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dropTask kills and deletes containerd's task of a container that CRI knows as ended. A StartContainer that is cut off,
// because its caller died or gave up, can leave one behind: its process waits to be started, CRI stops nothing that it
// takes for ended, and refuses to remove the container for as long as the task is there, which is until containerd is
// restarted. A runtime that is not containerd answers Unimplemented.
func (c *Client) dropTask(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io"), c.timeout)
	defer cancel()
	tasks := tasksapi.NewTasksClient(c.conn)
	_, killErr := tasks.Kill(ctx, &tasksapi.KillRequest{ContainerID: id, Signal: uint32(unix.SIGKILL), All: true})
	if killErr == nil {
		_, killErr = tasks.Wait(ctx, &tasksapi.WaitRequest{ContainerID: id})
	}
	_, err := tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
	if err == nil || status.Code(err) == codes.NotFound {
		return nil
	}
	return errors.Join(c.wrap("kill the task of container "+id, killErr), c.wrap("delete the task of container "+id, err))
}
