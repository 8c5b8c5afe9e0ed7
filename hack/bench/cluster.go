package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// node is an agent that runs.
type node struct {
	name   string
	pid    int
	binary string
	cd     *testbed.Containerd
	static string // its manifest directory
	leaves bool   // it leaves stopped sandboxes where they are for a while
}

// starter starts an agent, joined to a control plane, or standalone without one.
type starter func(t *bench, o options, e *testbed.Env, cp *testbed.ControlPlane) node

// cluster measures an agent through a real API server: pods are created bound to the node, and seen through a watch.
func cluster(t *bench, o options, start starter, out figures) {
	e := testbed.New(t)
	cp := e.ControlPlane()
	n := start(t, o, e, cp)
	m := &measure{t: t, client: cp.Client(), node: n, out: out, ready: map[string]time.Time{}, gone: map[string]time.Time{}}
	testbed.Eventually(t, 60*time.Second, "the node is ready", m.nodeReady)
	ctx, cancel := context.WithCancel(context.Background())
	w, err := m.client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	m.check(err)
	var wg sync.WaitGroup
	wg.Go(func() { m.follow(w) })
	defer wg.Wait()
	defer cancel()
	defer w.Stop()
	m.oneByOne("warm-up", 1)
	m.oneByOne("one", o.pods)
	m.idle("joined, 0 pods", o.idle)
	m.batch("10 pods at once", 10, pauses(1), nil)
	m.batch("pod of 8 containers", 1, pauses(8), nil)
	m.out["pod of 8 containers, to Ready"] = m.out["pod of 8 containers, all Ready"]
	m.batch("many pods at once", o.many, pauses(1), nil)
	m.batch("many pods at once", o.many, pauses(1), func() { m.idle("joined, many pods", o.idle) })
	m.batch("50 pods with 1 s exec readiness probes", 50, probed(), func() { m.idle("50 pods with exec probes", o.idle) })
	for _, what := range []string{"all Ready", "Ready p50", "CPU of the node"} {
		m.out["the same, beside a floor that writes to an API server, "+what] = m.out["many pods at once, "+what]
	}
	m.out["many pods deleted at once, all gone"] = m.out["many pods at once, all gone"]
	m.out["many pods deleted at once, gone p50"] = m.out["many pods at once, gone p50"]
	m.size()
}

// pauses are so many containers that do nothing and end at SIGTERM.
func pauses(n int) []v1.Container {
	var out []v1.Container
	for i := range n {
		out = append(out, v1.Container{Name: fmt.Sprint("c", i), Image: testbed.PauseImage, ImagePullPolicy: v1.PullNever})
	}
	return out
}

// probed is a container whose readiness a command tells each second.
func probed() []v1.Container {
	return []v1.Container{{
		Name: "c", Image: testbed.WebImage, ImagePullPolicy: v1.PullNever,
		ReadinessProbe: &v1.Probe{PeriodSeconds: 1, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"/web", "exit", "0"}}}},
	}}
}

type measure struct {
	t      *bench
	client kubernetes.Interface
	node   node
	out    figures

	mu          sync.Mutex
	ready, gone map[string]time.Time
	batches     int
	containers  int // of each static pod that is waited for; 0 stands for 1
}

func (m *measure) check(err error) {
	if err != nil {
		m.t.Fatalf("a request failed: %v", err)
	}
}

func (m *measure) nodeReady() error {
	n, err := m.client.CoreV1().Nodes().Get(context.Background(), m.node.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions %v", n.Status.Conditions)
}

func (m *measure) follow(w watch.Interface) {
	for e := range w.ResultChan() {
		p, ok := e.Object.(*v1.Pod)
		if !ok {
			continue
		}
		now := time.Now()
		m.mu.Lock()
		if _, seen := m.ready[p.Name]; !seen && isReady(p) {
			m.ready[p.Name] = now
		}
		if e.Type == watch.Deleted {
			m.gone[p.Name] = now
		}
		m.mu.Unlock()
	}
}

func isReady(p *v1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func (m *measure) create(name string, containers []v1.Container) time.Time {
	begin := time.Now()
	_, err := m.client.CoreV1().Pods("default").Create(context.Background(), boundPod(name, m.node.name, containers), metav1.CreateOptions{})
	m.check(err)
	return begin
}

func boundPod(name, node string, containers []v1.Container) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PodSpec{
			NodeName: node, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false), Containers: containers,
		},
	}
}

func (m *measure) remove(name string) time.Time {
	begin := time.Now()
	m.check(m.client.CoreV1().Pods("default").Delete(context.Background(), name, metav1.DeleteOptions{}))
	return begin
}

// wait returns when every name is in the table, with the times at which they came.
func (m *measure) wait(what string, table map[string]time.Time, names []string) []time.Time {
	var at []time.Time
	testbed.Eventually(m.t, 3*time.Minute, what, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		at = at[:0]
		for _, n := range names {
			if when, ok := table[n]; ok {
				at = append(at, when)
			}
		}
		if len(at) < len(names) {
			return fmt.Errorf("%d of %d pods", len(at), len(names))
		}
		return nil
	})
	return at
}

func (m *measure) oneByOne(name string, n int) {
	var up, down []time.Duration
	for i := range n {
		name := fmt.Sprintf("%s-%d", name, i)
		begin := m.create(name, pauses(1))
		up = append(up, m.wait("the pod is ready", m.ready, []string{name})[0].Sub(begin))
		begin = m.remove(name)
		down = append(down, m.wait("the pod is gone", m.gone, []string{name})[0].Sub(begin))
	}
	m.out["one pod at a time, to Ready, p50"], m.out["one pod at a time, deleted to gone, p50"] = median(up), median(down)
}

// batch creates n pods at once, waits until all are ready, does something while they run, and deletes them at once. Of
// several batches of one name the better figures are kept, each by itself.
func (m *measure) batch(what string, n int, containers []v1.Container, meanwhile func()) {
	var names []string
	m.batches++
	cpu, begin := nodeCPU(m.t), time.Now()
	for i := range n {
		names = append(names, fmt.Sprintf("b%d-%d", m.batches, i))
		m.create(names[i], containers)
	}
	at := m.wait("all pods are ready", m.ready, names)
	keepBest(m.out, what+", CPU of the node", nodeCPU(m.t)-cpu)
	keepBest(m.out, what+", all Ready", last(at).Sub(begin).Seconds())
	keepBest(m.out, what+", Ready p50", median(since(begin, at)))
	if meanwhile != nil {
		meanwhile()
	}
	begin = time.Now()
	for _, name := range names {
		m.remove(name)
	}
	at = m.wait("all pods are gone", m.gone, names)
	keepBest(m.out, what+", all gone", last(at).Sub(begin).Seconds())
	keepBest(m.out, what+", gone p50", median(since(begin, at)))
}

// nodeCPU is the CPU time that all processes and the kernel of this machine have had, in seconds.
func nodeCPU(t *bench) float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatalf("cannot read CPU times: %v", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var sum float64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 7 { // its name, idle, waiting, and what was stolen or is counted already
			continue
		}
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatalf("cannot read CPU times from %q", line)
		}
		sum += v / 100
	}
	return sum
}

func since(begin time.Time, at []time.Time) []time.Duration {
	var out []time.Duration
	for _, t := range at {
		out = append(out, t.Sub(begin))
	}
	return out
}

func last(at []time.Time) time.Time {
	var l time.Time
	for _, t := range at {
		if t.After(l) {
			l = t
		}
	}
	return l
}

// idle lets the node settle, then measures the agent's CPU time and wake-ups over a while and its resident memory.
func (m *measure) idle(what string, d time.Duration) {
	time.Sleep(15 * time.Second)
	cpu, switches, begin := m.cpu(), m.switches(), time.Now()
	time.Sleep(d)
	took := time.Since(begin).Seconds()
	m.out["idle CPU, "+what] = 100 * (m.cpu() - cpu).Seconds() / took
	m.out["switches, "+what] = (m.switches() - switches) / took
	m.out["resident memory, "+what] = m.status("status", "VmRSS:") / 1024
	m.out["anonymous memory, "+what] = m.status("status", "RssAnon:") / 1024
}

// cpu is the agent's CPU time so far; the kernel counts it in hundredths of a second.
func (m *measure) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.node.pid))
	m.check(err)
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		m.t.Fatalf("cannot read CPU times from %q", b)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (m *measure) size() {
	st, err := os.Stat(m.node.binary)
	m.check(err)
	m.out["binary"] = float64(st.Size()) / 1e6
}

// switches is how often the agent's threads have given up their CPU so far: each time that one wakes, it does so again.
func (m *measure) switches() float64 {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.node.pid))
	m.check(err)
	var sum float64
	for _, t := range threads {
		sum += m.status("task/"+t.Name()+"/status", "voluntary_ctxt_switches:")
	}
	return sum
}

// status reads a figure of the agent, in KiB where it is memory.
func (m *measure) status(file, key string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.node.pid, file))
	m.check(err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			v, err := strconv.ParseFloat(f[1], 64)
			m.check(err)
			return v
		}
	}
	m.t.Fatalf("the agent's %s does not tell %s did it end?", file, key)
	return 0
}
