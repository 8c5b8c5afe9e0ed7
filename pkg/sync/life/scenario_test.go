package life_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/life"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

var update = flag.Bool("update", false, "write the outcomes into testdata/*.txt")

// TestLife_Scenarios plays testdata/*.txt: a behaviour or bug in a comment, a pod's spec in YAML between "given" and an
// empty line, then one step a line:
//
//	pass                        one decision; what it says is compared with the indented lines after it
//	settle                      decisions whose actions all succeed, until nothing is left to do
//	ok KEY, fail KEY CLASS TEXT the end of an action in flight; half KEY CLASS TEXT: one that leaves something behind
//	exit NAME CODE, lose        a container ends, the sandbox is lost
//	startup|liveness NAME RESULT, image NAME REF
//	stop BY GRACE [remove] [REASON]
//	forget                      record and specification are lost
//	crash KEY HOW               the agent dies; the action has had no effect (0), half of it (1), all of it (2)
//	wait DURATION
//
// In a key, a container's ID is its name and attempt; the keys of a pull and of a look leave the image out.
func TestLife_Scenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o640); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update to accept (-want +got):\n%s", diff)
			}
		})
	}
}

type player struct {
	t *testing.T
	w *world
	a *agent
}

func play(t *testing.T, text string) string {
	var out, spec strings.Builder
	var p *player
	given := false
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case given && line != "":
			spec.WriteString(line + "\n")
		case given:
			given, p = false, newPlayer(t, spec.String())
		case line == "given":
			given = true
		case strings.HasPrefix(line, "  "):
			continue
		case line != "" && line[0] != '#':
			out.WriteString(line + "\n" + p.step(strings.Fields(line)))
			continue
		}
		out.WriteString(line + "\n")
	}
	if p == nil {
		t.Fatal("the scenario has no pod")
	}
	for _, b := range p.w.broken {
		t.Error(b)
	}
	return out.String()
}

func newPlayer(t *testing.T, spec string) *player {
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID, p.Generation = "p", "ns", "u", 1
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	if p.Spec.RestartPolicy == "" {
		p.Spec.RestartPolicy = v1.RestartPolicyAlways
	}
	w := &world{
		rng: rand.New(rand.NewPCG(1, 1)), now: epoch, pod: p, script: true, mounts: map[string]pod.Mount{},
		runs: map[string]uint32{}, inits: map[string]bool{}, waits: map[string]wait{}, hooked: map[string]bool{}, counts: map[string]int32{}, last: map[string]bool{}, owed: map[string]bool{},
	}
	a := newAgent(w, pod.Desired{Pod: p, Source: pod.SourceAPI})
	a.probes = pod.Health{}
	return &player{t: t, w: w, a: a}
}

// step does one line of a scenario and returns what it says.
func (p *player) step(f []string) string {
	w, a := p.w, p.a
	switch f[0] {
	case "pass":
		return p.told(a.pass())
	case "settle":
		return p.settle()
	case "ok":
		p.end(f[1], nil)
	case "fail":
		p.end(f[1], f[2:])
	case "half":
		i := slices.IndexFunc(a.flights, func(x flight) bool { return p.key(x.Action) == f[1] })
		w.apply(a.flights[max(i, 0)].Action, 1)
		p.end(f[1], f[2:])
	case "exit":
		code, err := strconv.Atoi(f[2])
		if err != nil {
			p.t.Fatal(err)
		}
		w.kill(p.con(f[1]), int32(code), true)
	case "lose":
		w.boxes[0].Ready = false
	case "startup", "liveness":
		h := a.probes[p.con(f[1]).ID]
		if f[0] == "startup" {
			h.Startup = pod.Result(f[2])
		} else {
			h.Liveness = pod.Result(f[2])
		}
		a.probes[p.con(f[1]).ID] = h
	case "image":
		w.change(f[1], f[2])
		a.desired.Pod = w.pod
	case "stop":
		p.order(f)
	case "crash":
		p.crash(f[1:])
	case "forget":
		w.disk = pod.Record{}
		w.pod = &v1.Pod{ObjectMeta: w.pod.ObjectMeta}
		p.a = newAgent(w, pod.Desired{Pod: w.pod})
		p.a.probes = pod.Health{}
	case "wait":
		w.now = w.now.Add(p.duration(f[1]))
	default:
		p.t.Fatalf("no such step: %v", f)
	}
	return ""
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) con(name string) *con {
	for _, c := range p.w.cons {
		if c.Name == name {
			return c
		}
	}
	p.t.Fatalf("there is no container %s", name)
	return nil
}

func (p *player) order(f []string) {
	s := &pod.Stop{By: f[1], Grace: p.duration(f[2]), At: p.w.now}
	for _, word := range f[3:] {
		if word == "remove" {
			s.Remove = true
		} else {
			s.Reason = word
		}
	}
	p.a.desired.Stop = pod.Stricter(p.a.desired.Stop, s)
}

func (p *player) crash(f []string) {
	for _, x := range p.a.flights {
		if len(f) == 2 && p.key(x.Action) == f[0] {
			how, err := strconv.Atoi(f[1])
			if err != nil {
				p.t.Fatal(err)
			}
			p.w.apply(x.Action, how)
		}
	}
	p.a.flights = nil
	p.a = p.a.crash()
	p.a.probes = pod.Health{}
}

// end ends an action in flight, with a class and a text when it failed.
func (p *player) end(key string, failed []string) {
	i := slices.IndexFunc(p.a.flights, func(f flight) bool { return p.key(f.Action) == key })
	if i < 0 {
		p.t.Fatalf("%s is not in flight", key)
	}
	x := p.a.flights[i].Action
	p.a.flights = slices.Delete(slices.Clone(p.a.flights), i, i+1)
	if failed != nil {
		p.a.end(life.Result{Action: x, Err: &pod.Error{Class: failed[0], Err: errors.New(strings.Join(failed[1:], " "))}})
		return
	}
	p.w.apply(x, 2)
	p.a.end(life.Result{Action: x})
}

// settle passes until no action is left, each of which succeeds at once.
func (p *player) settle() string {
	var out strings.Builder
	for range 50 {
		t := p.a.pass()
		if len(p.a.flights) == 0 {
			return out.String() + p.told(t)
		}
		for _, x := range slices.Clone(p.a.flights) {
			key := p.key(x.Action)
			p.end(key, nil)
			fmt.Fprintf(&out, "  %s\n", key)
		}
	}
	p.t.Fatal("the pod does not settle")
	return ""
}

// key is an action's key with a container's name and attempt for its ID.
func (p *player) key(x plan.Action) string {
	if c := p.w.con(x.ID); c != nil && x.Kind != plan.ContainerStart {
		return fmt.Sprintf("%s/%s.%d", x.Kind, c.Name, c.Attempt)
	}
	if x.Kind == plan.ImagePull || x.Kind == plan.ImageLook {
		return string(x.Kind) + "/" + x.Name
	}
	return x.Key()
}

// told is a decision as scenarios have it.
func (p *player) told(d life.Turn) string {
	var out strings.Builder
	for _, x := range d.Actions {
		fmt.Fprintf(&out, "  do %s", p.key(x))
		if x.Kind == plan.ContainerStart || x.Kind == plan.ImagePull || x.Kind == plan.SandboxCreate {
			fmt.Fprintf(&out, " attempt=%d", x.Attempt)
		}
		if x.Kind == plan.ContainerStart && x.ID != "" {
			out.WriteString(" of the container that is there")
		}
		if x.Kind == plan.ContainerStop {
			fmt.Fprintf(&out, " grace=%s", x.Deadline.Sub(p.w.now))
		}
		if x.PreStop {
			out.WriteString(" preStop")
		}
		if x.Reason != "" {
			fmt.Fprintf(&out, " %q", x.Reason)
		}
		out.WriteString("\n")
	}
	for _, f := range p.a.flights {
		if f.canceled {
			fmt.Fprintf(&out, "  cancel %s\n", p.key(f.Action))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Waiting)) {
		who := name
		if who == "" {
			who = "the pod"
		}
		fmt.Fprintf(&out, "  %s waits: %s", who, d.Waiting[name].Reason)
		if m := d.Waiting[name].Message; m != "" {
			out.WriteString(": " + m)
		}
		out.WriteString("\n")
	}
	if !d.WakeAt.IsZero() {
		fmt.Fprintf(&out, "  wake in %s\n", d.WakeAt.Sub(p.w.now))
	}
	if d.Verdict != nil {
		fmt.Fprintf(&out, "  verdict %s %s\n", d.Verdict.Phase, d.Verdict.Reason)
	}
	if d.Done {
		out.WriteString("  done\n")
	}
	fmt.Fprintf(&out, "  %s", d.Record.Status.Phase)
	for _, list := range [][]v1.ContainerStatus{d.Record.Status.InitContainerStatuses, d.Record.Status.ContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&out, " %s=%s/%d", c.Name, short(c), c.RestartCount)
		}
	}
	return out.String() + "\n"
}

func short(c v1.ContainerStatus) string {
	switch {
	case c.State.Running != nil && c.Ready:
		return "ready"
	case c.State.Running != nil:
		return "running"
	case c.State.Terminated != nil:
		return fmt.Sprintf("exit%d", c.State.Terminated.ExitCode)
	}
	return "waiting"
}
