package criproxy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Empty answers a method with an empty message where match, which may be nil, says so of the request.
func Empty(method string, match func(request []byte) bool) Hook {
	return func(ctx context.Context, c *Call) error {
		if c.Method != method || match != nil && !match(c.Request) {
			return c.Forward(ctx)
		}
		return c.Answer(nil)
	}
}

// EndStreams ends the streams of container events with an error after they were open for a while, in which they tell what
// the runtime tells. A nil error ends them as a server does that has said everything.
func EndStreams(after time.Duration, with error) Hook {
	return func(ctx context.Context, c *Call) error {
		if c.Method != runtimeapi.RuntimeService_GetContainerEvents_FullMethodName {
			return c.Forward(ctx)
		}
		if after <= 0 {
			return with
		}
		short, cancel := context.WithTimeout(ctx, after)
		defer cancel()
		if err := c.Forward(short); short.Err() == nil || ctx.Err() != nil {
			return err
		}
		return with
	}
}

// Strict makes a runtime that does nothing that CRI leaves to its client: it refuses a sandbox whose log directory or parent
// cgroup is missing, and a container whose log's directory or one of whose mounts is. CgroupRoot is where cgroups are
// mounted, or one of their hierarchies.
func Strict(cgroupRoot string) Hook {
	return func(ctx context.Context, c *Call) error {
		var err error
		switch c.Method {
		case runtimeapi.RuntimeService_RunPodSandbox_FullMethodName:
			var r runtimeapi.RunPodSandboxRequest
			if err = proto.Unmarshal(c.Request, &r); err == nil {
				err = sandboxLacks(r.GetConfig(), cgroupRoot)
			}
		case runtimeapi.RuntimeService_CreateContainer_FullMethodName:
			var r runtimeapi.CreateContainerRequest
			if err = proto.Unmarshal(c.Request, &r); err == nil {
				err = containerLacks(&r, cgroupRoot)
			}
		}
		if err != nil {
			return err
		}
		return c.Forward(ctx)
	}
}

func sandboxLacks(s *runtimeapi.PodSandboxConfig, cgroupRoot string) error {
	if err := directory(s.GetLogDirectory()); err != nil {
		return status.Errorf(codes.Unknown, "Failed to open log directory: %v", err)
	}
	if parent := s.GetLinux().GetCgroupParent(); parent != "" && !strings.HasSuffix(parent, ".slice") {
		if _, err := os.Stat(filepath.Join(cgroupRoot, parent)); err != nil {
			return status.Errorf(codes.Unknown, "cannot find the parent cgroup: %v", err)
		}
	}
	return nil
}

func containerLacks(r *runtimeapi.CreateContainerRequest, cgroupRoot string) error {
	if err := sandboxLacks(r.GetSandboxConfig(), cgroupRoot); err != nil {
		return err
	}
	log := filepath.Join(r.GetSandboxConfig().GetLogDirectory(), r.GetConfig().GetLogPath())
	if err := directory(filepath.Dir(log)); err != nil {
		return status.Errorf(codes.Unknown, "Failed to open log file %q: %v", log, err)
	}
	for _, m := range r.GetConfig().GetMounts() {
		if _, err := os.Stat(m.GetHostPath()); m.GetImage() == nil && err != nil {
			return status.Errorf(codes.Unknown, "cannot mount %s: %v", m.GetContainerPath(), err)
		}
	}
	return nil
}

// directory fails for what is no directory that others may look into.
func directory(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir() || info.Mode().Perm() != 0o755:
		return fmt.Errorf("%s is %s, want drwxr-xr-x", path, info.Mode())
	}
	return nil
}
