// Command conformance runs Kubernetes' own end-to-end suite on minikubelet: a control plane, a containerd and one agent of
// their own, the suite's images made on this machine, and the specs that are chosen. It prints each spec that ran by name
// with how it ended, and a closing count; exit code 1 says that one failed, or that none ran.
//
//	go run ./hack/conformance [-focus REGEXP] [-skip REGEXP] [-procs 6] [-out bin/conformance]
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

type options struct {
	focus, skip string
	procs       int
	out         string // of the suite's output, its report, and the components' logs
}

func main() {
	var o options
	flag.StringVar(&o.focus, "focus", cmp.Or(os.Getenv("FOCUS"), `\[NodeConformance\]`), "specs to run, a regular expression on their names")
	flag.StringVar(&o.skip, "skip", cmp.Or(os.Getenv("SKIP"), `\[Serial\]|\[Disruptive\]|\[Flaky\]|\[Slow\]|\[Alpha\]`), "specs not to run")
	flag.IntVar(&o.procs, "procs", 6, "specs at once")
	flag.StringVar(&o.out, "out", filepath.Join("bin", "conformance"), "directory of the suite's output, its report, and all logs")
	flag.Parse()
	var specs []spec
	ok := testbed.RunProgram("conformance", func(t *testbed.Program) { specs = suite(t, o) })
	if passed := printSpecs(os.Stdout, specs); !ok || !passed {
		fmt.Fprintf(os.Stderr, "conformance: the suite's output, its report and all logs are in %s\n", o.out)
		os.Exit(1)
	}
}

// suite makes the node, runs the suite on it, and returns how each spec ended.
func suite(t *testbed.Program, o options) []spec {
	out, err := filepath.Abs(o.out)
	if err = errors.Join(err, os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		t.Fatalf("cannot make the directory of the suite's output: %v", err)
	}
	e := testbed.New(t)
	defer func() {
		if err := os.CopyFS(filepath.Join(out, "log"), os.DirFS(filepath.Join(e.Dir, "log"))); err != nil {
			t.Logf("cannot keep the components' logs: %v", err)
		}
	}()
	cp := e.ControlPlane()
	registry := e.Registry(testbed.RegistryConfig{})
	cd := e.Containerd(testbed.ContainerdConfig{Mirror: registry})
	t.Logf("making the suite's images")
	provide(t, e, made(t), registry, cd)
	a := e.Agent(testbed.AgentConfig{Containerd: cd, ControlPlane: cp})
	if _, err := cp.Kubectl("wait", "--for=condition=Ready", "--timeout=60s", "node/"+a.NodeName); err != nil {
		t.Fatalf("the node does not become ready: %v", err)
	}
	t.Logf("running the suite, %d specs at once; a dot is a spec that ended", o.procs)
	runSuite(t, e, cp, o, out)
	specs, err := readReport(filepath.Join(out, reportFile))
	if err != nil {
		t.Fatalf("cannot tell how the suite went: %v; see %s", err, filepath.Join(out, "suite.log"))
	}
	return specs
}

const reportFile = "report.json"

func runSuite(t *testbed.Program, e *testbed.Env, cp *testbed.ControlPlane, o options, out string) {
	log, err := os.Create(filepath.Join(out, "suite.log"))
	if err != nil {
		t.Fatalf("cannot write the suite's output: %v", err)
	}
	defer log.Close()
	kubectl := testbed.Tool(t, "kubectl")
	cmd := exec.Command(testbed.Tool(t, "ginkgo"), "run", "--nodes="+strconv.Itoa(o.procs), "--focus="+o.focus, "--skip="+o.skip,
		"--timeout=6h", "--no-color", "--silence-skips", "--json-report="+reportFile, "--output-dir="+out, testbed.Tool(t, "e2e.test"),
		"--", "--provider=skeleton", "--kubeconfig="+cp.AdminKubeconfig, "--kubectl-path="+kubectl, "--num-nodes=1", "--node-os-distro=debian")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(kubectl)+":"+os.Getenv("PATH"))
	cmd.Stdout = io.MultiWriter(log, dots{os.Stderr})
	e.Start("ginkgo", cmd).Wait(6*time.Hour + time.Minute) // the report tells what its exit code does, by name
	fmt.Fprintln(os.Stderr)
}

// dots lets through only the dot by which ginkgo marks the end of each spec.
type dots struct{ to io.Writer }

func (d dots) Write(p []byte) (int, error) {
	for _, r := range string(p) {
		if r == '•' {
			fmt.Fprint(d.to, ".")
		}
	}
	return len(p), nil
}
