package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// spec is one spec that ran, or a step of the whole suite that failed.
type spec struct {
	name   string
	state  string // passed, skipped (it found that it does not apply), failed, panicked, timedout, interrupted, aborted
	reason string // why it did not pass
}

func (s spec) failed() bool { return s.state != "passed" && s.state != "skipped" }

// readReport reads ginkgo's JSON report. What the focus leaves out stands there too, as skipped for no reason.
func readReport(path string) ([]spec, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct {
				Message  string
				Location struct {
					FileName   string
					LineNumber int
				}
			}
		}
	}
	if err := json.Unmarshal(b, &suites); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	var specs []spec
	for _, suite := range suites {
		for _, r := range suite.SpecReports {
			s := spec{name: strings.Join(append(r.ContainerHierarchyTexts, r.LeafNodeText), " "), state: r.State, reason: r.Failure.Message}
			if r.LeafNodeType != "It" {
				s.name = r.LeafNodeType
			}
			if r.State == "pending" || r.State == "skipped" && s.reason == "" || r.LeafNodeType != "It" && !s.failed() {
				continue
			}
			if s.failed() {
				s.reason += fmt.Sprintf("\nat %s:%d", r.Failure.Location.FileName, r.Failure.Location.LineNumber)
			}
			specs = append(specs, s)
		}
	}
	return specs, nil
}

// printSpecs prints what passed, what did not apply and what failed, the failures last with their reasons, and a closing
// count. It reports whether some passed and none failed.
func printSpecs(w io.Writer, specs []spec) bool {
	order := func(s spec) int {
		switch {
		case s.failed():
			return 2
		case s.state == "skipped":
			return 1
		}
		return 0
	}
	slices.SortFunc(specs, func(a, b spec) int { return cmp.Or(order(a)-order(b), strings.Compare(a.name, b.name)) })
	var count [3]int
	for _, s := range specs {
		count[order(s)]++
		fmt.Fprintf(w, "%s  %s\n", [...]string{"PASS", "SKIP", "FAIL"}[order(s)], s.name)
		for line := range strings.Lines(s.reason) {
			fmt.Fprintf(w, "      %s\n", strings.TrimRight(line, "\n"))
		}
	}
	fmt.Fprintf(w, "%d of %d specs passed, %d failed; %d found that they do not apply here\n", count[0], count[0]+count[2], count[2], count[1])
	return count[0] > 0 && count[2] == 0
}
