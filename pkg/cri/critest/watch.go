package critest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

// watch gives the pokes of this pod and of all pods, from a watcher that ends with the test.
func (p *sandboxed) watch(t *testing.T) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	pokes := make(chan string, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		cri.NewWatcher(p.Client, slog.New(slog.DiscardHandler)).Watch(ctx, func(uid string, _ time.Time) {
			if uid != "" && uid != string(p.spec.UID) {
				return
			}
			select {
			case pokes <- uid:
			default:
			}
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return pokes
}

func (p *sandboxed) await(t *testing.T, pokes <-chan string, uid string, within time.Duration) {
	t.Helper()
	deadline := time.After(within)
	for {
		select {
		case got := <-pokes:
			if got == uid {
				return
			}
		case <-deadline:
			t.Fatalf("no poke of %q within %s", uid, within)
		}
	}
}

func (s Suite) testWatch(t *testing.T) {
	p := s.run(t, v1.Container{Name: "main", Command: []string{"sleep", "600"}})
	p.start(t, p.containers[0])
	pokes := p.watch(t)
	p.await(t, pokes, "", 5*time.Second)
	if err := s.Client.StopContainer(t.Context(), p.containers[0], 0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.await(t, pokes, string(p.spec.UID), s.Within)
	t.Logf("poked %s after the container was stopped", time.Since(began).Round(time.Millisecond))
	if _, containers := p.look(t); only(t, containers).ExitCode != 137 || containers[0].Reason != "Error" {
		t.Errorf("a container that was killed: %+v", containers)
	}
}

func (s Suite) testRestart(t *testing.T) {
	p := s.run(t, v1.Container{Name: "main", Command: []string{"sleep", "600"}})
	p.start(t, p.containers[0])
	pokes := p.watch(t)
	p.await(t, pokes, "", 5*time.Second)
	s.Restart()
	p.await(t, pokes, "", 15*time.Second)
	if _, containers := p.look(t); len(containers) != 1 || containers[0].State != "Running" {
		t.Errorf("after a restart of the runtime: %+v", containers)
	}
	if err := s.Client.StopContainer(t.Context(), p.containers[0], 0); err != nil {
		t.Fatal(err)
	}
	p.await(t, pokes, string(p.spec.UID), s.Within)
}
