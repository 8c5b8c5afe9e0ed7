package compare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExact_IsReadAsItIsWrittenAndNamesWhatIsNewAndWhatIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "exact.txt")
	if err := (Exact{"b": {"- x = 1"}, "a": {"+ y = 2 = 3", "- y = 1"}}).Write(file); err != nil {
		t.Fatal(err)
	}
	e, err := ReadExact(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Exact{"a": {"+ y = 2 = 3", "- y = 1"}, "b": {"- x = 1"}}, e); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"+ y = 4", "no longer + y = 2 = 3"}, e.Differ("a", []string{"+ y = 4", "- y = 1"}, nil)); d != "" {
		t.Error(d)
	}
	if d := e.Differ("b", []string{"- x = 1"}, nil); d != nil {
		t.Errorf("what is written down differs: %q", d)
	}
}

func TestExact_WhatDependsOnChanceMayBeAbsentAndIsKept(t *testing.T) {
	chance := &Known{Lines: []string{"y = .*"}, Exact: true, Seldom: true}
	if err := chance.compile(); err != nil {
		t.Fatal(err)
	}
	e, known := Exact{"a": {"+ x = 1", "+ y = 1"}}, []*Known{chance}
	if d := cmp.Diff([]string{"+ y = 2", "no longer + x = 1"}, e.Differ("a", []string{"+ y = 2"}, known)); d != "" {
		t.Error(d)
	}
	e.Record("a", []string{"+ y = 2"}, known)
	if d := cmp.Diff(Exact{"a": {"+ y = 1", "+ y = 2"}}, e); d != "" {
		t.Error(d)
	}
}

func TestExact_SaysWhichLineItCannotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "exact.txt")
	for _, line := range []string{"a", "a * x = 1"} {
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadExact(file); err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestExact_IsOfCasesThatAreThere(t *testing.T) {
	cases, err := LoadCases()
	if err != nil {
		t.Fatal(err)
	}
	e, err := ReadExact("exact.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name := range e {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Name == name }) {
			t.Errorf("exact.txt has lines of %s, which is no case: remove them", name)
		}
	}
}
