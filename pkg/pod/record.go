package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Record is what the agent must not forget of a pod, because it cannot be seen again once it was acted upon. It is one
// small file per pod, owned by the pod's loop. Values held in maps are replaced, never changed in place.
type Record struct {
	Pod      *v1.Pod                  `json:"pod,omitempty"`
	Source   Source                   `json:"source,omitempty"`
	Stop     *Stop                    `json:"stop,omitempty"`     // an order once given outlives the agent
	Restart  *Restart                 `json:"restart,omitempty"`  // set while containers of before a restart of all are there
	Verdict  *Verdict                 `json:"verdict,omitempty"`  // write-once outcome
	Attempts map[string]uint32        `json:"attempts,omitempty"` // by container name: attempts begun so far; the next attempt's number
	Backoff  map[string]time.Duration `json:"backoff,omitempty"`  // by container name: wait between the last exit and the next start
	Hooks    map[string]Hooks         `json:"hooks,omitempty"`    // by container ID
	Released []string                 `json:"released,omitempty"` // sandboxes that were stopped: their network is gone
	Status   v1.PodStatus             `json:"status"`             // as last reported
}

// Verdict is how a pod ended. It is written once and before anything that it rests on is destroyed.
type Verdict struct {
	Phase   v1.PodPhase `json:"phase"` // Succeeded or Failed
	Reason  string      `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	At      time.Time   `json:"at"`
	// Rejected says that the node did not take the pod: nothing of it was begun.
	Rejected bool `json:"rejected,omitempty"`
}

// Restart is the restart of all of a pod's containers, which one of them asked for by its exit code (KEP-5532).
type Restart struct {
	By string    `json:"by"` // the container
	At time.Time `json:"at"`
}

// HookState is how far a lifecycle hook has come. A hook that has begun and not ended when the agent dies runs again.
type HookState string

// The states of a hook; the zero value means that it has not begun.
const (
	HookBegun  HookState = "begun"
	HookDone   HookState = "done"
	HookFailed HookState = "failed"
)

// Hooks are the lifecycle hooks of one container.
type Hooks struct {
	PostStart HookState `json:"postStart,omitempty"`
	PreStop   HookState `json:"preStop,omitempty"`
}

// Failures are the failed actions of one pod, by action key. A key is removed when its action succeeds.
type Failures map[string]Failure

// Failure is what is known of an action that failed.
type Failure struct {
	Count int       // in a row
	Last  time.Time // when it failed last
	Class string    // a waiting reason (ErrImagePull, CreateContainerError, ...) or "" for none
	Text  string    // for a person
}

// Error is an executor's error with the class under which the plan and the status know it.
type Error struct {
	Class string
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Classes of failures; those that are waiting reasons of a container are reported as they stand.
const (
	ErrImagePull               = "ErrImagePull"
	ErrImageNeverPull          = "ErrImageNeverPull"
	ErrImageInspect            = "ImageInspectError"
	InvalidImageName           = "InvalidImageName"
	RegistryUnavailable        = "RegistryUnavailable"
	SignatureValidationFailed  = "SignatureValidationFailed"
	CreateContainerConfigError = "CreateContainerConfigError"
	CreateContainerError       = "CreateContainerError"
	RunContainerError          = "RunContainerError"
	NodeLacks                  = "NodeLacks"       // a volume wants of this node alone what is not there, or cannot be made
	NotAttached                = "NotAttached"     // a volume is not attached to this node yet: that takes a moment
	NoVisibleEffect            = "NoVisibleEffect" // an action that reported success and changed nothing
	Unclear                    = "Unclear"         // a look at a pod that the runtime does not tell about as it should
)

// Result is a probe's standing verdict.
type Result string

// The results of a probe; the zero value means that no verdict was reached yet.
const (
	Success Result = "success"
	Failed  Result = "failure"
)

// Probes are the standing verdicts on one container. A probe that the container does not have stays at its zero value.
type Probes struct {
	Startup, Liveness, Readiness Result
	Text                         string // of the last failure of startup or liveness
}

// Health holds the latest probe verdicts, by container ID.
type Health map[string]Probes

// Reason is why something waits, in the form of a status: a CamelCase reason and a sentence.
type Reason struct {
	Reason  string
	Message string
}
