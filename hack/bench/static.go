package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// standalone measures an agent on a manifest directory. The runtime's events tell when a pod's containers run and when
// its sandbox is removed, so that no agent's own API is in the figures. A kubelet leaves a stopped sandbox to a collector
// that comes each minute: its rows of that kind stay empty.
func standalone(t *bench, o options, start starter, out figures) {
	e := testbed.New(t)
	n := start(t, o, e, nil)
	m := &measure{t: t, node: n, out: out, ready: map[string]time.Time{}, gone: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	events, err := n.cd.Runtime().GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	m.check(err)
	var wg sync.WaitGroup
	wg.Go(func() { m.followRuntime(events) })
	defer wg.Wait()
	defer cancel()
	m.size()
	m.idle("standalone, 0 pods", o.idle)
	m.staticOneByOne("warm-up", 1)
	m.staticOneByOne("static", o.pods)
	m.staticBatch("20 static pods", 20, pauses(1), nil)
	m.staticBatch("static pod of 8 containers", 1, pauses(8), nil)
	m.staticBatch("many static pods", o.many, pauses(1), nil)
	m.staticBatch("many static pods", o.many, pauses(1), func() { m.idle("standalone, many pods", o.idle) })
}

// followRuntime notes when the last container of a pod has started, and when its sandbox is removed. The node's name at the
// end of a static pod's name is taken off.
func (m *measure) followRuntime(events runtimeapi.RuntimeService_GetContainerEventsClient) {
	names := map[string]string{}            // by sandbox
	running := map[string]map[string]bool{} // containers, by pod
	for {
		e, err := events.Recv()
		if err != nil {
			return // the measurement is over, or waits in vain and says so
		}
		now := time.Now()
		box := e.GetPodSandboxStatus()
		if box != nil {
			names[box.Id] = strings.TrimSuffix(box.GetMetadata().GetName(), "-"+m.node.name)
		}
		m.mu.Lock()
		switch e.ContainerEventType {
		case runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT:
			if box == nil || e.ContainerId == box.Id {
				break
			}
			name := names[box.Id]
			if running[name] == nil {
				running[name] = map[string]bool{}
			}
			if running[name][e.ContainerId] = true; len(running[name]) == max(m.containers, 1) {
				m.ready[name] = now
			}
		case runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT:
			if name, ok := names[e.ContainerId]; ok {
				m.gone[name] = now
			}
		}
		m.mu.Unlock()
	}
}

func (m *measure) staticOneByOne(what string, n int) {
	var up, down []time.Duration
	for i := range n {
		name := fmt.Sprintf("%s-%d", what, i)
		begin := m.write(name, pauses(1))
		up = append(up, m.wait("the container runs", m.ready, []string{name})[0].Sub(begin))
		begin = m.unlink(name)
		if m.node.leaves {
			m.awaitEmpty(1)
			continue
		}
		down = append(down, m.wait("the sandbox is removed", m.gone, []string{name})[0].Sub(begin))
	}
	m.out["one static pod at a time, file written to running, p50"] = median(up)
	if len(down) > 0 {
		m.out["one static pod at a time, file removed to gone, p50"] = median(down)
	}
}

// staticBatch is batch for pods in files.
func (m *measure) staticBatch(what string, n int, containers []v1.Container, meanwhile func()) {
	m.mu.Lock()
	m.containers = len(containers)
	m.mu.Unlock()
	m.batches++
	var names []string
	begin := time.Now()
	for i := range n {
		names = append(names, fmt.Sprintf("s%d-%d", m.batches, i))
		m.write(names[i], containers)
	}
	at := m.wait("all containers have started", m.ready, names)
	keepBest(m.out, what+", all running", last(at).Sub(begin).Seconds())
	keepBest(m.out, what+", running p50", median(since(begin, at)))
	if meanwhile != nil {
		meanwhile()
	}
	begin = time.Now()
	for _, name := range names {
		m.unlink(name)
	}
	if m.node.leaves {
		m.awaitEmpty(n)
		return
	}
	at = m.wait("all sandboxes are removed", m.gone, names)
	keepBest(m.out, what+", all gone", last(at).Sub(begin).Seconds())
	keepBest(m.out, what+", gone p50", median(since(begin, at)))
}

// awaitEmpty returns when no container runs. It asks seldom, as to ask costs the runtime time.
func (m *measure) awaitEmpty(pods int) {
	interval := min(time.Duration(pods)*20*time.Millisecond, time.Second)
	for begin := time.Now(); ; time.Sleep(interval) {
		list, err := m.node.cd.Runtime().ListContainers(context.Background(), &runtimeapi.ListContainersRequest{
			Filter: &runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}},
		})
		m.check(err)
		if len(list.Containers) == 0 {
			return
		}
		if time.Since(begin) > 3*time.Minute {
			m.t.Fatalf("%d containers still run", len(list.Containers))
		}
	}
}

// write puts a pod in place at once.
func (m *measure) write(name string, containers []v1.Container) time.Time {
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers:\n", name)
	for _, c := range containers {
		fmt.Fprintf(&text, "  - {name: %s, image: %q, imagePullPolicy: Never}\n", c.Name, c.Image)
	}
	tmp := filepath.Join(m.node.static, "."+name)
	m.check(os.WriteFile(tmp, []byte(text.String()), 0o600))
	begin := time.Now()
	m.check(os.Rename(tmp, m.manifest(name)))
	return begin
}

func (m *measure) unlink(name string) time.Time {
	begin := time.Now()
	m.check(os.Remove(m.manifest(name)))
	return begin
}

func (m *measure) manifest(name string) string { return filepath.Join(m.node.static, name+".yaml") }
