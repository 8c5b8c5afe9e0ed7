package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLines_TellEntriesOfAListApartByWhatNamesThem(t *testing.T) {
	var l Lines
	err := l.addJSON("x", map[string]any{
		"mounts": []any{map[string]any{"containerPath": "/a", "readonly": true}, map[string]any{"containerPath": "/b"}},
		"args":   []any{"a b", ""},
		"twice":  []any{map[string]any{"name": "n", "v": 1}, map[string]any{"name": "n", "v": 1.5}},
		"none":   nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Lines{
		"x.args[0] = a b", `x.args[1] = ""`,
		"x.mounts[/a].containerPath = /a", "x.mounts[/a].readonly = true", "x.mounts[/b].containerPath = /b",
		"x.twice[0].name = n", "x.twice[0].v = 1", "x.twice[1].name = n", "x.twice[1].v = 1.5",
	}
	if d := cmp.Diff(want, names{}.normal(l)); d != "" {
		t.Error(d)
	}
}

func TestNormal_ReplacesWhatIsAnotherEachTime(t *testing.T) {
	n := names{"/tmp/7": "<dir>", "/tmp/7/root": "<root>", "10.1.2.3": "<pod-ip>"}
	id := strings.Repeat("0af1", 16)
	got := n.normal(Lines{
		"b = /tmp/7/root/pods/11111111-2222-3333-4444-555555555555 on 10.1.2.3",
		"a = " + id + " sha256:" + id,
		"a = " + id + " sha256:" + id,
		"c = 2026-01-02T03:04:05Z, 2026-01-02T03:04:05.678+01:00",
		`d = Successfully pulled image "i" in 1.5s (2m3.25s including waiting)`,
		"e = /tmp/7/x ..2026_11_30_12_00_00.123 /proc/123/ns/net",
	})
	want := Lines{
		"a = <id> <digest>",
		"b = <root>/pods/<uid> on <pod-ip>",
		"c = <time>, <time>",
		`d = Successfully pulled image "i" in <duration> (<duration> including waiting)`,
		"e = <dir>/x ..<time> /proc/<pid>/ns/net",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRecords_ComeBackAsTheyWereWritten(t *testing.T) {
	r := Records{
		Base: {"a = 1", "b = 2", `c = "x\ny"`},
		"o":  {"a = 1", "b = 3", "d = + - =="},
		"p":  {"a = 1", "b = 2", `c = "x\ny"`},
		"v":  {"a = 1", "e = 5"},
	}
	dir := t.TempDir()
	if err := r.Write(dir, []Case{{File: "base", Name: Base}, {File: "f", Name: "o"}, {File: "f", Name: "p"}, {File: "f", Name: "v", View: "object"}, {File: "f", Name: "never ran"}}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Error(d)
	}
}

func TestDifferences_AreThoseThatNothingExplains(t *testing.T) {
	known := []*Known{
		{Title: "k", Lines: []string{`timeout = \d`}, Cases: []string{"c-.*"}},
		{Title: "unused", Lines: []string{"nothing"}},
		{Title: "exact", Lines: []string{"timeout = .*", "x .*"}, Cases: []string{"c-.*"}, Exact: true},
	}
	for _, k := range known {
		if err := k.compile(); err != nil {
			t.Fatal(err)
		}
	}
	kubelet, agent := Lines{"a = 1", "timeout = 2"}, Lines{"a = 2", "timeout = 1", "x = 10"}
	unknown, exact := Differences("c-x", kubelet, agent, known)
	if d := cmp.Diff([]string{"- a = 1", "+ a = 2"}, unknown); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"+ x = 10"}, exact); d != "" {
		t.Error(d)
	}
	if !known[0].Met || known[1].Met {
		t.Error("what was met is not remembered")
	}
	if d, _ := Differences("other", kubelet, agent, known); !slices.Contains(d, "- timeout = 2") {
		t.Errorf("the difference is not known in this case: %q", d)
	}
}
