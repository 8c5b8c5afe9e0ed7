package cgroups

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestName(t *testing.T) {
	for _, tc := range []struct {
		root, cgroupfs, systemd string
	}{
		{"", "/kubepods/burstable/pod12-34", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice"},
		{"/", "/kubepods/burstable/pod12-34", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice"},
		{"/a/b", "/a/b/kubepods/burstable/pod12-34", "/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-burstable.slice/a-b-kubepods-burstable-pod12_34.slice"},
		{"/a.slice/a-b.slice", "/a/b/kubepods/burstable/pod12-34", "/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-burstable.slice/a-b-kubepods-burstable-pod12_34.slice"},
	} {
		n, err := parseRoot(tc.root)
		if err != nil {
			t.Fatal(err)
		}
		n = n.child("kubepods").child("burstable").child("pod12-34")
		if got := n.cgroupfs(); got != tc.cgroupfs {
			t.Errorf("root %q: cgroupfs %s, want %s", tc.root, got, tc.cgroupfs)
		}
		if got := n.systemd(); got != tc.systemd {
			t.Errorf("root %q: systemd %s, want %s", tc.root, got, tc.systemd)
		}
	}
	if _, err := parseRoot("/a/../b"); err == nil {
		t.Error("a root with .. was taken")
	}
}

func TestUIDs_ThatCouldLeaveTheTreeAreRefused(t *testing.T) {
	for _, uid := range []types.UID{"", "../x", "a/b", "..", "a.b", "x\x00", types.UID(strings.Repeat("a", 129))} {
		if n, err := podName(uid); err == nil {
			t.Errorf("podName(%q) = %q, want an error", uid, n)
		}
	}
}

func TestUIDOf(t *testing.T) {
	for base, want := range map[string]types.UID{
		"pod12-34":                          "12-34",
		"kubepods-burstable-pod12_34.slice": "12-34",
		"kubepods-pod12_34.slice":           "12-34",
		"kubepods-burstable.slice":          "",
		"burstable":                         "",
		"pod":                               "",
		"a-b-kubepods-besteffort-podabcdef.slice": "abcdef",
	} {
		if got, _ := uidOf(base); got != want {
			t.Errorf("uidOf(%s) = %q, want %q", base, got, want)
		}
	}
}
