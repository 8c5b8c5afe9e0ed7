// Command testsum reads `go test -json` from standard input and prints a line per package as it ends, the output of every
// test that failed, and a closing summary: how many tests ran, failed and were skipped, how long it took, and, when asked,
// which tests took longest. Its exit code is 1 when a test failed, or a package did not build, or nothing ran.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is what cmd/test2json writes; a failed build gives build-output and build-fail with an ImportPath.
type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
	Elapsed                                                float64
}

type summary struct {
	passed, failed, skipped int
	failures                []string            // with what the tests said, in brief
	output                  map[string][]string // of what has not ended, by package and test
	tests                   map[string]int
	took                    []taken // by tests that are no subtests
	slowest                 int     // how many of them the closing summary names
	began                   time.Time
}

type taken struct {
	test    string
	seconds float64
}

func main() {
	title := flag.String("title", "tests", "what the closing summary calls them")
	out := flag.String("out", "", "write the summary to this file, too")
	slowest := flag.Int("slowest", 0, "how many of the tests that took longest the summary names")
	flag.Parse()
	s := &summary{slowest: *slowest, output: map[string][]string{}, tests: map[string]int{}, began: time.Now()}
	if err := s.read(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	text := s.closing(*title)
	fmt.Print(text)
	if *out != "" {
		if err := os.WriteFile(*out, []byte(text), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
	}
	if len(s.failures) > 0 || s.passed == 0 {
		os.Exit(1)
	}
}

func (s *summary) read(r io.Reader, w io.Writer) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(w, line) // not from the tests: go's own words
			} else {
				s.add(e, w)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) add(e event, w io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
		return
	case "build-output":
		fmt.Fprint(w, e.Output)
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	if e.Test == "" {
		s.endPackage(e, w)
	} else {
		s.endTest(e, w)
	}
	delete(s.output, key)
}

func (s *summary) endTest(e event, w io.Writer) {
	s.tests[e.Package]++
	if !strings.Contains(e.Test, "/") {
		s.took = append(s.took, taken{e.Test, e.Elapsed})
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
	case "fail":
		s.failed++
		lines := s.output[e.Package+" "+e.Test]
		s.failures = append(s.failures, e.Package+" "+e.Test+brief(lines))
		fmt.Fprint(w, strings.Join(lines, ""))
	}
}

// brief is what a test said of its failure at first, for those who see only the end of a long log.
func brief(output []string) (text string) {
	const most, width = 3, 400
	n := 0
	for _, line := range output {
		if line = strings.TrimSpace(line); n < most && said.MatchString(line) {
			n++
			text += "\n    " + strings.ToValidUTF8(line[:min(len(line), width)], "")
		}
	}
	return text
}

// said is how the testing package begins a line of a test.
var said = regexp.MustCompile(`^[a-z0-9_]+_test\.go:[0-9]+: `)

func (s *summary) endPackage(e event, w io.Writer) {
	name, n := e.Package, s.tests[e.Package]
	switch {
	case e.Action == "fail":
		// A panic, a data race or a time limit is told by the package, or by a test that never ended.
		failedTest := slices.ContainsFunc(s.failures, func(f string) bool { return strings.HasPrefix(f, name+" ") })
		for key, lines := range s.output {
			if strings.HasPrefix(key, name+" ") && (!failedTest || key != name+" ") {
				fmt.Fprint(w, strings.Join(lines, ""))
			}
		}
		if !failedTest {
			s.failures = append(s.failures, name+" (the package)")
		}
		fmt.Fprintf(w, "FAIL\t%s\t%.2fs\t%d tests\n", name, e.Elapsed, n)
	case e.Action == "pass" && n > 0:
		fmt.Fprintf(w, "ok  \t%s\t%.2fs\t%d tests\n", name, e.Elapsed, n)
	}
}

func (s *summary) closing(title string) string {
	text := fmt.Sprintf("%s: %d passed, %d failed, %d skipped in %s\n", title, s.passed, s.failed, s.skipped, time.Since(s.began).Round(100*time.Millisecond))
	slices.SortStableFunc(s.took, func(a, b taken) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, t := range s.took[:min(s.slowest, len(s.took))] {
		text += fmt.Sprintf("  %6.1f s  %s\n", t.seconds, t.test)
	}
	for _, f := range s.failures {
		text += "  failed: " + f + "\n"
	}
	return text
}
