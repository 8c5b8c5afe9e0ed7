package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestSummary_CountsAndShowsWhatFailed(t *testing.T) {
	for name, c := range map[string]struct {
		in               string
		shown, notShown  []string
		closing, brief   string
		failures, passed int
	}{
		"a failure": {
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    env.go:9: the end of a log\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: the reason\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p","Elapsed":1.5}
`,
			shown: []string{"the reason", "FAIL\tp\t1.50s\t2 tests"}, notShown: []string{"quiet"},
			closing: "1 passed, 1 failed, 0 skipped", brief: "failed: p TestB\n    b_test.go:7: the reason\n", failures: 1, passed: 1,
		},
		"a package that does not build": {
			in: `{"Action":"build-output","ImportPath":"p","Output":"undefined: x\n"}
{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p"}
`,
			shown: []string{"undefined: x", "FAIL\tp"}, closing: "0 passed, 0 failed", failures: 1,
		},
		"a panic": {
			in: `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: no\n"}
{"Action":"fail","Package":"p","Elapsed":0}
`,
			shown: []string{"panic: no"}, closing: "0 passed, 0 failed", failures: 1,
		},
		"words of go itself": {in: "go: no such thing\n", shown: []string{"go: no such thing"}, closing: "0 passed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &summary{output: map[string][]string{}, tests: map[string]int{}, began: time.Now()}
			var w strings.Builder
			if err := s.read(strings.NewReader(c.in), &w); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.shown {
				if !strings.Contains(w.String(), want) {
					t.Errorf("%q is not in %q", want, w.String())
				}
			}
			for _, no := range c.notShown {
				if strings.Contains(w.String(), no) {
					t.Errorf("%q is in %q", no, w.String())
				}
			}
			if got := s.closing("x"); !strings.Contains(got, c.closing) || !strings.HasSuffix(got, c.brief) || len(s.failures) != c.failures || s.passed != c.passed {
				t.Errorf("closing %q, %d failures; want %q and %q, %d", got, len(s.failures), c.closing, c.brief, c.failures)
			}
		})
	}
}

func TestSummary_NamesTheTestsThatTookLongest(t *testing.T) {
	s := &summary{output: map[string][]string{}, tests: map[string]int{}, slowest: 2, began: time.Now()}
	in := `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}
{"Action":"pass","Package":"p","Test":"TestB/sub","Elapsed":9}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":9.5}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":2}
`
	if err := s.read(strings.NewReader(in), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got, want := s.closing("e2e"), "     9.5 s  TestB\n     2.0 s  TestC\n"; !strings.HasSuffix(got, want) {
		t.Errorf("the summary is %q, want it to end in %q", got, want)
	}
}
