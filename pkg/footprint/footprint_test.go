package footprint

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDue_AtRestAfterWork(t *testing.T) {
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		before, now, trimmed time.Duration
		want                 bool
	}{
		"start-up goes on":          {before: 0, now: 400 * ms, trimmed: -work},
		"start-up is over":          {before: 400 * ms, now: 410 * ms, trimmed: -work, want: true},
		"rests since the last time": {before: 480 * ms, now: 490 * ms, trimmed: 410 * ms},
		"works":                     {before: 500 * ms, now: 3000 * ms, trimmed: 410 * ms},
		"rests after work":          {before: 3000 * ms, now: 3020 * ms, trimmed: 410 * ms, want: true},
	} {
		if got := due(tt.before, tt.now, tt.trimmed); got != tt.want {
			t.Errorf("%s: due = %v, want %v", name, got, tt.want)
		}
	}
}

func TestProgram_SkipsWhatIsWrittenAndWhatIsOfOtherFiles(t *testing.T) {
	const maps = `00400000-01017000 r-xp 00000000 fe:00 42                         /usr/bin/mini kubelet
01017000-02043000 r--p 00c17000 fe:00 42                         /usr/bin/mini kubelet
02043000-020d3000 rw-p 01c43000 fe:00 42                         /usr/bin/mini kubelet
3cd521c00000-3cd522800000 rw-p 00000000 00:00 0
7ffd00000000-7ffd00001000 r--p 00000000 fe:00 43                 /lib/not/usr/bin/mini kubelet
7ffd9fdfe000-7ffd9fe00000 r-xp 00000000 00:00 0                  [vdso]
garbled
`
	type span struct{ From, To uintptr }
	var got []span
	for from, to := range program(maps, "/usr/bin/mini kubelet") {
		got = append(got, span{from, to})
	}
	if diff := cmp.Diff([]span{{0x400000, 0x1017000}, {0x1017000, 0x2043000}}, got); diff != "" {
		t.Error(diff)
	}
}

// The test's own program is some megabytes, most of which no test uses.
func TestTrim_MakesTheProgramSmaller(t *testing.T) {
	before := resident(t)
	if err := trim(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d pages of files were resident, and %d after", before, after)
	}
}

// resident is how many pages of files are resident, the third figure of statm (proc_pid_statm(5)).
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[2])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
