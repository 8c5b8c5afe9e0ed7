package plan

import (
	"slices"
	"time"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// How long a container waits between its exit and its next start: nothing at first, then these, doubling. A run that
// was long enough starts over.
const (
	crashBase  = 10 * time.Second
	crashLimit = 300 * time.Second
	crashReset = 10 * time.Minute
)

// crashWait is the wait after the one before, which may be none. A node's own limit, unless it is 0, also bounds the first
// wait (KEP-4603).
func crashWait(last time.Duration, restarted bool, limit time.Duration) time.Duration {
	if limit <= 0 {
		limit = crashLimit
	}
	switch {
	case !restarted:
		return 0
	case last == 0:
		return min(crashBase, limit)
	}
	return min(2*last, limit)
}

// retryAt is when an action that failed may be tried again.
func retryAt(k Kind, f pod.Failure) time.Time {
	base, limit := time.Second, 30*time.Second
	switch {
	case k == VolumeRefresh:
		base, limit = time.Minute, time.Minute
	case k == ImageLook:
		base, limit = lookEvery, lookEvery
	case k == ImagePull, k == VolumeMount && imageFailed(f):
		base, limit = 10*time.Second, 300*time.Second
	case k == VolumeMount && f.Class == pod.NotAttached:
		base, limit = 50*time.Millisecond, 122*time.Second
	case k == VolumeMount && f.Class == pod.NodeLacks: // a look at this node costs nothing
		base, limit = 500*time.Millisecond, 10*time.Second
	case k == ContainerStart && f.Class == pod.CreateContainerConfigError:
		limit = 10 * time.Second
	case k == VolumeMount:
		base, limit = 500*time.Millisecond, 122*time.Second
	case k == ContainerStart:
		limit = 60 * time.Second
	case slices.Contains([]Kind{ContainerStop, ContainerRemove, SandboxStop, SandboxRemove, VolumeUnmount, CgroupRemove, DirRemove}, k):
		base, limit = 500*time.Millisecond, 10*time.Second
	}
	wait := base
	for n := 1; n < f.Count && wait < limit; n++ {
		wait *= 2
	}
	return f.Last.Add(min(wait, limit))
}
