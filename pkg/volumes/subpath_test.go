package volumes

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

func (n *node) subPath(p *v1.Pod, sub string) (string, error) {
	n.t.Helper()
	c := &p.Spec.Containers[0]
	c.VolumeMounts[0].SubPath = sub
	m, err := n.ContainerMounts(n.t.Context(), p, c, nil)
	if err != nil {
		return "", err
	}
	return m[0].HostPath, nil
}

func TestSubPath_IsBoundToAPlaceOfItsOwn(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	volume := n.mustMount(p, "data")
	path, err := n.subPath(p, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(n.cfg.Root, "pods/uid-1/volume-subpaths/data/main/0"); path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
	if err := os.WriteFile(filepath.Join(path, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(volume, "a/b/f")); got != "x" {
		t.Errorf("content is %q", got)
	}
	if got := modeOf(t, filepath.Join(volume, "a")).Perm(); got != 0o777 {
		t.Errorf("mode of what was made is %o, want the volume's, 777", got)
	}
	n.restart()
	if again, err := n.subPath(p, "a/b"); again != path || err != nil {
		t.Errorf("second time: %s, %v", again, err)
	}
	if mounts, err := hostfs.MountsBelow(path); err != nil || len(mounts) != 1 {
		t.Errorf("mounts are %q, %v", mounts, err)
	}
	n.mustRemove(p)
}

func TestSubPath_IsMadeWithEveryBitOfTheVolumesMode(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}})
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(123))}
	volume := n.mustMount(p, "data")
	if _, err := n.subPath(p, "a/b"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "a", "a/b"} {
		if got, want := modeOf(t, filepath.Join(volume, path)), fs.ModeDir|fs.ModeSetgid|fs.ModeSticky|0o777; got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
	n.mustRemove(p)
}

func TestSubPath_OfAFileFollowsTheUpdateOfItsObject(t *testing.T) {
	n := newNode(t)
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1"}}}
	p := one(configMapVolume("conf"))
	n.mustMount(p, "data")
	path, err := n.subPath(p, "a")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "1" {
		t.Errorf("content is %q", got)
	}
	n.objs.configMaps["conf"] = &v1.ConfigMap{Data: map[string]string{"a": "2"}}
	if err := n.refreshAll(p); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "1" {
		t.Errorf("a running container sees %q: a subPath does not follow updates", got)
	}
	if path, err = n.subPath(p, "a"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "2" {
		t.Errorf("a container that starts again sees %q", got)
	}
	n.mustRemove(p)
}

func TestSubPath_NeverLeavesItsVolume(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	volume := n.mustMount(p, "data")
	for name, target := range map[string]string{"abs": host, "up": "../../../../..", "proc": "/proc/self/root", "loop": "loop", "dangling": "/none", "in": "dir"} {
		if err := os.Symlink(target, filepath.Join(volume, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(volume, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"abs", "abs/new", "up", "up/etc", "proc/etc", "loop", "dangling", "dangling/x", "../x", "/etc", "a/../../x"} {
		if path, err := n.subPath(p, sub); err == nil {
			t.Errorf("subPath %q is mounted at %s", sub, path)
		} else if !strings.Contains(err.Error(), `in container main`) {
			t.Errorf("error does not say where: %v", err)
		}
	}
	if entries, _ := os.ReadDir(host); len(entries) > 0 {
		t.Errorf("something was made outside: %v", entries)
	}
	if _, err := n.subPath(p, "in/made"); err != nil {
		t.Errorf("a link inside the volume: %v", err)
	}
	n.mustRemove(p)
}

func TestSubPathExpr_ExpandsTheContainersVariables(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	volume := n.mustMount(p, "data")
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"POD": "web-0", "EVIL": "../..", "EMPTY": ""}[name]
		return v, ok
	}
	for expr, want := range map[string]string{"logs/$(POD)": "", "$(NONE)/x": "names the variable NONE", "$(EMPTY)": "names the variable EMPTY", "$(EVIL)/x": "must be a relative path"} {
		p.Spec.Containers[0].VolumeMounts[0].SubPathExpr = expr
		_, err := n.ContainerMounts(t.Context(), p, &p.Spec.Containers[0], env)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", expr, err, want)
		}
	}
	modeOf(t, filepath.Join(volume, "logs/web-0"))
	n.mustRemove(p)
}

func TestContainerMounts_OfAVolumeThatIsNotReadyIsAnError(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	if _, err := n.ContainerMounts(t.Context(), p, &p.Spec.Containers[0], nil); err == nil || !strings.Contains(err.Error(), "not mounted yet") {
		t.Errorf("error is %v", err)
	}
}
