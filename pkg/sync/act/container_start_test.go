package act

import (
	"os"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestTerminationMount_LiesWhereItsPathLeads(t *testing.T) {
	e := New(Config{Paths: Paths{Root: t.TempDir()}})
	for asked, want := range map[string]string{"/dev/termination-log": "/dev/termination-log", "words": "/words", "/a//b/../c": "/a/c"} {
		m, err := e.terminationMount(&v1.Pod{}, &v1.Container{Name: "c", TerminationMessagePath: asked}, 3)
		if err != nil || m.ContainerPath != want {
			t.Errorf("%s is mounted at %s, %v; want %s", asked, m.ContainerPath, err, want)
		}
		if i, err := os.Stat(m.HostPath); err != nil || i.Mode().Perm() != 0o666 {
			t.Errorf("%s: %v, %v", asked, i, err)
		}
	}
}
