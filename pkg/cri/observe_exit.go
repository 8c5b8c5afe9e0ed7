package cri

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Limits of a termination message in bytes, and in lines when it is taken from the log.
const (
	maxMessageFile = 4096
	maxMessageLog  = 2048
	maxLogLines    = 80
)

const reasonOOMKilled = "OOMKilled"

// cutOff reports whether the start of a container was given up because its caller went away, before there was a process of
// it: containerd cancels the creation of the task then, and calls that an exit. It ran no more than one that was only created.
func cutOff(s *runtimeapi.ContainerStatus) bool {
	return s.State == runtimeapi.ContainerState_CONTAINER_EXITED && s.Reason == "StartError" && s.StartedAt == 0 &&
		strings.Contains(s.Message, "failed to create containerd task") && strings.Contains(s.Message, "context canceled")
}

// exitReason names why a container ended, in the words of a pod's status. The runtime itself knows OOMKilled and
// StartError; Unknown is its word for an exit that it did not see, and a kubelet's.
func exitReason(s *runtimeapi.ContainerStatus) string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.ExitCode == 0:
		return "Completed"
	}
	return "Error"
}

// outOfMemory makes good what a runtime misses when the cgroup of a container is gone before it has read there why it
// ended, as containerd 1.6 does with systemd's scopes: a container that was killed, while the kernel has killed more of the
// pod for want of memory than is accounted for, was out of memory. After a restart of the agent nothing is accounted for.
func (o *Observer) outOfMemory(uid string, c *pod.Container, accounted *int64) {
	if o.oomKills == nil || c.State != pod.ContainerExited || c.Reason != reasonOOMKilled && (c.ExitCode != 137 || c.Reason != "Error") {
		return
	}
	if kills := o.oomKills(uid); kills > *accounted {
		*accounted, c.Reason = kills, reasonOOMKilled
	}
}

// message joins what the runtime says of an exit and what the container left as its last words.
func (o *Observer) message(s *runtimeapi.ContainerStatus) string {
	last := lastWords(s)
	if last == "" && s.ExitCode != 0 && s.LogPath != "" && o.tail != nil &&
		s.Annotations[annotationMessagePolicy] == string(v1.TerminationMessageFallbackToLogsOnError) {
		if text, err := o.tail(s.LogPath, maxLogLines, maxMessageLog); err == nil {
			last = text
		}
	}
	if s.Message == "" || last == "" {
		return s.Message + last
	}
	return s.Message + ": " + last
}

// MessagePath is where in a container the file of a terminationMessagePath lies: it may be relative, to the root.
func MessagePath(path string) string { return filepath.Join("/", path) }

// lastWords reads the end of the file that is mounted at the container's terminationMessagePath: what a program says last is
// why it ended. A file that cannot be read says nothing: the exit itself matters more.
func lastWords(s *runtimeapi.ContainerStatus) string {
	path := s.Annotations[annotationMessagePath]
	if path == "" {
		return ""
	}
	for _, m := range s.Mounts {
		if MessagePath(m.ContainerPath) != MessagePath(path) || m.HostPath == "" {
			continue
		}
		// No link and no pipe: the container may have been able to replace what is mounted.
		f, err := os.OpenFile(m.HostPath, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return ""
		}
		defer f.Close()
		i, err := f.Stat()
		if err != nil || !i.Mode().IsRegular() {
			return ""
		}
		b, err := io.ReadAll(io.NewSectionReader(f, max(0, i.Size()-maxMessageFile), maxMessageFile))
		if err != nil {
			return ""
		}
		return string(b)
	}
	return ""
}
