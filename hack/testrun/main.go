// Command testrun runs `go test -json`, and prints a line per package, the output of every test that failed, and a closing
// summary: how many tests passed, failed and were skipped, how long it took, and, when asked, which tests took longest.
//
//	testrun [-title tests] [-out file] [-slowest n] [-again n] -- [flag of go test...] -- package...
//
// With -again, a test that failed is run once more, by itself, when all others are done. If it passes then, it is FLAKY: both
// outputs are shown, it is counted as such, and it does not fail the run. A panic or the time limit also keeps other tests of
// the package from ending or from beginning: they count as failed, and are run again like it. If there are more than n, none
// is. What fails without a test, such as a build or TestMain, is never run again.
//
// The exit code is 1 when a test failed and was not flaky, when a package failed by itself, and when no test passed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// run is one call of this command.
type run struct {
	title   string
	slowest int
	again   int
	flags   []string // of go test
	paths   []string
	dir     string   // the working directory of go; "" is this one's
	env     []string // more for go
	out     io.Writer
}

func main() {
	r := run{out: os.Stdout}
	flag.StringVar(&r.title, "title", "tests", "what the closing summary calls them")
	out := flag.String("out", "", "write the summary to this file, too")
	flag.IntVar(&r.slowest, "slowest", 0, "how many of the tests that took longest the summary names")
	flag.IntVar(&r.again, "again", 0, "how many tests that failed are run once more at most")
	flag.Parse()
	var err error
	if r.flags, r.paths, err = split(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
	text, ok := r.all()
	if *out != "" {
		if err := os.WriteFile(*out, []byte(text), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "testrun:", err)
			ok = false
		}
	}
	if !ok {
		os.Exit(1)
	}
}

// split parts go test's flags from the packages behind "--".
func split(args []string) (flags, paths []string, err error) {
	i := slices.Index(args, "--")
	if i < 0 || i == len(args)-1 {
		return nil, nil, errors.New("cannot find the packages: give them behind a second --")
	}
	return args[:i], args[i+1:], nil
}
