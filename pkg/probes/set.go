package probes

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Config is what a Set calls. None of the functions may block for long, but Exec, which keeps to its timeout.
type Config struct {
	Exec   ExecFunc
	Events func(p *v1.Pod, container, typ, reason, message string) // typ is Normal or Warning
	Poke   func(uid types.UID)                                     // a verdict on a container of this pod has changed
	HostIP func() string                                           // the node's address: that of pods on the host network
	// Crowd is closed when many pods that come up are through, and nil when there are none. Meanwhile commands that containers
	// answered well the last time are run one after the other: each is a process. Nil: never.
	Crowd func() <-chan struct{}
	// Probed is told of each check: kind Liveness, Readiness or Startup, result successful, failed or unknown, and how long it
	// took. Nil: nobody is.
	Probed func(kind, result, container string, took time.Duration, p *v1.Pod)
}

// target is a running container.
type target struct {
	name      string
	id        string
	startedAt time.Time
	prior     pod.Probes // successes known from before the agent started: they stand until the probe says otherwise
}

// Set holds the probes of the node's containers. Its methods may be called from any goroutine.
type Set struct {
	cfg     Config
	means   means
	started time.Time // of the agent
	workers sync.WaitGroup
	pace    *pace

	mu     sync.Mutex
	closed bool
	pods   map[types.UID]*podProbes
}

// podProbes are the probes of one pod's running containers.
type podProbes struct {
	ip         string
	containers map[string]*container // by container ID
}

// container is what is probed; everything in it is guarded by Set.mu.
type container struct {
	verdict pod.Probes
	gate    chan struct{} // closed once started
	opened  bool
	cancel  map[kind]context.CancelFunc // of the workers begun, also of those that ended by themselves
}

// New returns a Set without probes. Containers that started before this moment are probed with a start jitter of at most
// their period, so that an agent that comes back does not probe everything at once.
func New(cfg Config) *Set {
	return &Set{
		cfg: cfg, means: means{exec: cfg.Exec, http: newTransport()}, started: time.Now(), pace: newPace(cfg.Crowd), pods: map[types.UID]*podProbes{},
	}
}

// follow starts the probes of the containers that run and stops those of the ones that do not. While the pod is
// terminating its readiness is still probed; liveness and startup are not.
func (s *Set) follow(p *v1.Pod, podIP string, running []target, terminating bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	pp := s.pods[p.UID]
	if pp == nil {
		if len(running) == 0 {
			return
		}
		pp = &podProbes{ip: podIP, containers: map[string]*container{}}
		s.pods[p.UID] = pp
	}
	kept := map[string]pod.Probes{} // verdicts that outlive their workers
	for id, c := range pp.containers {
		if !runs(running, id) || pp.ip != podIP {
			kept[id] = c.verdict
			c.stop()
			delete(pp.containers, id)
		}
	}
	pp.ip = podIP
	for _, t := range running {
		c := pp.containers[t.id]
		if c == nil {
			if v, known := kept[t.id]; known {
				t.prior = v
			}
			c = s.begin(p, podIP, t)
			pp.containers[t.id] = c
		}
		if terminating {
			c.stop(startup, liveness)
		}
	}
}

func runs(running []target, id string) bool {
	for i := range running {
		if running[i].id == id {
			return true
		}
	}
	return false
}

// Verdicts returns what the probes of a pod have found so far, by container ID.
func (s *Set) Verdicts(uid types.UID) pod.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	pp := s.pods[uid]
	if pp == nil {
		return nil
	}
	h := make(pod.Health, len(pp.containers))
	for id, c := range pp.containers {
		h[id] = c.verdict
	}
	return h
}

// Stop forgets a pod and ends its probes, without waiting for them.
func (s *Set) Stop(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pp := s.pods[uid]; pp != nil {
		for _, c := range pp.containers {
			c.stop()
		}
		delete(s.pods, uid)
	}
}

// Close ends every probe and waits until all have ended. Sync does nothing afterwards.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	for _, pp := range s.pods {
		for _, c := range pp.containers {
			c.stop()
		}
	}
	clear(s.pods)
	s.mu.Unlock()
	s.workers.Wait()
}

// begin starts the probes of one container.
func (s *Set) begin(p *v1.Pod, podIP string, t target) *container {
	c := &container{gate: make(chan struct{}), cancel: map[kind]context.CancelFunc{}}
	spec, role := pod.SpecOf(p, t.name)
	if spec == nil || role == pod.Init || role == pod.Ephemeral {
		return c
	}
	if spec.StartupProbe == nil || t.prior.Startup == pod.Success {
		c.open()
	}
	for _, probe := range []struct {
		kind  kind
		spec  *v1.Probe
		prior pod.Result
	}{
		{startup, spec.StartupProbe, t.prior.Startup},
		{liveness, spec.LivenessProbe, ""},
		{readiness, spec.ReadinessProbe, t.prior.Readiness},
	} {
		if probe.spec == nil {
			continue
		}
		if probe.prior == pod.Success {
			c.set(probe.kind, pod.Success, "")
			if probe.kind == startup {
				continue
			}
		}
		w := &worker{
			kind:   probe.kind,
			spec:   probe.spec,
			check:  s.means.checker(probe.spec, spec, t.id, podIP),
			due:    t.startedAt.Add(pod.Seconds(int64(probe.spec.InitialDelaySeconds))),
			epoch:  s.started,
			jitter: t.startedAt.Before(s.started),
			gate:   c.gate,
			observed: func(reason, message string) {
				s.cfg.Events(p, t.name, v1.EventTypeWarning, reason, message)
			},
			counted: func(result string, took time.Duration) {
				if s.cfg.Probed != nil {
					s.cfg.Probed(string(probe.kind), result, t.name, took, p)
				}
			},
		}
		if probe.spec.Exec != nil {
			w.pace = s.pace
		}
		ctx, cancel := context.WithCancel(context.Background()) // lives as long as the container, not as the pass
		c.cancel[probe.kind] = cancel
		// A verdict that comes after the probe was stopped is none.
		w.report = func(r pod.Result, text string) {
			s.report(p.UID, func() bool { return ctx.Err() == nil && c.set(w.kind, r, text) })
		}
		s.workers.Go(func() { w.run(ctx) })
	}
	return c
}

// report files a verdict of a pod, and wakes its loop when that is news.
func (s *Set) report(uid types.UID, file func() (news bool)) {
	s.mu.Lock()
	news := file()
	s.mu.Unlock()
	if news {
		s.cfg.Poke(uid)
	}
}

// set changes one verdict and says whether it was another before.
func (c *container) set(k kind, r pod.Result, text string) bool {
	at := &c.verdict.Readiness
	switch k {
	case startup:
		at = &c.verdict.Startup
	case liveness:
		at = &c.verdict.Liveness
	}
	if *at == r {
		return false
	}
	*at = r
	if k != readiness && r == pod.Failed {
		c.verdict.Text = text
	}
	if k == startup && r == pod.Success {
		c.open()
	}
	return true
}

func (c *container) open() {
	if !c.opened {
		c.opened = true
		close(c.gate)
	}
}

// stop ends the workers of the given kinds, or all of them.
func (c *container) stop(kinds ...kind) {
	if len(kinds) == 0 {
		kinds = []kind{startup, liveness, readiness}
	}
	for _, k := range kinds {
		if cancel := c.cancel[k]; cancel != nil {
			cancel()
		}
	}
}
