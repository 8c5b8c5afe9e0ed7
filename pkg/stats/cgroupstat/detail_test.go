package cgroupstat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDetail(t *testing.T) {
	n := func(n uint64) *uint64 { return &n }
	for name, tc := range map[string]struct {
		v2    bool
		files map[string]string
		want  Detail
	}{
		"v2": {true, map[string]string{
			"cpu.stat":   "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 8\nnr_bursts 1\nburst_usec 6\n",
			"cpu.weight": "39\n", "cpu.max": "50000 100000\n",
			"memory.stat":    "anon 400\nfile 500\nkernel 30\nfile_mapped 20\ninactive_file 300\nactive_file 100\npgfault 7\npgmajfault 2\n",
			"memory.current": "1000", "memory.peak": "2000\n", "memory.min": "50", "memory.events.local": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
			"cgroup.procs": "42\n43\n", "pids.current": "5\n", "pids.max": "max\n",
			"io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:1 \n8:16 rbytes=9\n",
		}, Detail{
			Stat:  Stat{CPU: CPU{Total: 5000}, Memory: Memory{Usage: 1000, WorkingSet: 700, RSS: 400, Faults: 7, MajorFaults: 2}},
			Times: Times{3000, 2000}, Settings: Settings{Period: n(100000), Quota: n(50000), Shares: n(998), Reservation: 50}, Throttling: Throttling{9, 4, 8000, 1, 6000},
			Content: Content{Cache: 500, Mapped: 20, Active: 100, Inactive: 300, Peak: n(2000), Kernel: n(30), OOMKills: n(2)}, OwnFaults: Faults{7, 2},
			Tasks: Tasks{2, 42, n(5)}, Disks: []Disk{{254, 0, 1, 2, 3, 4}, {Major: 8, Minor: 16, ReadBytes: 9}},
		}},
		"v2, the root": {true, map[string]string{"cpu.stat": "usage_usec 5", "memory.stat": "anon 400\nfile 500"}, Detail{
			Stat: Stat{CPU: CPU{Total: 5000}, Memory: Memory{Usage: 900, WorkingSet: 900, RSS: 400}}, Content: Content{Cache: 500},
		}},
		"v1": {false, map[string]string{
			"cpuacct.usage": "5", "cpuacct.stat": "user 3\nsystem 2\n", "cpu.shares": "102\n", "cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "50000\n",
			"cpu.stat":              "nr_periods 9\nnr_throttled 4\nthrottled_time 8\nnr_bursts 1\nburst_time 6\n",
			"memory.usage_in_bytes": "1000", "memory.max_usage_in_bytes": "2000", "memory.failcnt": "3", "memory.kmem.usage_in_bytes": "30",
			"memory.limit_in_bytes": "4000", "memory.soft_limit_in_bytes": "9223372036854771712", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
			"memory.stat":  "total_rss 400\ntotal_cache 500\ntotal_mapped_file 20\ntotal_active_file 100\ntotal_inactive_file 300\npgfault 1\npgmajfault 0\ntotal_pgfault 7\ntotal_pgmajfault 2\n",
			"cgroup.procs": "42\n43\n", "pids.current": "5\n", "pids.max": "20\n",
			"blkio.throttle.io_service_bytes_recursive": "254:0 Read 1\n254:0 Write 2\n254:0 Sync 3\nTotal 3\n",
			"blkio.throttle.io_serviced_recursive":      "254:0 Read 3\n254:0 Write 4\nTotal 7\n",
		}, Detail{
			Stat:  Stat{CPU: CPU{Total: 5}, Memory: Memory{Usage: 1000, WorkingSet: 700, RSS: 400, Faults: 7, MajorFaults: 2, Limit: n(4000)}},
			Times: Times{30e6, 20e6}, Settings: Settings{Period: n(100000), Quota: n(50000), Shares: n(102), Threads: 20}, Throttling: Throttling{9, 4, 8, 1, 6},
			Content: Content{Cache: 500, Mapped: 20, Active: 100, Inactive: 300, Peak: n(2000), Kernel: n(30), LimitHits: n(3), OOMKills: n(2)}, OwnFaults: Faults{1, 0},
			Tasks: Tasks{2, 42, n(5)}, Disks: []Disk{{254, 0, 1, 2, 3, 4}},
		}},
		"v1 without a quota": {false, map[string]string{
			"cpuacct.usage": "5", "cpu.cfs_quota_us": "-1\n", "cpu.stat": "nr_periods 9\n", "memory.usage_in_bytes": "1", "memory.stat": "",
		}, Detail{Stat: Stat{CPU: CPU{Total: 5}, Memory: Memory{Usage: 1, WorkingSet: 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := group(t, tc.files)
			got, err := NewReader(tc.v2).Detail(func(string) string { return dir })
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Stat{}, "At")); diff != "" || err != nil {
				t.Errorf("(-want +got): %s %v", diff, err)
			}
		})
	}
}

func BenchmarkDetail(b *testing.B) {
	for b.Loop() {
		r := NewReader(false)
		for range 100 {
			if _, err := r.Detail(func(c string) string { return "/sys/fs/cgroup/" + c }); err != nil {
				b.Fatal(err)
			}
		}
	}
}
