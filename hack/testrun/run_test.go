package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// firstTime is true once per name: the marks outlive the test binary.
const firstTime = `
func firstTime(t *testing.T) bool {
	err := os.Mkdir(os.Getenv("MARKS") + "/" + strings.ReplaceAll(t.Name(), "/", "."), 0o700)
	if err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return err == nil
}
`

// module writes a module with one test file per package, and returns a run of all of them with a short time limit.
func module(t *testing.T, packages map[string]string) (*run, *strings.Builder) {
	t.Helper()
	dir := t.TempDir()
	write := func(content string, path ...string) {
		path = append([]string{dir}, path...)
		name := filepath.Join(path...)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("module m\n\ngo 1.26\n", "go.mod")
	write("", "marks", "README")
	for name, tests := range packages {
		write("package "+name+"\n\nimport (\n\t\"os\"\n\t\"strings\"\n\t\"testing\"\n)\n"+firstTime+tests, name, "x_test.go")
	}
	out := &strings.Builder{}
	return &run{
		title: "tests", again: 10, flags: []string{"-p=1", "-count=1", "-timeout=5s"}, paths: []string{"./..."},
		dir: dir, env: []string{"MARKS=" + filepath.Join(dir, "marks"), "GOWORK=off"}, out: out,
	}, out
}

func holds(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the output", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestRun_IsGoodWithFlakesAlone(t *testing.T) {
	t.Parallel()
	r, out := module(t, map[string]string{
		"flaky": `
func TestFlaky(t *testing.T) {
	t.Run("sub", func(t *testing.T) {
		if firstTime(t) {
			t.Fatal("not yet")
		}
		t.Log("better now")
	})
}
func TestGood(t *testing.T) {
	if !firstTime(t) {
		t.Fatal("it passed, and was run again")
	}
}`,
		"hangs": `
func TestHangs(t *testing.T) {
	if firstTime(t) {
		<-make(chan int)
	}
}
func TestBehind(t *testing.T) {}`,
		"panics": `
func TestPanics(t *testing.T) {
	if firstTime(t) {
		panic("no")
	}
}`,
	})
	text, ok := r.all()
	if !ok {
		t.Error("the run is no good one")
	}
	holds(t, out.String(), "FLAKY\tm/flaky\tTestFlaky", "x_test.go:20: not yet", "x_test.go:22: better now",
		"FLAKY\tm/hangs\tTestHangs", "panic: test timed out", "passed\tm/hangs\tTestBehind", "FLAKY\tm/panics\tTestPanics", "panic: no")
	holds(t, text, "ok  \tm/flaky\t", "ok  \tm/hangs\t", "ok  \tm/panics\t", "tests: 3 passed, 0 failed, 3 flaky, 0 skipped", "  flaky: m/flaky TestFlaky\n")
	if strings.Contains(out.String(), "FAIL\t") || strings.Contains(text, "failed: ") {
		t.Errorf("a good run says FAIL:\n%s", out)
	}
}

func TestRun_FailsWithWhatFailsTwice(t *testing.T) {
	t.Parallel()
	r, out := module(t, map[string]string{
		"fails": `
func TestFails(t *testing.T) { t.Error("never") }
func TestFlaky(t *testing.T) {
	if firstTime(t) {
		t.Fatal("not yet")
	}
}`,
		"panics":   `func TestPanics(t *testing.T) { panic("no") }`,
		"broken":   `func TestBroken(t *testing.T) { x() }`,
		"testmain": "func TestMain(m *testing.M) { m.Run(); os.Exit(3) }\n" + `func TestGood(t *testing.T) {}`,
	})
	text, ok := r.all()
	if ok {
		t.Error("the run is a good one")
	}
	holds(t, out.String(), "undefined: x", "FAILED\tm/fails\tTestFails", "FLAKY\tm/fails\tTestFlaky", "FAILED\tm/panics\tTestPanics")
	holds(t, text, "FAIL\tm/broken\t", "FAIL\tm/fails\t", "FAIL\tm/panics\t", "FAIL\tm/testmain\t", "tests: 1 passed, 2 failed, 1 flaky, 0 skipped",
		"failed: m/broken (the package)", "failed: m/fails TestFails\n    x_test.go:17: never", "failed: m/panics TestPanics\n    panic: no", "failed: m/testmain (the package)")
}

func TestRun_RunsNothingAgainUnlessAsked(t *testing.T) {
	t.Parallel()
	r, _ := module(t, map[string]string{"flaky": "func TestFlaky(t *testing.T) { if firstTime(t) { t.Fatal(1) } }"})
	r.again = 0
	text, ok := r.all()
	if ok {
		t.Error("the run is a good one")
	}
	holds(t, text, "tests: 0 passed, 1 failed, 0 skipped")
}

func TestRun_FailsWithoutTests(t *testing.T) {
	t.Parallel()
	for name, paths := range map[string][]string{"no such package": {"./none"}, "no such flag": {"-none", "./..."}} {
		r, out := module(t, map[string]string{"good": "func TestGood(t *testing.T) {}"})
		r.paths = paths
		if text, ok := r.all(); ok || !strings.Contains(text, "failed: ") {
			t.Errorf("%s: ok is %v\n%s", name, ok, out)
		}
	}
}
