package manifest

import (
	"slices"
	"testing"

	"github.com/minikubelet/minikubelet/test/podcorpus"
)

// TestDecode_RefusesWhatAnAPIServerRefuses holds the node to what a real API server says of each pod of the corpus.
func TestDecode_RefusesWhatAnAPIServerRefuses(t *testing.T) {
	corpus, err := podcorpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range corpus {
		t.Run(c.Name(), func(t *testing.T) {
			objects, problems := Decode(c.Manifest, here)
			if (len(objects) == 0) != (len(problems) > 0) {
				t.Fatalf("%d objects and %d problems", len(objects), len(problems))
			}
			var fields []string
			for _, p := range problems {
				if p.Line == 0 {
					t.Errorf("a problem without its line: %s", p)
				}
				fields = append(fields, p.Field)
			}
			want := c.Refused
			switch {
			case c.Why != "":
				want = c.Ours
			case slices.Equal(want, []string{"unreadable"}) && len(fields) > 0:
				return
			}
			if missing, extra := podcorpus.Disagree(want, fields); len(missing)+len(extra) > 0 {
				t.Errorf("must complain of %q; complains of %q: %q", want, fields, problems)
			}
		})
	}
}
