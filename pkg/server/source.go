package server

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/server/limit"
)

// Streams says which streams a session carries.
type Streams struct{ Stdin, Stdout, Stderr, TTY bool }

// Runtime is what the container runtime does for a request.
type Runtime struct {
	Exec        func(ctx context.Context, containerID string, cmd []string, s Streams) (url string, err error)
	Attach      func(ctx context.Context, containerID string, s Streams) (url string, err error)
	PortForward func(ctx context.Context, podUID string, ports []int32) (url string, err error)
	Run         func(ctx context.Context, containerID string, cmd []string) (output []byte, err error)
	Running     func(ctx context.Context) ([]v1.Pod, error) // as far as the runtime knows them
	// Checkpoint writes the state of a container to an archive. Seconds are how long it may take; 0: as long as any call.
	Checkpoint func(ctx context.Context, p *v1.Pod, container, containerID string, seconds int64) (archive string, err error)
}

// Source is what the servers tell, each a function of the part that knows. Values that they return are read only.
type Source struct {
	Runtime
	Pods        func() []*v1.Pod
	Changed     func() <-chan struct{} // closed at the next change of any pod
	Events      func() []v1.Event
	EventsAfter func(ctx context.Context) <-chan v1.Event // each new or repeated event, until ctx ends
	Node        func() *v1.Node                           // as the agent would report it
	Logs        func(ctx context.Context, w io.Writer, p *v1.Pod, container string, o *v1.PodLogOptions) error
	Health      func() error            // nil: the agent does its job
	Handlers    map[string]http.Handler // more that the HTTPS API serves, by pattern: "GET /metrics"
	Version     string
	Config      func() any                                   // what the agent was told, to be shown; nil: nothing
	Check       func(ctx context.Context, p Proposal) []Lack // nil: not offered
}

// Proposal is what somebody thinks of running on this node: pods, and the objects that would come with them.
type Proposal struct {
	Pods       []v1.Pod                   `json:"pods"`
	ConfigMaps []v1.ConfigMap             `json:"configMaps,omitempty"`
	Secrets    []v1.Secret                `json:"secrets,omitempty"`
	Claims     []v1.PersistentVolumeClaim `json:"claims,omitempty"`
}

// Objects are the objects beside the pods.
func (p Proposal) Objects() objects.Set {
	var all []objects.Object
	for i := range p.ConfigMaps {
		all = append(all, &p.ConfigMaps[i])
	}
	for i := range p.Secrets {
		all = append(all, &p.Secrets[i])
	}
	for i := range p.Claims {
		all = append(all, &p.Claims[i])
	}
	return objects.SetOf(all...)
}

// Lack is something that this node does not have and that a proposed pod cannot run without.
type Lack struct {
	Pod   int    `json:"pod"`             // index in the proposal
	Field string `json:"field,omitempty"` // such as spec.containers[0].image
	Text  string `json:"text"`
}

// find returns the pod of a namespace and a name; a UID, when given, must be its own.
func (s Source) find(namespace, name, uid string) *v1.Pod {
	pods := s.Pods()
	i := slices.IndexFunc(pods, func(p *v1.Pod) bool {
		return p.Namespace == namespace && p.Name == name &&
			(uid == "" || string(p.UID) == uid || p.Annotations[pod.AnnotationHash] == uid)
	})
	if i < 0 {
		return nil
	}
	return pods[i]
}

// containerID returns the ID of a container that runs, without the runtime's name before it.
func containerID(p *v1.Pod, name string) string {
	if c := pod.StatusOf(&p.Status, name); c != nil && c.State.Running != nil {
		return pod.BareID(c.ContainerID)
	}
	return ""
}

// limits of the HTTP servers: slow, huge, malformed and half-open requests cost bounded memory.
const (
	readHeaderTimeout = 10 * time.Second // the TLS handshake, then the header
	idleTimeout       = 90 * time.Second
	maxHeaderBytes    = 256 << 10 // the command of an exec stands in the URL

	connections    = 2000 // to the HTTPS API: each log that is followed is one
	strangers      = 200  // of them not authenticated yet
	answersAtOnce  = 8    // that are made in memory: lists of pods, metrics
	commandsAtOnce = 4    // of run and checkpoint: a command may write 16 MiB
)

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: limit.ErrorLog(),
	}
}
