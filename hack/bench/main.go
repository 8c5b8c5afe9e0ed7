// Command bench measures, in one run on one machine, the floor of bare CRI calls, minikubelet, and a kubelet when its
// binary is given, on the rows that matter to a node: how soon a pod is ready, how soon it is gone, a hundred at once,
// resident memory and idle CPU. Absolute times drift from machine to machine: compare the ratios.
//
//	go run ./hack/bench [-kubelet PATH] [-pods 20] [-many 100] [-only standalone]
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

type options struct {
	kubelet string
	pods    int // measured one at a time
	many    int // at once
	idle    time.Duration
	only    string
	floor   bool
}

// figures are one contender's measurements by row; a row that it does not have is absent.
type figures map[string]float64

// row is one line of the table. Floor names the row of bare calls that it is compared with, "" for none.
type row struct {
	name, unit, floor string
	goal              goal
}

// goal is what minikubelet is to reach: at most factor times the figure of another, and plus on top, which alone is a fixed
// figure.
type goal struct {
	factor  float64
	kubelet bool // times the kubelet's figure of the row, else the floor's
	plus    float64
}

// known returns the goal as a figure, if what it rests on was measured.
func (g goal) known(floor, kubelet figures, r row) (float64, bool) {
	base, ok := 0.0, g.plus > 0
	switch {
	case g.factor > 0 && g.kubelet:
		base, ok = kubelet[r.name], kubelet[r.name] > 0
	case g.factor > 0:
		base, ok = floor[r.floor], floor[r.floor] > 0
	}
	return g.factor*base + g.plus, ok
}

var rows = []row{
	{"one static pod at a time, file written to running, p50", "s", "one pod, up, p50", goal{factor: 1.15, plus: 0.02}},
	{"one static pod at a time, file removed to gone, p50", "s", "one pod, away, p50", goal{factor: 1.15, plus: 0.02}},
	{"one pod at a time, to Ready, p50", "s", "one pod, up, p50", goal{factor: 1.15, plus: 0.02}},
	{"one pod at a time, deleted to gone, p50", "s", "one pod, away, p50", goal{factor: 1.2, plus: 0.04}},
	{"10 pods at once, all Ready", "s", "10 pods, up, all", goal{}},
	{"10 pods at once, Ready p50", "s", "10 pods, up, p50", goal{}},
	{"20 static pods, all running", "s", "20 pods, up, all", goal{}},
	{"20 static pods, running p50", "s", "20 pods, up, p50", goal{}},
	{"many static pods, all running", "s", "many pods, up, all", goal{factor: 1.1}},
	{"many static pods, running p50", "s", "many pods, up, p50", goal{factor: 0.5, kubelet: true}},
	{"many static pods, all gone", "s", "many pods, away, all", goal{}},
	{"many static pods, gone p50", "s", "many pods, away, p50", goal{}},
	{"many pods at once, all Ready", "s", "many pods, up, all", goal{factor: 1.1}},
	{"many pods at once, Ready p50", "s", "many pods, up, p50", goal{factor: 0.5, kubelet: true}},
	{"many pods at once, CPU of the node", "s", "many pods, up, CPU", goal{}},
	{"the same, beside a floor that writes to an API server, all Ready", "s", "many pods, told, all", goal{}},
	{"the same, beside a floor that writes to an API server, Ready p50", "s", "many pods, told, p50", goal{}},
	{"the same, beside a floor that writes to an API server, CPU of the node", "s", "many pods, told, CPU", goal{}},
	{"many pods deleted at once, all gone", "s", "many pods, away, all", goal{}},
	{"many pods deleted at once, gone p50", "s", "many pods, away, p50", goal{}},
	{"static pod of 8 containers, all running", "s", "8 containers, up", goal{factor: 1, kubelet: true}},
	{"pod of 8 containers, to Ready", "s", "8 containers, up", goal{factor: 1, kubelet: true}},
	{"50 pods with 1 s exec readiness probes, all Ready", "s", "", goal{}},
	{"50 pods with 1 s exec readiness probes, Ready p50", "s", "", goal{}},
	{"idle CPU, standalone, 0 pods", "% of a core", "", goal{}},
	{"idle CPU, standalone, many pods", "% of a core", "", goal{plus: 0.5}},
	{"idle CPU, joined, 0 pods", "% of a core", "", goal{}},
	{"idle CPU, joined, many pods", "% of a core", "", goal{plus: 0.7}},
	{"idle CPU, 50 pods with exec probes", "% of a core", "", goal{factor: 0.5, kubelet: true}},
	{"switches, standalone, 0 pods", "context switches per s", "", goal{}},
	{"switches, standalone, many pods", "context switches per s", "", goal{}},
	{"switches, joined, many pods", "context switches per s", "", goal{}},
	{"resident memory, standalone, 0 pods", "MiB", "", goal{plus: 25}},
	{"resident memory, standalone, many pods", "MiB", "", goal{plus: 40}},
	{"resident memory, joined, 0 pods", "MiB", "", goal{plus: 32}},
	{"resident memory, joined, many pods", "MiB", "", goal{plus: 48}},
	{"anonymous memory, standalone, many pods", "MiB", "", goal{}},
	{"anonymous memory, joined, many pods", "MiB", "", goal{}},
	{"binary", "MB", "", goal{plus: 40}},
}

func main() {
	var o options
	flag.StringVar(&o.kubelet, "kubelet", os.Getenv("KUBELET_BIN"), "a kubelet's binary to measure beside")
	flag.IntVar(&o.pods, "pods", 20, "pods measured one at a time")
	flag.IntVar(&o.many, "many", 100, "pods at once")
	flag.DurationVar(&o.idle, "idle", 20*time.Second, "how long idle CPU is measured")
	flag.StringVar(&o.only, "only", "", "measure but one side: standalone or joined")
	flag.BoolVar(&o.floor, "floor", true, "measure the floor; without it there are no ratios, but memory and CPU sooner")
	flag.Parse()
	results := map[string]figures{}
	names := []string{"floor", "minikubelet"}
	ok := !o.floor || run(func(t *bench) { results["floor"] = floor(t, o) })
	ok = ok && contender(o, results, "minikubelet", startMinikubelet)
	if o.kubelet != "" {
		names = append(names, "kubelet")
		ok = contender(o, results, "kubelet", startKubelet) && ok
	}
	print(o, names, results)
	if !ok {
		os.Exit(1)
	}
}

// contender measures one agent, joined to a cluster and then on its own.
func contender(o options, results map[string]figures, name string, start starter) bool {
	results[name] = figures{}
	ok := o.only == "standalone" || run(func(t *bench) { cluster(t, o, start, results[name]) })
	return (o.only == "joined" || run(func(t *bench) { standalone(t, o, start, results[name]) })) && ok
}

// bench is the T of a contender's environment.
type bench = testbed.Program

func run(f func(*bench)) bool { return testbed.RunProgram("bench", f) }

func print(o options, names []string, results map[string]figures) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintf(w, "\nmany = %d pods\t%s", o.many, strings.Join(names, "\t"))
	for _, n := range names[1:] {
		fmt.Fprintf(w, "\t%s : floor", n)
	}
	fmt.Fprintln(w, "\tgoal, at most\t")
	floor := results["floor"]
	for _, r := range rows {
		if !slices.ContainsFunc(names, func(n string) bool { _, has := results[n][r.name]; return has }) {
			continue // not measured in this run
		}
		fmt.Fprintf(w, "%s (%s)", r.name, r.unit)
		base, hasBase := floor[r.floor]
		for i, n := range names {
			v, has := results[n][r.name]
			if i == 0 {
				v, has = base, hasBase
			}
			fmt.Fprint(w, "\t", number(v, has))
		}
		for _, n := range names[1:] {
			v, has := results[n][r.name]
			fmt.Fprint(w, "\t", number(v/base, has && hasBase))
		}
		most, known := r.goal.known(floor, results["kubelet"], r)
		got, has := results["minikubelet"][r.name]
		verdict := ""
		if known && has && got <= most {
			verdict = "reached"
		} else if known && has {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "\t%s\t%s\n", number(most, known), verdict)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func number(v float64, has bool) string {
	if !has {
		return "-"
	}
	if v >= 20 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// median of durations, in seconds.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds()
}
