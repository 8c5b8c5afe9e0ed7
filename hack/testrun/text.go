package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// ended is what is printed when a package or a test has ended. With open, the verdict on a package that failed comes later.
func ended(p *pkg, t *test, open bool) string {
	if t != nil {
		if t.end == failed {
			return t.said()
		}
		return ""
	}
	if p.end != failed {
		return newline(p.line())
	}
	var b strings.Builder
	// What did not end is told of here: a panic, or the time limit, is among the output of the test that ran.
	for _, t := range p.tests {
		if t.end == "" {
			b.WriteString(t.said())
		}
	}
	bad := len(p.bad())
	for _, s := range p.output {
		if bad == 0 || !p.whole {
			b.WriteString(withoutVerdict(s))
		}
	}
	if open && bad > 0 {
		fmt.Fprintf(&b, "....\t%s\t%.2fs\t%d tests failed or did not end; the verdict comes when all others are done\n", p.name, p.seconds, bad)
		return b.String()
	}
	return b.String() + p.line() + "\n"
}

// withoutVerdict leaves out go test's own closing lines: the package's line says the same.
func withoutVerdict(s string) string {
	if s == "PASS\n" || s == "FAIL\n" || strings.HasPrefix(s, "FAIL\t") {
		return ""
	}
	return s
}

func newline(s string) string {
	if s == "" {
		return ""
	}
	return s + "\n"
}

// secondText is what is printed of a test that was run again.
func (t *test) secondText() string {
	switch {
	case !t.passedAgain():
		return fmt.Sprintf("%sFAILED\t%s\t%s: by itself, too\n", t.second.said(), t.pkg, t.name)
	case !t.flaky():
		return fmt.Sprintf("passed\t%s\t%s: it did not begin before, because another test took the package down\n", t.pkg, t.name)
	}
	return fmt.Sprintf("FLAKY\t%s\t%s: it failed, and passed by itself\n--- when it failed:\n%s--- when it passed:\n%s--- end of %s\n",
		t.pkg, t.name, t.said(), t.second.said(), t.name)
}

// line is a package's, as go test writes it, with the number of its tests. It is empty for one that passed without tests.
func (p *pkg) line() string {
	n, flakes := 0, 0
	for _, t := range p.tests {
		n += len(t.ends)
		if t.flaky() {
			flakes++
		}
	}
	word := "ok  "
	switch {
	case !p.good():
		word = "FAIL"
	case n == 0:
		return ""
	}
	text := fmt.Sprintf("%s\t%s\t%.2fs\t%d tests", word, p.name, p.seconds, n)
	if flakes > 0 {
		text += fmt.Sprintf(", %d flaky", flakes)
	}
	return text
}

// text is the closing summary. It counts flakes where tests may be run again.
func (s *summary) text(title string, flakes bool, slowest int, took time.Duration) string {
	var b strings.Builder
	// The lines of many packages stand above, and would push out of sight what matters here.
	for _, p := range s.packages {
		if text := p.line(); text != "" && (len(s.packages) <= 5 || p.end == failed) {
			fmt.Fprintln(&b, text)
		}
	}
	fmt.Fprintf(&b, "%s: %d passed, %d failed, ", title, s.passed, s.failed)
	if flakes {
		fmt.Fprintf(&b, "%d flaky, ", len(s.flakes))
	}
	fmt.Fprintf(&b, "%d skipped in %s\n", s.skipped, took.Round(100*time.Millisecond))
	for _, t := range s.took[:min(slowest, len(s.took))] {
		fmt.Fprintf(&b, "  %6.1f s  %s\n", t.seconds, t.name)
	}
	for _, f := range s.flakes {
		fmt.Fprintf(&b, "  flaky: %s\n", f)
	}
	for _, f := range s.failures {
		fmt.Fprintf(&b, "  failed: %s\n", f)
	}
	return b.String()
}

// goFailed counts an error of go test itself. Exit code 1 is that of tests that failed; with none of them seen, something
// else did.
func (s *summary) goFailed(err error) {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if ok && exit.ExitCode() == 1 && len(s.failures)+len(s.flakes) > 0 {
		return
	}
	if err != nil {
		s.failures = append(s.failures, fmt.Sprintf("go test: %v", err))
	}
}
