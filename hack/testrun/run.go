package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	againEach = 10 * time.Minute // most that one test may take when it is run again
	againAll  = 15 * time.Minute // most that all of them may take: a run that hangs must end, too
)

// all runs the tests, then again what failed, and returns the closing summary, which it has printed.
func (r *run) all() (text string, ok bool) {
	began := time.Now()
	res := &results{}
	// The verdict on a package that failed is open until its tests have been run again.
	err := r.goTest(res, r.flags, r.paths, func(p *pkg, t *test) {
		fmt.Fprint(r.out, ended(p, t, r.again > 0))
	})
	var lists error
	if r.again > 0 {
		lists = r.secondRuns(res.packages)
	}
	s := sum(res.packages)
	s.goFailed(err)
	if lists != nil {
		s.failures = append(s.failures, lists.Error())
	}
	text = s.text(r.title, r.again > 0, r.slowest, time.Since(began))
	fmt.Fprint(r.out, text)
	return text, s.ok()
}

// secondRuns runs each test that failed once more, by itself.
func (r *run) secondRuns(pkgs []*pkg) (errs error) {
	for _, p := range pkgs {
		if p.died() {
			names, err := r.list(p.name)
			p.neverBegan(names)
			errs = errors.Join(errs, err)
		}
	}
	tests, refusal := again(pkgs, r.again)
	if refusal != "" {
		fmt.Fprintln(r.out, "== "+refusal)
	}
	deadline := time.Now().Add(againAll)
	for i, t := range tests {
		left := time.Until(deadline).Round(time.Second)
		if left <= 0 {
			fmt.Fprintf(r.out, "== no time is left to run %d tests again\n", len(tests)-i)
			break
		}
		fmt.Fprintf(r.out, "== again, by itself (%d of %d): %s %s\n", i+1, len(tests), t.pkg, t.name)
		second := &results{keep: true}
		// Of two equal flags go test takes the last.
		flags := append(slices.Clone(r.flags), "-timeout="+min(left, againEach).String(), "-run=^"+t.name+"$")
		// An error of go test is that of the test: without an event that it passed, it did not.
		_ = r.goTest(second, flags, []string{t.pkg}, func(*pkg, *test) {})
		t.second = secondRun(second, t)
		fmt.Fprint(r.out, t.secondText())
	}
	return errs
}

// goTest runs go test and reads what it says. What it says beside the events of tests is printed at once.
func (r *run) goTest(res *results, flags, paths []string, ended func(*pkg, *test)) error {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-json"}, flags, paths)...)
	cmd.Dir, cmd.Env, cmd.Stderr = r.dir, append(os.Environ(), r.env...), r.out
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	readErr := read(stdout, r.out, func(e event) {
		if p, t := res.add(e); p != nil || t != nil {
			ended(p, t)
		}
	})
	err = cmd.Wait()
	return cmp.Or(readErr, err)
}

// read calls add for each event of a test or a package.
func read(in io.Reader, out io.Writer, add func(event)) error {
	lines := bufio.NewReader(in)
	for {
		s, err := lines.ReadString('\n')
		if s != "" {
			var e event
			switch {
			case json.Unmarshal([]byte(s), &e) != nil:
				fmt.Fprint(out, s) // not from the tests: go's own words
			case e.Action == "build-output":
				fmt.Fprint(out, e.Output)
			default:
				add(e)
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

// list names the tests of a package.
func (r *run) list(pkg string) ([]string, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test"}, r.flags, []string{"-list=^(Test|Fuzz|Example)", pkg})...)
	cmd.Dir, cmd.Env, cmd.Stderr = r.dir, append(os.Environ(), r.env...), r.out
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot list the tests of %s: %w", pkg, err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSpace(line); !strings.ContainsAny(name, " \t") && name != "PASS" {
			names = append(names, name)
		}
	}
	return names, nil
}
