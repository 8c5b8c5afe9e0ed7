package cgroupstat

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// group writes the files of a group.
func group(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	stall := "some avg10=1.50 avg60=0.20 avg300=0.03 total=4000\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=7\n"
	pressure := &Stall{Some: Share{1.5, .2, .03, 4000}, Full: Share{.1, 0, 0, 7}}
	for name, tc := range map[string]struct {
		v2    bool
		files map[string]string
		want  Stat
	}{
		"v2": {true, map[string]string{
			"cpu.stat": "usage_usec 5\nuser_usec 3\n", "memory.current": "1000\n", "memory.max": "4000\n", "memory.swap.current": "9\n", "memory.swap.max": "max\n",
			"memory.stat":  "anon 400\nfile 500\ninactive_file 300\npgfault 7\npgmajfault 2\n",
			"cpu.pressure": stall, "memory.pressure": stall, "io.pressure": stall,
		}, Stat{
			CPU: CPU{Total: 5000}, Memory: Memory{Usage: 1000, WorkingSet: 700, RSS: 400, Swap: 9, Faults: 7, MajorFaults: 2, Limit: new(uint64(4000))},
			Pressure: Pressure{pressure, pressure, pressure},
		}},
		"v2, the root": {true, map[string]string{"cpu.stat": "usage_usec 5", "memory.stat": "anon 400\nfile 500\ninactive_file 300\n"},
			Stat{CPU: CPU{Total: 5000}, Memory: Memory{Usage: 900, WorkingSet: 600, RSS: 400}}},
		"v1": {false, map[string]string{
			"cpuacct.usage": "5\n", "memory.usage_in_bytes": "1000\n", "memory.limit_in_bytes": "4000\n", "memory.memsw.limit_in_bytes": "5000\n",
			"memory.stat": "rss 1\ntotal_rss 400\ntotal_swap 9\ntotal_inactive_file 300\npgfault 1\ntotal_pgfault 7\ntotal_pgmajfault 2\n",
		}, Stat{
			CPU:    CPU{Total: 5},
			Memory: Memory{Usage: 1000, WorkingSet: 700, RSS: 400, Swap: 9, Faults: 7, MajorFaults: 2, Limit: new(uint64(4000)), SwapLimit: new(uint64(1000))},
		}},
		"v1 without limits": {false, map[string]string{
			"cpuacct.usage": "5", "memory.usage_in_bytes": "200", "memory.limit_in_bytes": "9223372036854771712", "memory.stat": "total_inactive_file 300",
		}, Stat{CPU: CPU{Total: 5}, Memory: Memory{Usage: 200}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := group(t, tc.files)
			got, err := NewReader(tc.v2).Read(func(string) string { return dir })
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Stat{}, "At")); diff != "" || err != nil {
				t.Errorf("(-want +got): %s %v", diff, err)
			}
		})
	}
}

func TestRead_OfAGroupThatIsGone(t *testing.T) {
	for _, v2 := range []bool{true, false} {
		gone := filepath.Join(t.TempDir(), "gone")
		if _, err := NewReader(v2).Read(func(string) string { return gone }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("v2 %v: %v", v2, err)
		}
		if _, err := NewReader(v2).Read(func(string) string { return "" }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("v2 %v, no hierarchy: %v", v2, err)
		}
	}
}

func TestRead_SaysWhichFileIsBroken(t *testing.T) {
	dir := group(t, map[string]string{"cpu.stat": "usage_usec many\n", "memory.stat": "", "memory.current": "1"})
	_, err := NewReader(true).Read(func(string) string { return dir })
	if want := "cannot read usage_usec of " + dir + "/cpu.stat"; err == nil || err.Error()[:len(want)] != want {
		t.Errorf("%v", err)
	}
}

// A file may be longer than the buffer.
func TestRead_TakesLongFiles(t *testing.T) {
	long := make([]byte, 100<<10)
	for i := range long {
		long[i] = '\n'
	}
	dir := group(t, map[string]string{"cpu.stat": string(long) + "usage_usec 3\n", "memory.stat": "", "memory.current": "1"})
	if got, err := NewReader(true).Read(func(string) string { return dir }); got.CPU.Total != 3000 || err != nil {
		t.Errorf("%+v %v", got, err)
	}
}
