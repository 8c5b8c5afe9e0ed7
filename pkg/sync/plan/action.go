package plan

import (
	"time"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
)

// Kind names what an action does.
type Kind string

// The kinds of actions. Setup and teardown of all that a pod owns is in this list.
const (
	CgroupCreate    Kind = "cgroup-create" // the pod's directories and its cgroup
	VolumeMount     Kind = "volume-mount"
	VolumeRefresh   Kind = "volume-refresh" // of a volume that is mounted: what it is made from may have changed
	ImagePull       Kind = "image-pull"
	ImageLook       Kind = "image-look" // whether an image that could not be had is on the node by now
	SandboxCreate   Kind = "sandbox-create"
	ContainerStart  Kind = "container-start" // create and start; with an ID, start what was created
	PostStart       Kind = "post-start"
	PodResize       Kind = "pod-resize"     // the cgroup values of the pod, and of its containers that run
	PreStop         Kind = "pre-stop"       // the hook of a sidecar, whose turn to stop comes later
	ContainerStop   Kind = "container-stop" // preStop hook, then SIGTERM, then SIGKILL at the deadline
	ContainerRemove Kind = "container-remove"
	SandboxStop     Kind = "sandbox-stop" // releases the network
	SandboxRemove   Kind = "sandbox-remove"
	VolumeUnmount   Kind = "volume-unmount"
	CgroupRemove    Kind = "cgroup-remove"
	DirRemove       Kind = "dir-remove" // the pod's directory and its logs
)

// Action is one thing to do to a pod. It is a value: two equal actions are the same action.
type Action struct {
	Kind     Kind
	Name     string    // container or volume, by kind
	ID       string    // container or sandbox, by kind
	Image    string    // ImagePull, ImageLook: the image, as the specification names it
	For      Kind      // ImageLook: what lacked the image, ImagePull or VolumeMount
	Attempt  uint32    // of the container or sandbox to be made; VolumeRefresh: the turn
	Deadline time.Time // ContainerStop: when SIGKILL is due; not after now: kill at once. PreStop: the end of the grace period
	PreStop  bool      // ContainerStop: run the preStop hook first
	KeepLog  bool      // ContainerRemove: its log stays, and those of earlier attempts go
	Reason   string    // ContainerStop: why, as the Killing event tells it
}

// Key identifies an action for failures and for what is in flight: at most one action per key runs at a time.
func (a Action) Key() string {
	switch a.Kind {
	case ContainerStop, ContainerRemove, SandboxStop, SandboxRemove, PostStart, PreStop:
		return string(a.Kind) + "/" + a.ID
	case ImageLook:
		return string(a.Kind) + "/" + a.Lacked()
	case ImagePull: // another image is another pull: neither the old one's failures nor its end matter to it
		return string(a.Kind) + "/" + a.Name + "/" + a.Image
	case VolumeMount, VolumeRefresh, VolumeUnmount, ContainerStart:
		return string(a.Kind) + "/" + a.Name
	}
	return string(a.Kind)
}

// Lacked is the key of the action that lacked the image that an ImageLook looks for.
func (a Action) Lacked() string { return Action{Kind: a.For, Name: a.Name, Image: a.Image}.Key() }

// Ends are the keys of the failures that the success of an action ends: its own, and where an image was found, that of the
// action which lacked it.
func (a Action) Ends() []string {
	if a.Kind == ImageLook {
		return []string{a.Key(), a.Lacked()}
	}
	return []string{a.Key()}
}

// Input is everything that a decision rests on.
type Input struct {
	Desired  pod.Desired
	Observed pod.Observed
	Record   pod.Record
	Failures pod.Failures
	Health   pod.Health
	InFlight []Action
	Now      time.Time

	CrashLimit time.Duration // the longest CrashLoopBackOff; 0: 300 s
	CFS        resources.CFS // how CPU limits are enforced
}

// Decision is what to do now and when to look again.
type Decision struct {
	Actions  []Action              // independent of each other: may run at once; never one whose key is in flight
	WakeAt   time.Time             // zero: nothing is due by time alone
	Verdict  *pod.Verdict          // nil, or the outcome, to be persisted before Actions run
	Waiting  map[string]pod.Reason // by container name; "" is the pod as a whole
	Record   pod.Record            // the record as it must be on disk before Actions run
	Sync     bool                  // Record holds something that a power cut must not lose
	Resizing bool                  // what runs does not have yet the resources that the specification gives it
	Done     bool                  // nothing of the pod is left and nothing will be
}
