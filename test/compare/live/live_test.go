// Package live_test compares the agent with the kubelet on real components. See package compare.
package live_test

import (
	"cmp"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/minikubelet/minikubelet/test/compare"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

var (
	withKubelet = flag.Bool("kubelet", false, "run a kubelet too, and compare with what it does now")
	record      = flag.Bool("record", false, "write down what a kubelet does, with -kubelet, and which lines differ by exact entries")
	// again names a file: cases that differ are written there, and if it holds any, only those are run.
	again = os.Getenv("COMPARE_AGAIN")
	only  = flag.String("only", "", "a regular expression of the names of the cases to run; empty: all")
)

const (
	recorded  = "../recorded"
	knownFile = "../differences.yaml"
	exactFile = "../exact.txt"
)

// TestAgent_DiffersFromTheKubeletOnPurposeOnly runs every case on the agent and compares its record with the kubelet's.
func TestAgent_DiffersFromTheKubeletOnPurposeOnly(t *testing.T) {
	cases, err := compare.LoadCases()
	if err != nil {
		t.Fatal(err)
	}
	corpus, names := cases, cmp.Or(*only, differedBefore(t))
	all := names == ""
	if !all {
		wanted, err := regexp.Compile("^(" + names + ")$")
		if err != nil {
			t.Fatal(err)
		}
		pods := slices.ContainsFunc(corpus, func(c compare.Case) bool { return c.View == "" && wanted.MatchString(c.Name) })
		cases = slices.DeleteFunc(slices.Clone(corpus), func(c compare.Case) bool {
			return !wanted.MatchString(c.Name) && !(c.Name == compare.Base && pods)
		})
	}
	known, err := compare.ReadKnown(knownFile)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := compare.ReadExact(exactFile)
	if err != nil {
		t.Fatal(err)
	}
	kubelet := kubeletRecords(t, corpus, cases)
	agent := runApart(t, "the agent runs the cases", "", cases)
	var differed []string
	for _, c := range cases {
		t.Run(c.File+"/"+c.Name, func(t *testing.T) {
			if kubelet[c.Name] == nil {
				t.Fatal("there is no record of it: run make compare RECORD=1")
			}
			d, exactly := compare.Differences(c.Name, kubelet[c.Name], agent[c.Name], known)
			if *record {
				exact.Record(c.Name, exactly, known)
			}
			if d = append(d, exact.Differ(c.Name, exactly, known)...); len(d) > 0 {
				t.Errorf("only the kubelet (-) and only the agent (+):\n%s", strings.Join(d, "\n"))
				differed = append(differed, regexp.QuoteMeta(c.Name))
			}
		})
	}
	if *record {
		if err := exact.Write(exactFile); err != nil {
			t.Error(err)
		}
	}
	if again != "" {
		if err := os.WriteFile(again, []byte(strings.Join(differed, "|")), 0o600); err != nil {
			t.Error(err)
		}
	}
	for _, k := range known {
		if all && len(k.Lines) > 0 && !k.Met && !k.Seldom && !k.OfFields() {
			t.Errorf("%s: %q differs no longer: remove it", knownFile, k.Title)
		}
	}
}

// differedBefore is a regular expression of the cases that differed in the run before this one; empty: run all.
func differedBefore(t *testing.T) string {
	t.Helper()
	if again == "" {
		return ""
	}
	b, err := os.ReadFile(again)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func kubeletRecords(t *testing.T, corpus, cases []compare.Case) compare.Records {
	t.Helper()
	old, err := compare.ReadRecords(recorded)
	if err != nil {
		t.Fatal(err)
	}
	if !*withKubelet {
		return old
	}
	now := runApart(t, "a kubelet runs the cases", testbed.Tool(t, "kubelet"), cases)
	for _, c := range cases {
		if old[c.Name] == nil {
			continue // all of it is new
		}
		for _, line := range old[c.Name].Minus(now[c.Name]) {
			t.Logf("%s: the kubelet no longer has: %s", c.Name, line)
		}
		for _, line := range now[c.Name].Minus(old[c.Name]) {
			t.Logf("%s: the kubelet has now: %s", c.Name, line)
		}
	}
	maps.Copy(old, now)
	if *record {
		if err := old.Write(recorded, corpus); err != nil {
			t.Fatal(err)
		}
	}
	return old
}

// runApart runs in a test of its own, which is over before anything is compared.
func runApart(t *testing.T, name, kubelet string, cases []compare.Case) (r compare.Records) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) { r = compare.Run(t, kubelet, cases) }) {
		t.FailNow()
	}
	return r
}
