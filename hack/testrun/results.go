package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// event is what `go test -json` writes (go doc cmd/test2json); a failed build gives build-output with an ImportPath.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// How a test or a package ended. One that did not has "".
const (
	passed  = "pass"
	failed  = "fail"
	skipped = "skip"
)

// results are what one run of go test said.
type results struct {
	packages []*pkg
	keep     bool // the output of tests that passed
}

type pkg struct {
	name    string
	end     string
	seconds float64
	whole   bool // its test binary ran to its end: no panic, no time limit, no exit from within
	tests   []*test
	output  []string // of no test
}

// test is one that is no subtest, together with its subtests.
type test struct {
	pkg, name string
	end       string
	seconds   float64
	lines     []line            // of all of them, as they came
	ends      map[string]string // by full name; nil when it never began
	second    *test             // how it went by itself, when it was run again
}

type line struct{ test, text string }

// add takes an event, and returns the package or the test that ended with it.
func (r *results) add(e event) (*pkg, *test) {
	if e.Package == "" {
		return nil, nil
	}
	p := r.pkg(e.Package)
	if e.Test != "" {
		return nil, p.add(e, r.keep)
	}
	switch e.Action {
	case "output":
		// A test binary writes this line when it has run all of its tests, and test2json tells it from a test's own output.
		p.whole = p.whole || e.Output == "PASS\n" || e.Output == "FAIL\n"
		p.output = append(p.output, e.Output)
	case passed, failed, skipped:
		p.end, p.seconds = e.Action, e.Elapsed
		return p, nil
	}
	return nil, nil
}

func (r *results) pkg(name string) *pkg {
	i := slices.IndexFunc(r.packages, func(p *pkg) bool { return p.name == name })
	if i < 0 {
		i = len(r.packages)
		r.packages = append(r.packages, &pkg{name: name})
	}
	return r.packages[i]
}

func (p *pkg) test(name string) *test {
	if i := slices.IndexFunc(p.tests, func(t *test) bool { return t.name == name }); i >= 0 {
		return p.tests[i]
	}
	return nil
}

// add returns the test when it ended with this event.
func (p *pkg) add(e event, keep bool) *test {
	name, _, isSub := strings.Cut(e.Test, "/")
	t := p.test(name)
	if t == nil {
		t = &test{pkg: p.name, name: name, ends: map[string]string{}}
		p.tests = append(p.tests, t)
	}
	switch e.Action {
	case "run":
		t.ends[e.Test] = ""
	case "output":
		t.lines = append(t.lines, line{e.Test, e.Output})
	case passed, failed, skipped:
		t.ends[e.Test] = e.Action
		if isSub {
			return nil
		}
		t.end, t.seconds = e.Action, e.Elapsed
		if t.end != failed && !keep {
			t.lines = nil
		}
		return t
	}
	return nil
}

// said is the output of what failed or did not end. Of a test that passed it is all.
func (t *test) said() string {
	var b strings.Builder
	for _, l := range t.lines {
		if end := t.ends[l.test]; t.end == passed || end == failed || end == "" {
			b.WriteString(l.text)
		}
	}
	return b.String()
}

// unwell names what failed or did not end, the innermost first.
func (t *test) unwell() (names []string) {
	for name, end := range t.ends {
		if end == failed || end == "" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Count(b, "/")-strings.Count(a, "/"), strings.Compare(a, b))
	})
	return names
}

// brief is what a test said of its failure at first, for those who see only the end of a long log.
func (t *test) brief(name string) (text string) {
	const most, width = 3, 400
	n := 0
	for _, l := range t.lines {
		if s := strings.TrimSpace(l.text); l.test == name && n < most && reason.MatchString(s) {
			n++
			text += "\n    " + strings.ToValidUTF8(s[:min(len(s), width)], "")
		}
	}
	return text
}

// reason matches how the testing package begins a line of a test, and how a panic begins.
var reason = regexp.MustCompile(`^([a-z0-9_]+_test\.go:[0-9]+|panic): `)
