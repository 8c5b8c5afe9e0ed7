package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded are the results of streams below testdata, as go test -json wrote them; of a panic only the first lines are kept.
func recorded(t *testing.T, names ...string) *results {
	t.Helper()
	res := &results{}
	for _, name := range names {
		f, err := os.Open(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := read(f, io.Discard, func(e event) { res.add(e) }); err != nil {
			t.Fatal(err)
		}
	}
	return res
}

// second sets how every test went that is run again.
func second(tests []*test, end string) {
	for _, t := range tests {
		t.second = &test{pkg: t.pkg, name: t.name, end: end, ends: map[string]string{t.name: end}}
	}
}

func TestAgain_ChoosesWhatFailedOrDidNotEnd(t *testing.T) {
	for name, c := range map[string]struct {
		streams []string
		listed  []string // of the package that died
		want    []string
	}{
		"a test whose subtest failed": {streams: []string{"fails"}, want: []string{"TestTable"}},
		"a panic takes others down": {
			streams: []string{"panics"}, listed: []string{"TestBefore", "TestWaits", "TestPanics", "TestAfter"},
			want: []string{"TestWaits", "TestPanics", "TestAfter"},
		},
		"the time limit":                   {streams: []string{"hangs"}, listed: []string{"TestBefore", "TestHangs", "TestAfter"}, want: []string{"TestHangs", "TestAfter"}},
		"a build that fails has no test":   {streams: []string{"broken"}},
		"a TestMain that fails has none":   {streams: []string{"testmain"}},
		"one package of several":           {streams: []string{"testmain", "fails", "broken"}, want: []string{"TestTable"}},
		"a package without tests that ran": {streams: nil},
	} {
		t.Run(name, func(t *testing.T) {
			res := recorded(t, c.streams...)
			for _, p := range res.packages {
				if p.died() != (c.listed != nil) {
					t.Errorf("died is %v of %s", p.died(), p.name)
				}
				if p.died() {
					p.neverBegan(c.listed)
				}
			}
			tests, refusal := again(res.packages, 10)
			var got []string
			for _, one := range tests {
				got = append(got, one.name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || refusal != "" {
				t.Errorf("run again (-want +got):\n%s%s", diff, refusal)
			}
		})
	}
}

func TestAgain_RefusesManyFailures(t *testing.T) {
	res := recorded(t, "panics", "fails")
	if tests, refusal := again(res.packages, 2); len(tests) != 0 || !strings.HasPrefix(refusal, "3 tests failed") {
		t.Errorf("again gives %d tests, %q", len(tests), refusal)
	}
}

func TestSum_JudgesTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		streams  []string
		listed   []string
		second   string // how each test goes that is run again; "" is not at all
		ok       bool
		contains []string
	}{
		"a failure": {
			streams: []string{"fails"},
			contains: []string{"FAIL\tm/fails\t0.50s\t5 tests\n", "e2e: 2 passed, 2 failed, 0 flaky, 1 skipped in 1s\n",
				"  failed: m/fails TestTable/one\n    x_test.go:8: no one\n  failed: m/fails TestTable\n"},
		},
		"a failure twice": {
			streams: []string{"fails"}, second: failed,
			contains: []string{"FAIL\tm/fails", "2 passed, 2 failed, 0 flaky", "failed: m/fails TestTable/one"},
		},
		"a flake": {
			streams: []string{"fails"}, second: passed, ok: true,
			contains: []string{"ok  \tm/fails\t0.50s\t5 tests, 1 flaky\n", "1 passed, 0 failed, 1 flaky, 1 skipped", "  flaky: m/fails TestTable\n    x_test.go:8: no one\n"},
		},
		"skipped the second time is not passed": {streams: []string{"fails"}, second: skipped, contains: []string{"2 failed, 0 flaky"}},
		"flakes that took a package down": {
			streams: []string{"panics"}, listed: []string{"TestAfter"}, second: passed, ok: true,
			contains: []string{"ok  \tm/panics", "2 passed, 0 failed, 2 flaky", "flaky: m/panics TestPanics\n    x_test.go:10: hello\n    panic: no"},
		},
		"a package that is taken down for good": {
			streams: []string{"hangs"}, listed: []string{"TestAfter"}, second: failed,
			contains: []string{"FAIL\tm/hangs", "1 passed, 2 failed", "failed: m/hangs TestHangs\n    x_test.go:7: hanging\n    panic: test timed out after 2s\n", "failed: m/hangs TestAfter\n"},
		},
		"tests that never began are no list": {
			streams: []string{"hangs"}, listed: []string{"TestAfter", "TestLast"},
			contains: []string{"1 passed, 3 failed", "failed: m/hangs: 2 tests did not begin\n"},
		},
		"a build beside a flake": {
			streams: []string{"broken", "fails"}, second: passed,
			contains: []string{"FAIL\tm/broken", "ok  \tm/fails", "failed: m/broken (the package)\n"},
		},
		"a TestMain that fails": {streams: []string{"testmain"}, second: passed, contains: []string{"FAIL\tm/testmain", "1 passed, 0 failed", "failed: m/testmain (the package)\n"}},
		"nothing":               {contains: []string{"0 passed, 0 failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			res := recorded(t, c.streams...)
			for _, p := range res.packages {
				if p.died() {
					p.neverBegan(c.listed)
				}
			}
			if c.second != "" {
				tests, _ := again(res.packages, 10)
				second(tests, c.second)
			}
			s := sum(res.packages)
			text := s.text("e2e", true, 0, time.Second)
			for _, want := range c.contains {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
			if s.ok() != c.ok {
				t.Errorf("ok is %v:\n%s", s.ok(), text)
			}
		})
	}
}

func TestSum_NamesTheTestsThatTookLongest(t *testing.T) {
	res := &results{}
	in := `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}
{"Action":"pass","Package":"p","Test":"TestB/sub","Elapsed":9}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":9.5}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":2}
`
	if err := read(strings.NewReader(in), io.Discard, func(e event) { res.add(e) }); err != nil {
		t.Fatal(err)
	}
	if got, want := sum(res.packages).text("e2e", false, 2, 0), "     9.5 s  TestB\n     2.0 s  TestC\n"; !strings.Contains(got, want) {
		t.Errorf("the summary is %q, want %q in it", got, want)
	}
}

func TestSecondRun_PassesOnlyWithItsPackage(t *testing.T) {
	one := &test{pkg: "m/testmain", name: "TestGood"}
	if got := secondRun(recorded(t, "testmain"), one); got.end != failed {
		t.Errorf("the test ended with %q, though TestMain failed", got.end)
	}
	one.pkg = "m/fails"
	if got := secondRun(recorded(t, "broken"), one); got.end == passed {
		t.Error("a test that did not run passed")
	}
}

func TestEnded_ShowsWhatFailedAlone(t *testing.T) {
	for name, c := range map[string]struct {
		stream          string
		open            bool
		shown, notShown []string
	}{
		"a failure":          {stream: "fails", shown: []string{"x_test.go:8: no one", "--- FAIL: TestTable/one", "FAIL\tm/fails\t0.50s\t5 tests\n"}, notShown: []string{"TestTable/two", "TestGood", "TestSkipped"}},
		"an open verdict":    {stream: "fails", open: true, shown: []string{"no one", "....\tm/fails\t0.50s\t1 tests"}, notShown: []string{"FAIL\t"}},
		"a panic":            {stream: "panics", open: true, shown: []string{"panic: no", "....\tm/panics\t0.50s\t2 tests"}, notShown: []string{"TestBefore", "FAIL\t"}},
		"the time limit":     {stream: "hangs", shown: []string{"hanging", "panic: test timed out", "FAIL\tm/hangs\t0.50s\t2 tests\n"}},
		"a build that fails": {stream: "broken", open: true, shown: []string{"undefined: x", "FAIL\tm/broken"}},
		"a TestMain":         {stream: "testmain", open: true, shown: []string{"FAIL\tm/testmain"}, notShown: []string{"...."}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", c.stream+".json"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var out strings.Builder
			res := &results{}
			err = read(f, &out, func(e event) {
				if p, one := res.add(e); p != nil || one != nil {
					out.WriteString(ended(p, one, c.open))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.shown {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out.String())
				}
			}
			if i := slices.IndexFunc(c.notShown, func(no string) bool { return strings.Contains(out.String(), no) }); i >= 0 {
				t.Errorf("%q is in\n%s", c.notShown[i], out.String())
			}
		})
	}
}

func TestRead_PassesOnWhatIsNoEvent(t *testing.T) {
	var out strings.Builder
	in := "go: no such thing\n{\"ImportPath\":\"p\",\"Action\":\"build-output\",\"Output\":\"undefined: x\\n\"}\n"
	if err := read(strings.NewReader(in), &out, func(e event) { t.Errorf("an event: %v", e) }); err != nil {
		t.Fatal(err)
	}
	if want := "go: no such thing\nundefined: x\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

func TestSplit_PartsFlagsFromPackages(t *testing.T) {
	flags, paths, err := split([]string{"-p", "1", "--", "./a", "./b"})
	if err != nil || strings.Join(flags, " ") != "-p 1" || strings.Join(paths, " ") != "./a ./b" {
		t.Errorf("flags %q, packages %q, %v", flags, paths, err)
	}
	for _, args := range [][]string{{"-p", "1", "./a"}, {"-p", "1", "--"}} {
		if _, _, err := split(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
