package compare

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri/critest/criproxy"
)

// part is a sandbox or a container of a pod.
type part struct {
	namespace string // of the pod
	uid       string // of the pod
	container string // its name; empty: the sandbox
	attempt   uint32
	log       string // the container's log, beneath the pod's directory of logs
}

// request is one that changes something of a pod.
type request struct {
	part
	method  string // RunPodSandbox; empty: none, lines are what there is to see
	message proto.Message
	lines   Lines // what was seen at that moment
}

// requests are those that an agent makes of the runtime, by the namespace of the pod, which is a case's. It is a hook of the proxy
// between them.
type requests struct {
	look    func(r *runtimeapi.CreateContainerRequest) Lines // at the mounts of a container before it is created
	started func(id string, of part) Lines                   // looks at a container that was started
	printed func(of part) Lines                              // what a container that is to be stopped has printed of what it was asked

	mu     sync.Mutex
	byCase map[string][]request
	byID   map[string]part   // sandboxes and containers
	latest map[string]string // ids, by namespace/container; that of the sandbox by namespace/
}

func newRequests() *requests {
	return &requests{byCase: map[string][]request{}, byID: map[string]part{}, latest: map[string]string{}}
}

// changes are the methods that a record has, each with an empty message to read it into.
var changes = map[string]func() proto.Message{
	runtimeapi.RuntimeService_RunPodSandbox_FullMethodName:            func() proto.Message { return &runtimeapi.RunPodSandboxRequest{} },
	runtimeapi.RuntimeService_StopPodSandbox_FullMethodName:           func() proto.Message { return &runtimeapi.StopPodSandboxRequest{} },
	runtimeapi.RuntimeService_CreateContainer_FullMethodName:          func() proto.Message { return &runtimeapi.CreateContainerRequest{} },
	runtimeapi.RuntimeService_StartContainer_FullMethodName:           func() proto.Message { return &runtimeapi.StartContainerRequest{} },
	runtimeapi.RuntimeService_StopContainer_FullMethodName:            func() proto.Message { return &runtimeapi.StopContainerRequest{} },
	runtimeapi.RuntimeService_UpdateContainerResources_FullMethodName: func() proto.Message { return &runtimeapi.UpdateContainerResourcesRequest{} },
	runtimeapi.RuntimeService_ExecSync_FullMethodName:                 func() proto.Message { return &runtimeapi.ExecSyncRequest{} },
	runtimeapi.ImageService_PullImage_FullMethodName:                  func() proto.Message { return &runtimeapi.PullImageRequest{} },
}

func (r *requests) hook(ctx context.Context, c *criproxy.Call) error {
	empty, known := changes[c.Method]
	if !known {
		return c.Forward(ctx)
	}
	m := empty()
	if err := proto.Unmarshal(c.Request, m); err != nil {
		return err
	}
	r.file(c, c.Method[strings.LastIndexByte(c.Method, '/')+1:], m)
	err := c.Forward(ctx)
	if m, ok := m.(*runtimeapi.StartContainerRequest); ok && err == nil {
		if of, known := r.part(m.GetContainerId()); known {
			r.add(request{part: of, lines: r.started(m.GetContainerId(), of)})
		}
	}
	return err
}

// file writes a request down under its pod, and what the answer calls that which it makes.
func (r *requests) file(c *criproxy.Call, method string, m proto.Message) {
	switch m := m.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		of := podPart(m.GetConfig())
		of.attempt = m.GetConfig().GetMetadata().GetAttempt()
		r.add(request{part: of, method: method, message: m})
		r.name(c, &runtimeapi.RunPodSandboxResponse{}, of)
	case *runtimeapi.CreateContainerRequest:
		meta := m.GetConfig().GetMetadata()
		of := podPart(m.GetSandboxConfig())
		of.container, of.attempt = meta.GetName(), meta.GetAttempt()
		of.log = filepath.Join(m.GetSandboxConfig().GetLogDirectory(), m.GetConfig().GetLogPath())
		r.add(request{part: of, method: method, message: m, lines: r.look(m)})
		r.name(c, &runtimeapi.CreateContainerResponse{}, of)
	case *runtimeapi.PullImageRequest:
		r.add(request{part: podPart(m.GetSandboxConfig()), method: method, message: m})
	case interface{ GetPodSandboxId() string }:
		r.addFor(m.GetPodSandboxId(), method, m.(proto.Message))
	case *runtimeapi.StopContainerRequest:
		r.addFor(m.GetContainerId(), method, m)
		if of, known := r.part(m.GetContainerId()); known {
			r.add(request{part: of, lines: r.printed(of)})
		}
	case interface{ GetContainerId() string }:
		r.addFor(m.GetContainerId(), method, m.(proto.Message))
	}
}

func podPart(c *runtimeapi.PodSandboxConfig) part {
	return part{namespace: c.GetMetadata().GetNamespace(), uid: c.GetMetadata().GetUid()}
}

func (r *requests) add(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byCase[q.namespace] = append(r.byCase[q.namespace], q)
}

func (r *requests) addFor(id, method string, m proto.Message) {
	if of, known := r.part(id); known {
		r.add(request{part: of, method: method, message: m})
	}
}

func (r *requests) part(id string) (of part, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of, known = r.byID[id]
	return of, known
}

// name waits for the answer, which says the id of what is made.
func (r *requests) name(c *criproxy.Call, answer proto.Message, of part) {
	send := c.Answer
	c.Answer = func(b []byte) error {
		if proto.Unmarshal(b, answer) == nil {
			id := ""
			switch a := answer.(type) {
			case *runtimeapi.RunPodSandboxResponse:
				id = a.GetPodSandboxId()
			case *runtimeapi.CreateContainerResponse:
				id = a.GetContainerId()
			}
			r.mu.Lock()
			r.byID[id], r.latest[of.namespace+"/"+of.container] = of, id
			r.mu.Unlock()
		}
		return send(b)
	}
}

func (r *requests) of(namespace string) []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byCase[namespace]
}

// id is that of the latest container of a name, or, without one, of the sandbox; "" is none.
func (r *requests) id(namespace, container string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest[namespace+"/"+container]
}

// requestLines are those of the requests for one pod. How often one was made, and when, is left to the status of the pod and to its events.
func requestLines(all []request) (l Lines, err error) {
	for _, q := range all {
		if l = append(l, q.lines...); q.method == "" {
			continue
		}
		what := q.method
		if q.container != "" {
			what += " " + q.container
		}
		if q.attempt > 0 {
			what += " again"
		}
		l.add(what, "asked")
		message := q.message
		if m, ok := message.(*runtimeapi.CreateContainerRequest); ok {
			l.addEnv(what, m.GetConfig().GetEnvs())
			message = withoutEnv(m)
		}
		b, err := protojson.Marshal(message)
		if err = errors.Join(err, l.addJSON(what, json.RawMessage(b))); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// addEnv adds the environment as text. It has no order: a kubelet gives it in one of chance.
func (l *Lines) addEnv(what string, envs []*runtimeapi.KeyValue) {
	for _, e := range envs {
		l.add(what+" env "+e.GetKey(), string(e.GetValue()))
	}
}

func withoutEnv(m *runtimeapi.CreateContainerRequest) proto.Message {
	m = proto.CloneOf(m)
	m.Config.Envs = nil
	return m
}
