package pod

import "time"

// Observed is what a look at the node found of one pod.
type Observed struct {
	Sandboxes  []Sandbox        // newest first
	Containers []Container      // newest first; of one name, the highest attempt comes first
	Mounts     map[string]Mount // by volume name
	Images     map[string]Image // by container name: images resolved for a start, in this life of the agent
	Cgroup     bool             // the pod's cgroup exists
	CgroupLeft bool             // or a part of it that limits nothing: a runtime that was late has made it again
	Dir        bool             // the pod's directory exists
}

// Sandbox is one pod sandbox of the runtime.
type Sandbox struct {
	ID        string
	Attempt   uint32
	Ready     bool
	CreatedAt time.Time
	IPs       []string // empty on the host network
}

// ContainerState is a container's state as CRI has it.
type ContainerState string

// The states of a container.
const (
	ContainerCreated ContainerState = "Created"
	ContainerRunning ContainerState = "Running"
	ContainerExited  ContainerState = "Exited"
	ContainerUnknown ContainerState = "Unknown"
)

// Container is one container of the runtime: one attempt at running a container of the specification.
type Container struct {
	ID         string
	Name       string
	SandboxID  string
	Attempt    uint32 // the restart count it was created with
	Hash       string // ContainerHash of the specification it was created from
	State      ContainerState
	CreatedAt  time.Time
	StartedAt  time.Time // zero before it was started
	FinishedAt time.Time // zero before it exited
	ExitCode   int32
	Reason     string // Completed, Error, OOMKilled, StartError, Unknown
	Message    string // the termination message, of any bytes
	Image      string // as the runtime names it
	ImageID    string
	User       *User
	Resources  *Resources // nil: the runtime did not say
	StopSignal string     // as a specification names it, SIGRTMIN+3; "": the runtime did not say
	CutOff     bool       // Created, and can no longer be started: who asked for its start went away meanwhile
}

// User is the identity of a container's first process.
type User struct {
	UID, GID           int64
	SupplementalGroups []int64
}

// Resources are the cgroup values that the runtime reports for a container.
type Resources struct {
	CPUShares, CPUQuota, CPUPeriod, MemoryLimit int64
}

// Mount is one volume of a pod, set up or begun.
type Mount struct {
	Kind  string // volume plugin: emptyDir, configMap, csi, ...
	Ready bool   // false: begun and not finished, or being torn down
	Path  string // on the host

	Due  time.Time // when its content is to be brought up to date; zero: it does not change
	Turn uint32    // rises with each wish for that
}

// Image is an image that is present and was checked against the pull policy for one start of a container.
type Image struct {
	Ref     string // as the specification names it
	ID      string // as CRI wants it in ContainerConfig
	Attempt uint32 // the container's attempt that it was resolved for
}

// Sandbox returns the newest sandbox, or nil.
func (o Observed) Sandbox() *Sandbox {
	if len(o.Sandboxes) == 0 {
		return nil
	}
	return &o.Sandboxes[0]
}

// Container returns the newest container of a name, or nil.
func (o Observed) Container(name string) *Container {
	for i := range o.Containers {
		if o.Containers[i].Name == name {
			return &o.Containers[i]
		}
	}
	return nil
}

// ByID returns the container with an ID, or nil.
func (o Observed) ByID(id string) *Container {
	for i := range o.Containers {
		if o.Containers[i].ID == id {
			return &o.Containers[i]
		}
	}
	return nil
}

// Alive reports whether any container may still have a process.
func (o Observed) Alive() bool {
	for i := range o.Containers {
		if s := o.Containers[i].State; s == ContainerRunning || s == ContainerUnknown {
			return true
		}
	}
	return false
}
