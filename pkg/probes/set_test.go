package probes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// node is a runtime whose containers answer exec probes by the first word of the command.
type node struct {
	mu      sync.Mutex
	epoch   time.Time
	answers map[string]int // exit code by command; -1: cannot be run
	calls   []string       // "2s liveness"
	events  []string
	pokes   int
	takes   time.Duration // a command
}

func newNode() *node { return &node{epoch: time.Now(), answers: map[string]int{}} }

func (n *node) config() Config {
	return Config{Exec: n.exec, Events: n.event, Poke: n.poke}
}

func (n *node) exec(_ context.Context, id string, cmd []string, _ time.Duration) ([]byte, int, error) {
	n.mu.Lock()
	n.calls = append(n.calls, fmt.Sprintf("%v %s", time.Since(n.epoch), cmd[0]))
	takes := n.takes
	n.mu.Unlock()
	time.Sleep(takes)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.answers[cmd[0]] < 0 {
		return nil, 0, errors.New("no such file")
	}
	return []byte("said " + cmd[0]), n.answers[cmd[0]], nil
}

func (n *node) event(_ *v1.Pod, c, typ, reason, message string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, fmt.Sprintf("%s %s %s %s", c, typ, reason, message))
}

func (n *node) poke(types.UID) { n.mu.Lock(); n.pokes++; n.mu.Unlock() }

func (n *node) answer(cmd string, code int) { n.mu.Lock(); n.answers[cmd] = code; n.mu.Unlock() }

// take returns the calls since the last take.
func (n *node) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.calls
	n.calls = nil
	return c
}

func execProbe(name string, period int32) *v1.Probe {
	return &v1.Probe{
		ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{name}}}, PeriodSeconds: period, FailureThreshold: 2,
	}
}

func onePod(c v1.Container) *v1.Pod {
	c.Name = "c"
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", Name: "p", Namespace: "n"}, Spec: v1.PodSpec{Containers: []v1.Container{c}}}
}

func running(id string) []target {
	return []target{{name: "c", id: id, startedAt: time.Now()}}
}

func TestSet_StartupGatesTheOthersAndStartsThemAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.answer("startup", 1)
		s := New(n.config())
		defer s.Close()
		startup := execProbe("startup", 3)
		startup.FailureThreshold = 10
		p := onePod(v1.Container{
			StartupProbe: startup, LivenessProbe: execProbe("liveness", 2), ReadinessProbe: execProbe("readiness", 10),
		})
		p.Spec.Containers[0].LivenessProbe.InitialDelaySeconds = 5 // over by the time that startup succeeds
		s.follow(p, "10.0.0.1", running("id"), false)

		time.Sleep(4 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s startup", "3s startup"}, n.take()); diff != "" {
			t.Errorf("before startup succeeds: %s", diff)
		}
		n.answer("startup", 0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		got := n.take()
		slices.Sort(got)
		if diff := cmp.Diff([]string{"6s liveness", "6s readiness", "6s startup", "8s liveness"}, got); diff != "" {
			t.Errorf("after startup succeeded: %s", diff)
		}
		want := pod.Health{"id": {Startup: pod.Success, Liveness: pod.Success, Readiness: pod.Success}}
		if diff := cmp.Diff(want, s.Verdicts("u")); diff != "" {
			t.Error(diff)
		}
	})
}

// Each command takes 300 ms. While pods come up, those of four containers that are well run one after the other: none is left
// out, and one that hangs holds up nobody for long. The first of a container waits for nobody.
func TestSet_CommandsThatAreAnsweredWellRunOneByOneWhilePodsComeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.takes = 300 * time.Millisecond
		cfg, calm := n.config(), make(chan struct{})
		var over atomic.Bool
		cfg.Crowd = func() <-chan struct{} {
			if over.Load() {
				return nil
			}
			return calm
		}
		s := New(cfg)
		defer s.Close()
		for i := range 4 {
			p := onePod(v1.Container{ReadinessProbe: execProbe("ready", 1)})
			p.UID = types.UID(fmt.Sprint(i))
			s.follow(p, "", running(fmt.Sprint("id", i)), false)
		}
		began := func(until time.Duration) (at []string) {
			time.Sleep(until - time.Since(n.epoch))
			synctest.Wait()
			return n.take()
		}
		if got := began(900 * time.Millisecond); len(got) != 4 || got[3] != "0s ready" {
			t.Errorf("first checks: %v, want four at once", got)
		}
		want := []string{"1s ready", "1.3s ready", "1.6s ready", "1.9s ready"}
		if d := cmp.Diff(want, began(2100 * time.Millisecond)[:4]); d != "" {
			t.Errorf("while pods come up (-want +got):\n%s", d)
		}
		all := began(9 * time.Second)
		if n := len(all); n < 20 || n > 26 {
			t.Errorf("%d checks in 7 seconds, want about one each 0.3: %v", n, all)
		}
		n.mu.Lock()
		n.takes = 3 * time.Second
		n.mu.Unlock()
		all = began(12 * time.Second)
		if n := len(all); n < 4 {
			t.Errorf("%d checks that hang began in 3 seconds, want one each half: %v", n, all)
		}
		n.mu.Lock()
		n.takes = 300 * time.Millisecond
		n.mu.Unlock()
		over.Store(true)
		close(calm)
		began(16 * time.Second)
		if got := began(17*time.Second + 50*time.Millisecond); len(got) < 4 {
			t.Errorf("when they are up: %v, want four in a second", got)
		}
	})
}

func TestSet_AllButFirstChecksBeginAtTheSameTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := New(n.config())
		defer s.Close()
		for i, uid := range []types.UID{"a", "b", "c"} {
			p := onePod(v1.Container{ReadinessProbe: execProbe(string(uid), int32(1+i))})
			p.UID = uid
			s.follow(p, "", []target{{name: "c", id: string(uid), startedAt: time.Now()}}, false)
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		got := n.take()
		slices.Sort(got)
		want := []string{"0s a", "1s a", "2.1s b", "2s a", "3.1s c", "30ms b", "3s a", "4.1s b", "4s a", "60ms c"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSet_LivenessStopsAtItsVerdictAndGoesOnWithTheNextContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.answer("liveness", 7)
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{LivenessProbe: execProbe("liveness", 1)})
		p.Spec.Containers[0].LivenessProbe.InitialDelaySeconds = 3
		s.follow(p, "", running("one"), false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{"3s liveness", "4s liveness"}, n.take()); diff != "" {
			t.Error(diff)
		}
		want := pod.Health{"one": {Liveness: pod.Failed, Text: "said liveness"}}
		if diff := cmp.Diff(want, s.Verdicts("u")); diff != "" {
			t.Error(diff)
		}
		event := "c Warning Unhealthy Liveness probe failed: said liveness"
		if diff := cmp.Diff([]string{event, event}, n.events); diff != "" {
			t.Error(diff)
		}
		if n.pokes != 1 {
			t.Errorf("%d pokes, want one for one change", n.pokes)
		}

		s.follow(p, "", running("one"), false) // another pass must not begin it again
		s.follow(p, "", nil, false)
		if got := s.Verdicts("u"); len(got) != 0 {
			t.Errorf("a container that is gone has verdicts: %v", got)
		}
		n.answer("liveness", 0)
		s.follow(p, "", running("two"), false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1m3s liveness"}, n.take()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSet_WhileTerminatingOnlyReadinessIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{LivenessProbe: execProbe("liveness", 1), ReadinessProbe: execProbe("readiness", 2)})
		targets := running("id")
		s.follow(p, "", targets, false)
		time.Sleep(500 * time.Millisecond)
		n.take()
		s.follow(p, "", targets, true)
		n.answer("readiness", 1)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"2s readiness", "4s readiness"}, n.take()); diff != "" {
			t.Error(diff)
		}
		if got := s.Verdicts("u")["id"].Readiness; got != pod.Failed {
			t.Errorf("readiness %q, want failure", got)
		}
	})
}

func TestSet_PriorSuccessStandsUntilTheProbeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		began := time.Now()
		time.Sleep(time.Hour)
		n.epoch = time.Now()
		n.answer("readiness", 1)
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{StartupProbe: execProbe("startup", 1), ReadinessProbe: execProbe("readiness", 10)})
		prior := pod.Probes{Startup: pod.Success, Readiness: pod.Success}
		s.follow(p, "", []target{{name: "c", id: "id", startedAt: began, prior: prior}}, false)
		if diff := cmp.Diff(pod.Health{"id": prior}, s.Verdicts("u")); diff != "" {
			t.Error(diff)
		}
		time.Sleep(10 * time.Second) // start jitter: the first check is within one period
		synctest.Wait()
		if got := n.take(); len(got) != 1 {
			t.Errorf("within the first period: %v, want one check of readiness and none of startup", got)
		}
		if diff := cmp.Diff(pod.Health{"id": prior}, s.Verdicts("u")); diff != "" {
			t.Errorf("after one failure of two: %s", diff)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := s.Verdicts("u")["id"].Readiness; got != pod.Failed {
			t.Errorf("after two failures: %q", got)
		}
	})
}

func TestSet_ACheckThatCannotBeMadeCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.answer("liveness", -1)
		s := New(n.config())
		defer s.Close()
		s.follow(onePod(v1.Container{LivenessProbe: execProbe("liveness", 1)}), "", running("id"), false)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if got := len(n.take()); got != 3*attempts {
			t.Errorf("%d calls, want %d tries at each of three checks", got, attempts)
		}
		if diff := cmp.Diff(pod.Health{"id": {}}, s.Verdicts("u")); diff != "" {
			t.Error(diff)
		}
		if want := "c Warning Unhealthy Liveness probe errored and resulted in unknown state: no such file"; n.events[0] != want {
			t.Errorf("event %q, want %q", n.events[0], want)
		}
	})
}

func TestSet_ANewPodIPRestartsTheProbesAndKeepsTheVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{ReadinessProbe: execProbe("readiness", 5)})
		targets := running("id")
		s.follow(p, "10.0.0.1", targets, false)
		synctest.Wait()
		s.follow(p, "10.0.0.2", targets, false)
		if got := s.Verdicts("u")["id"].Readiness; got != pod.Success {
			t.Errorf("readiness %q after the address changed", got)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := n.take(); len(got) != 2 {
			t.Errorf("calls %v, want one by each worker", got)
		}
	})
}

func TestSet_StopAndCloseEndEveryWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		n := newNode()
		s := New(n.config())
		p := onePod(v1.Container{
			StartupProbe: execProbe("startup", 1), LivenessProbe: execProbe("liveness", 1), ReadinessProbe: execProbe("readiness", 1),
		})
		s.follow(p, "", running("id"), false)
		s.Stop("u")
		s.follow(p, "", running("id"), false)
		s.Close()
		s.follow(p, "", running("id"), false)
		if s.Verdicts("u") != nil {
			t.Error("a closed set has verdicts")
		}
	})
}

func TestSet_InitAndEphemeralContainersAreNotProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := New(n.config())
		defer s.Close()
		p := onePod(v1.Container{LivenessProbe: execProbe("liveness", 1)})
		p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers, nil
		s.follow(p, "", running("id"), false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := n.take(); got != nil {
			t.Errorf("probed %v", got)
		}
	})
}
