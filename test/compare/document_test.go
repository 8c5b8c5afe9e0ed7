package compare

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/differences.md")

func TestDocument_IsTheListOfDifferences(t *testing.T) {
	const file = "../../docs/differences.md"
	known, err := ReadKnown("differences.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := document(known)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != want {
		t.Errorf("%s is not what differences.yaml says (%v): run go test ./test/compare -update", file, err)
	}
}
