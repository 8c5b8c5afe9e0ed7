package cgroups

import "testing"

func TestOwnPath(t *testing.T) {
	const unit = "/system.slice/minikubelet.service"
	for name, tc := range map[string]struct {
		lines string
		v2    bool
		want  string
	}{
		"v2":                           {"0::" + unit + "\n", true, unit},
		"v2, in the root":              {"0::/\n", true, ""},
		"v2, outside of the namespace": {"0::/../other\n", true, ""},
		"v1":                           {"4:memory:" + unit + "\n3:cpu,cpuacct:" + unit + "\n1:name=systemd:/x\n0::/\n", false, unit},
		"v1, counted apart":            {"4:memory:/a\n3:cpu,cpuacct:/\n", false, ""},
		"v1, no memory":                {"3:cpu,cpuacct:" + unit + "\n", false, ""},
		"nothing":                      {"", false, ""},
	} {
		if got := ownPath(tc.lines, tc.v2); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
