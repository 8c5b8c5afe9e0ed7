package act

import (
	"context"
	"errors"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/resources"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

func (e *Executor) createSandbox(ctx context.Context, in plan.Input, a plan.Action) error {
	p := in.Desired.Pod
	if err := prepareClaims(p); err != nil {
		e.cfg.Event(p, "", v1.EventTypeWarning, "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: "+err.Error())
		return err
	}
	if a.Attempt > 0 {
		e.cfg.Event(p, "", v1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	err := e.runSandbox(ctx, p, a.Attempt)
	if err != nil && ctx.Err() == nil {
		e.cfg.Event(p, "", v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
	}
	return err
}

func (e *Executor) runSandbox(ctx context.Context, p *v1.Pod, attempt uint32) error {
	handler, err := e.handler(ctx, p)
	if err != nil {
		return err
	}
	cfg, err := e.sandboxConfig(p, attempt)
	if err != nil {
		return err
	}
	if err := e.makeLogDir(p); err != nil {
		return err
	}
	if len(p.Spec.Overhead) > 0 { // its RuntimeClass may have come after the pod's cgroup was made
		if err := e.cfg.Cgroups.CreatePod(p); err != nil {
			return err
		}
	}
	if _, err = e.cfg.Runtime.RunPodSandbox(ctx, cfg, handler); err != nil && ctx.Err() == nil {
		if mended, mendErr := e.cfg.Repair(ctx, err); mended {
			_, err = e.cfg.Runtime.RunPodSandbox(ctx, cfg, handler)
		} else if mendErr != nil {
			err = errors.Join(err, mendErr)
		}
	}
	return err
}

// handler is the runtime's handler that the pod's RuntimeClass names, and "" for the default one. One that has no user
// namespaces is refused to a pod that must not run with the host's users.
func (e *Executor) handler(ctx context.Context, p *v1.Pod) (string, error) {
	name := ""
	if c := p.Spec.RuntimeClassName; c != nil && *c != "" {
		class, err := objects.Get[nodev1.RuntimeClass](ctx, e.cfg.Objects.For(p), "", *c)
		if err != nil {
			return "", err
		}
		if o := class.Overhead; pod.IsStatic(p) && o != nil && len(o.PodFixed) > 0 && len(p.Spec.Overhead) == 0 {
			return "", fmt.Errorf("RuntimeClass %q has just come, and its overhead is not the pod's yet", *c)
		}
		name = class.Handler
	}
	if !ownUsers(p) {
		return name, nil
	}
	for _, h := range e.cfg.Runs.Handlers {
		if h.Name == name && h.UserNamespaces {
			return name, nil
		}
	}
	if name != "" {
		return "", fmt.Errorf("can't set `spec.hostUsers: false`, RuntimeClass handler %q does not support user namespaces", name)
	}
	return "", errors.New("can't set `spec.hostUsers: false`, runtime does not support user namespaces: containerd 2.0 with runc 1.2 or newer is needed")
}

func ownUsers(p *v1.Pod) bool { return p.Spec.HostUsers != nil && !*p.Spec.HostUsers }

// users is the pod's user namespace, and nil when it has the host's users.
func (e *Executor) users(p *v1.Pod) (*cri.UserNamespace, error) {
	if !ownUsers(p) {
		return nil, nil
	}
	r, err := e.cfg.Runs.Users.Of(p.UID)
	if err != nil {
		return nil, err
	}
	one := []cri.IDMapping{{HostID: r.First, Length: r.Length}}
	return &cri.UserNamespace{UIDs: one, GIDs: one}, nil
}

func (e *Executor) sandboxConfig(p *v1.Pod, attempt uint32) (*runtimeapi.PodSandboxConfig, error) {
	r, err := e.resolver(p)
	if err != nil {
		return nil, err
	}
	users, err := e.users(p)
	if err != nil {
		return nil, err
	}
	hostname, err := kernelName(p, e.cfg.DNS.Domain)
	if err != nil {
		return nil, err
	}
	return cri.Sandbox(cri.SandboxInput{
		Pod: p, Attempt: attempt, LogRoot: e.cfg.Paths.PodLogs, Hostname: hostname, UserNamespace: users,
		Overhead: e.overhead(p), Resources: e.sandboxResources(p),
		DNS:          cri.DNS{Servers: r.servers, Searches: r.searches, Options: r.options},
		CgroupParent: e.cfg.Cgroups.Parent(p),
		Seccomp:      e.cfg.Paths.Seccomp,
	})
}

// sandboxResources and overhead tell runtimes that put a pod into a machine of its own how large that has to be (KEP-2371).
func (e *Executor) sandboxResources(p *v1.Pod) *cri.Resources {
	v := resources.PodSize(p, e.cfg.Limits.CFS)
	return &cri.Resources{CPUShares: v.CPUShares, CPUQuota: v.CPUQuota, CPUPeriod: v.CPUPeriod, MemoryLimit: v.Memory}
}

func (e *Executor) overhead(p *v1.Pod) *cri.Resources {
	v := resources.OverheadSize(p, e.cfg.Limits.CFS)
	if v == nil {
		return nil
	}
	return &cri.Resources{CPUShares: v.CPUShares, CPUQuota: v.CPUQuota, CPUPeriod: v.CPUPeriod, MemoryLimit: v.Memory}
}

// resolver reads the node's resolver configuration, which may change while the agent runs, and applies the pod's.
func (e *Executor) resolver(p *v1.Pod) (resolver, error) {
	var host resolver
	if path := e.cfg.Paths.ResolvConf; path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return host, fmt.Errorf("cannot read the node's resolver configuration: %w: give resolvConf another file, or \"\"", err)
		}
		host = parseResolver(string(b))
	}
	r, cut := podResolver(p, host, e.cfg.DNS.Servers, e.cfg.DNS.Domain)
	for _, message := range cut {
		e.cfg.Event(p, "", v1.EventTypeWarning, "DNSConfigForming", message)
	}
	return r, nil
}

// addresses of a pod: its sandbox's, or the node's on the host network.
func (e *Executor) addresses(in plan.Input) []string {
	if in.Desired.Pod.Spec.HostNetwork {
		return e.cfg.Node().IPs
	}
	if s := in.Observed.Sandbox(); s != nil {
		return s.IPs
	}
	return nil
}

func primary(ips []string) string {
	if len(ips) == 0 {
		return ""
	}
	return ips[0]
}

// sandboxOf finds the sandbox that new containers go to.
func sandboxOf(in plan.Input) (*pod.Sandbox, error) {
	s := in.Observed.Sandbox()
	if s == nil || !s.Ready {
		return nil, fmt.Errorf("cannot start a container: the pod has no sandbox that is ready")
	}
	return s, nil
}
