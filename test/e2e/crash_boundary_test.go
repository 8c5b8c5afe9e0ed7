package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/minikubelet/minikubelet/pkg/sync/plan"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// A crashPod's life in two halves: it comes up, and it goes away. What it never meets another test is for.
const (
	comesUp   = "comes up"
	goesAway  = "goes away"
	elsewhere = "elsewhere"
)

// crashTimes says how often a crashPod's life meets each kind of action, at least, and in which half. The plan's list of
// kinds is held against it: a new kind of action has to be given its moment here.
var crashTimes = map[plan.Kind]struct {
	half  string
	times int
}{
	plan.CgroupCreate:    {comesUp, 1},
	plan.VolumeMount:     {comesUp, 3},
	plan.VolumeRefresh:   {elsewhere, 1}, // in TestCrash_WhileAVolumeIsRefreshed: crashPod's volumes stay as they are
	plan.ImagePull:       {comesUp, 4},
	plan.ImageLook:       {elsewhere, 1}, // in TestImages_ImportedByHandAreNoticed: no image is missing here, and a look changes nothing
	plan.SandboxCreate:   {comesUp, 1},
	plan.ContainerStart:  {comesUp, 4},
	plan.PostStart:       {comesUp, 1},
	plan.PodResize:       {elsewhere, 1}, // in TestJoined_ResizesPodsThatRun: a file's pod is never resized
	plan.PreStop:         {goesAway, 1},  // of the sidecar
	plan.ContainerStop:   {goesAway, 3},
	plan.ContainerRemove: {goesAway, 4},
	plan.SandboxStop:     {goesAway, 1},
	plan.SandboxRemove:   {goesAway, 1},
	plan.VolumeUnmount:   {goesAway, 3},
	plan.CgroupRemove:    {goesAway, 1},
	plan.DirRemove:       {goesAway, 1},
}

// crashAnywhere are the moments that belong to no kind of action: the agent is killed at the first of them, at the second,
// and so on, for as long as half a life has one more. The number is that of which there must be at least.
var crashAnywhere = map[string]map[string]int{
	comesUp:  {"record:before": 8, "record:after": 8, "event:after": 8},
	goesAway: {"record:before": 4, "record:after": 4, "event:after": 3},
}

// moments are those of one half of a life at which the agent is still to be killed.
type moments struct {
	fixed []string
	open  []string // without their number
	next  int      // of the first of open
	least map[string]int
}

func crashMoments(t *testing.T, half string) *moments {
	t.Helper()
	m := &moments{next: 1, least: crashAnywhere[half], open: slices.Sorted(maps.Keys(crashAnywhere[half]))}
	for _, kind := range actionKinds(t) {
		c, known := crashTimes[kind]
		if !known {
			t.Fatalf("there is no test that kills the agent around an action of kind %s: add it to crashTimes, and to crashPod if that has none", kind)
		}
		if c.half != half {
			continue
		}
		for n := range c.times {
			m.fixed = append(m.fixed, fmt.Sprintf("%s:before:%d", kind, n+1), fmt.Sprintf("%s:after:%d", kind, n+1))
		}
	}
	return m
}

// take is the next moment, or false when all are through.
func (m *moments) take() (string, bool) {
	switch {
	case len(m.fixed) > 0:
		return m.fixed[0], true
	case len(m.open) > 0:
		return fmt.Sprintf("%s:%d", m.open[0], m.next), true
	}
	return "", false
}

// met tells what came of the moment that take has given.
func (m *moments) met(t *testing.T, met bool) {
	t.Helper()
	switch {
	case len(m.fixed) > 0:
		if !met {
			t.Errorf("the agent did not meet %s", m.fixed[0])
		}
		m.fixed = m.fixed[1:]
	case len(m.open) > 0 && met:
		m.next++
	case len(m.open) > 0:
		if least := m.least[m.open[0]]; m.next <= least {
			t.Errorf("the agent met %s %d times, want at least %d", m.open[0], m.next-1, least)
		}
		m.open, m.next = m.open[1:], 1
	}
}

// TestCrash_AtEveryBoundary kills the agent before, after and inside each kind of action, and around each record that it
// writes, while a pod comes up and again while it goes away. Started again, the agent finishes the work: what ran goes on
// running, nothing runs twice but what the runtime killed while it started, nothing stays.
func TestCrash_AtEveryBoundary(t *testing.T) {
	t.Parallel()
	n := newCrashNode(t)
	ups, downs := crashMoments(t, comesUp), crashMoments(t, goesAway)
	for i := 0; ; i++ {
		up, more := ups.take()
		down, evenMore := downs.take()
		if !more && !evenMore {
			break
		}
		if !t.Run(up+","+down, func(t *testing.T) {
			n := *n
			n.t = t
			name := fmt.Sprintf("p%d", i)
			var cut map[string]int
			ups.met(t, n.through(name, up, func() { n.add(name, crashPod) }, func(before map[string]string) error {
				if before != nil { // the agent has died, maybe while the runtime started a container
					cut = n.cutOff(name)
				}
				return n.upBut(name, before, cut)
			}))
			downs.met(t, n.through(name, down, func() { n.a.RemoveManifest(name + ".yaml") }, func(map[string]string) error {
				return n.nothingLeft()
			}))
			for _, container := range crashContainers {
				if ran := n.ran(name, container); ran < 1 || ran > 1+cut[container] {
					t.Errorf("container %s has run %d times", container, ran)
				}
			}
			for _, hook := range []string{"prestop", "sideprestop"} {
				if ran := n.ran(name, hook); ran < 1 || ran > 2 {
					t.Errorf("%s has run %d times", hook, ran)
				}
			}
		}) {
			break
		}
	}
	n.quiet()
}

// through starts the agent so that it kills itself at a moment, lets something happen, and waits until the node is as it
// should be: started again, when it has died, with the containers that had run by then. It reports whether it died. At the
// end no agent runs.
func (n *crashNode) through(name, at string, happen func(), settled func(before map[string]string) error) (died bool) {
	n.t.Helper()
	if at == "" {
		n.a.Start()
	} else {
		n.a.Launch("MINIKUBELET_TEST_KILL_AT=" + at)
	}
	happen()
	var before map[string]string
	testbed.Eventually(n.t, crashSoon, "all is well after "+at, func() error {
		if !n.a.Process().Running() {
			if died {
				n.t.Fatalf("the agent ended a second time")
			}
			died = true
			if code := n.a.Process().Wait(crashSoon); code != -1 {
				n.t.Fatalf("the agent ended with code %d", code)
			}
			before = n.ids(name)
			n.a.Start()
		}
		return settled(before)
	})
	n.a.Kill()
	return died
}
