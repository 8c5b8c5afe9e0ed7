package cgroups

import "testing"

func TestOOMKills_ReadsTheCountOfATree(t *testing.T) {
	for text, want := range map[string]int64{
		"low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n": 3,
		"low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n":                    0,
		"": 0,
	} {
		if got, err := oomKills(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	if _, err := oomKills("oom_kill many\n"); err == nil {
		t.Error("a count that is no number was read")
	}
}
