package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// module is a small one, by file.
var module = map[string]string{
	"go.mod": "module m\n\ngo 1.26\n",
	"a/a.go": `package a

import "io"

type Used struct{ Field Mentioned }
type Mentioned int
type Alone int

func (Used) Called()                       {}
func (Used) Idle()                         {}
func (Used) Read(p []byte) (int, error)    { return 0, io.EOF }
func (Used) String() string                { return "" }

const (
	One = iota
	Two
)

var Tested = 1

var Inside = 2
`,
	"a/inside_test.go":  "package a\n\nvar _ = Inside\n",
	"a/outside_test.go": "package a_test\n\nimport \"m/a\"\n\nvar _ = a.Tested\n",
	"b/b.go":            "package main\n\nimport \"m/a\"\n\nfunc main() { a.Used{}.Called(); _ = a.Two }\n\nfunc Main() {}\n",
}

func TestUnused_NamesWhatNoOtherPackageUses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range module {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	units, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range unused(units) {
		got = append(got, line[strings.LastIndex(line, " ")+1:])
	}
	if d := cmp.Diff([]string{"Alone", "Used.Idle", "Inside"}, got); d != "" {
		t.Error(d)
	}
}
