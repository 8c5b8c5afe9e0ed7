package main

import (
	"cmp"
	"fmt"
	"slices"
)

// again returns the tests to run once more, each by itself: those that failed, and those that a panic or the time limit
// of their package kept from ending or from beginning. Of more than most of them it returns none, and says why.
func again(pkgs []*pkg, most int) (tests []*test, refusal string) {
	for _, p := range pkgs {
		tests = append(tests, p.bad()...)
	}
	if len(tests) > most {
		return nil, fmt.Sprintf("%d tests failed or did not end; more than %d are no matter of chance: none is run again", len(tests), most)
	}
	return tests, ""
}

// died says that tests of a package may never have begun, because one of them took it down.
func (p *pkg) died() bool { return !p.whole && len(p.bad()) > 0 }

// neverBegan adds those of a package's tests that have not begun. They did not end either.
func (p *pkg) neverBegan(all []string) {
	for _, name := range all {
		if p.test(name) == nil {
			p.tests = append(p.tests, &test{pkg: p.name, name: name})
		}
	}
}

// bad are the tests of a package that failed or did not end, if it failed.
func (p *pkg) bad() (tests []*test) {
	if p.end == passed || p.end == skipped {
		return nil
	}
	for _, t := range p.tests {
		if t.end == failed || t.end == "" {
			tests = append(tests, t)
		}
	}
	return tests
}

// secondRun is how a test went by itself. It passed only if its package did too: TestMain may fail what the test did not.
func secondRun(r *results, t *test) *test {
	p := r.pkg(t.pkg)
	second := p.test(t.name)
	if second == nil {
		second = &test{pkg: t.pkg, name: t.name}
	}
	if p.end != passed && second.end == passed {
		second.end = failed
	}
	return second
}

func (t *test) passedAgain() bool { return t.second != nil && t.second.end == passed }

// flaky is not what did not begin the first time: that is the fault of another test.
func (t *test) flaky() bool { return t.passedAgain() && t.ends != nil }

// good says whether a package passed, perhaps by what was run again. One that failed without a test did not: a build, TestMain.
func (p *pkg) good() bool {
	if p.end == passed || p.end == skipped {
		return true
	}
	bad := p.bad()
	return len(bad) > 0 && !slices.ContainsFunc(bad, func(t *test) bool { return !t.passedAgain() })
}

// summary is what is said at the end of a run and of what was run again.
type summary struct {
	passed, failed, skipped int
	flakes, failures        []string // with what the tests said, in brief
	packages                []*pkg
	took                    []*test
}

func sum(pkgs []*pkg) *summary {
	s := &summary{packages: pkgs}
	for _, p := range pkgs {
		never := 0
		for _, t := range p.tests {
			s.took = append(s.took, t)
			switch {
			case p.end == passed || p.end == skipped || t.end == passed || t.end == skipped:
				s.count(t)
			case t.flaky():
				s.count(t.second)
				s.passed-- // it is counted as a flake
				s.flakes = append(s.flakes, t.flake())
			case t.passedAgain():
				s.count(t.second)
			case t.ends == nil && t.second == nil:
				s.failed++
				never++
			default:
				s.count(t)
				s.failures = append(s.failures, t.failures()...)
			}
		}
		if never > 0 {
			s.failures = append(s.failures, fmt.Sprintf("%s: %d tests did not begin", p.name, never))
		}
		if !p.good() && len(p.bad()) == 0 {
			s.failures = append(s.failures, p.name+" (the package)")
		}
	}
	slices.SortStableFunc(s.took, func(a, b *test) int { return cmp.Compare(b.seconds, a.seconds) })
	return s
}

// failures are a line for each test and subtest that failed, with its reasons in brief.
func (t *test) failures() (lines []string) {
	if t.ends == nil {
		return []string{t.pkg + " " + t.name + t.second.brief(t.name)}
	}
	for _, name := range t.unwell() {
		lines = append(lines, t.pkg+" "+name+t.brief(name))
	}
	return lines
}

// flake is a line for a test, with the reasons in brief for which it and its subtests failed the first time.
func (t *test) flake() string {
	text := t.pkg + " " + t.name
	for _, name := range t.unwell() {
		text += t.brief(name)
	}
	return text
}

// count adds a test and its subtests. What did not end has failed.
func (s *summary) count(t *test) {
	if t.ends == nil {
		s.failed++
	}
	for _, end := range t.ends {
		switch end {
		case passed:
			s.passed++
		case skipped:
			s.skipped++
		default:
			s.failed++
		}
	}
}

func (s *summary) ok() bool { return len(s.failures) == 0 && s.passed+len(s.flakes) > 0 }
