package volumes

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// keyed are volumes whose files come from objects: each shows a and conf.d/b.
func keyed() map[string]v1.VolumeSource {
	items := []v1.KeyToPath{{Key: "a", Path: "a"}, {Key: "b", Path: "conf.d/b"}}
	name := &v1.ObjectFieldSelector{FieldPath: "metadata.name"}
	downward := []v1.DownwardAPIVolumeFile{{Path: "a", FieldRef: name}, {Path: "conf.d/b", FieldRef: name}}
	return map[string]v1.VolumeSource{
		kindConfigMap:   configMapVolume("conf", items...),
		kindSecret:      {Secret: &v1.SecretVolumeSource{SecretName: "keys", Items: items}},
		kindDownwardAPI: {DownwardAPI: &v1.DownwardAPIVolumeSource{Items: downward}},
		kindProjected: {Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "conf"}, Items: items}},
		}}},
	}
}

func (n *node) setKeys(a, b string) {
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": a, "b": b}}}
	n.objs.secrets = map[string]*v1.Secret{"keys": {Data: map[string][]byte{"a": []byte(a), "b": []byte(b)}}}
}

func lstat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (n *node) mustHaveMounts(p *v1.Pod, c *v1.Container) []Mount {
	n.t.Helper()
	m, err := n.ContainerMounts(n.t.Context(), p, c, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return m
}

// A runtime mounts into a read-only volume only where a mount point is.
func TestContainerMounts_FindTheirPlaceInVolumesOfFiles(t *testing.T) {
	for kind, source := range keyed() {
		t.Run(kind, func(t *testing.T) {
			n := newNode(t)
			n.setKeys("1", "2")
			p := podWith(map[string]v1.VolumeSource{"v": source, "work": {EmptyDir: &v1.EmptyDirVolumeSource{}}, "keys": {Secret: &v1.SecretVolumeSource{SecretName: "keys"}}})
			c := &p.Spec.Containers[0]
			c.TerminationMessagePath = "/v/last/words"
			c.VolumeMounts = []v1.VolumeMount{
				{Name: "v", MountPath: "/v"},
				{Name: "work", MountPath: "/v/work/"},
				{Name: "work", MountPath: "/v/work/deeper"},
				{Name: "work", MountPath: "//v/conf.d/work"},
				{Name: "keys", MountPath: "/v/a", SubPath: "a"},
				{Name: "keys", MountPath: "/v/one/two/key", SubPath: "b"},
				{Name: "work", MountPath: "/vault"},
			}
			for _, name := range []string{"v", "work", "keys"} {
				n.mustMount(p, name)
			}
			path := n.observe(p)["v"].Path
			n.mustHaveMounts(p, c)
			points := map[string]bool{"work": true, "conf.d/work": true, "a": false, "one/two/key": false, "last/words": false}
			before := map[string]fs.FileInfo{}
			for point, dir := range points {
				before[point] = lstat(t, filepath.Join(path, point))
				if m := before[point].Mode(); m.IsDir() != dir || !dir && !m.IsRegular() {
					t.Errorf("the mount point %s is %s", point, m)
				}
			}
			if _, err := os.Lstat(filepath.Join(path, "work/deeper")); err == nil {
				t.Error("a mount point was made below another volume's")
			}
			if got := read(t, filepath.Join(path, "conf.d/b")); got == "" {
				t.Error("the file beside a mount point is empty")
			}
			n.setKeys("one", "two")
			p.Name = "renamed"
			n.restart()
			if err := n.refreshAll(p); err != nil {
				t.Fatal(err)
			}
			n.mustHaveMounts(p, c)
			for point, was := range before {
				if !os.SameFile(was, lstat(t, filepath.Join(path, point))) {
					t.Errorf("the update made the mount point %s anew: what was mounted there is gone", point)
				}
			}
			if got := read(t, filepath.Join(path, "conf.d/b")); got != "two" && got != "renamed" {
				t.Errorf("the file beside a mount point holds %q after the update", got)
			}
			n.mustRemove(p)
		})
	}
}

func TestContainerMounts_MakeAMountPointAnewWhenWhatIsMountedChanges(t *testing.T) {
	n := newNode(t)
	n.setKeys("1", "2")
	host := filepath.Join(t.TempDir(), "late")
	p := podWith(map[string]v1.VolumeSource{"v": configMapVolume("conf"), "late": {HostPath: &v1.HostPathVolumeSource{Path: host}}})
	c := &p.Spec.Containers[0]
	c.VolumeMounts = []v1.VolumeMount{{Name: "v", MountPath: "/v"}, {Name: "late", MountPath: "/v/late"}}
	path := n.mustMount(p, "v")
	n.mustMount(p, "late")
	n.mustHaveMounts(p, c)
	if m := lstat(t, filepath.Join(path, "late")).Mode(); !m.IsDir() { // runtimes make what is missing as a directory
		t.Errorf("the mount point of what is not there yet is %s", m)
	}
	if err := os.WriteFile(host, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.mustHaveMounts(p, c)
	if m := lstat(t, filepath.Join(path, "late")).Mode(); !m.IsRegular() {
		t.Errorf("the mount point of a file is %s", m)
	}
	n.mustRemove(p)
}

// Containers of a pod mount one volume at different places, and other volumes in it.
func TestContainerMounts_KeepTheMountPointsOfOtherContainers(t *testing.T) {
	n := newNode(t)
	n.setKeys("1", "2")
	p := podWith(map[string]v1.VolumeSource{"v": keyed()[kindConfigMap], "work": {EmptyDir: &v1.EmptyDirVolumeSource{}}})
	p.Spec.Containers = []v1.Container{
		{Name: "whole", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/etc/app"}, {Name: "work", MountPath: "/etc/app/conf.d"}}},
		{Name: "part", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/cfg"}, {Name: "work", MountPath: "/cfg/conf.d/cache"}}},
		{Name: "plain", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v"}}},
	}
	path := n.mustMount(p, "v")
	n.mustMount(p, "work")
	if err := os.Remove(filepath.Join(path, "conf.d", "b")); err != nil {
		t.Errorf("conf.d is not a directory with links of its own: %v", err)
	}
	for i := range p.Spec.Containers {
		n.mustHaveMounts(p, &p.Spec.Containers[i])
	}
	if err := n.refreshAll(p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "conf.d/b": "2"}, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	for _, point := range []string{"conf.d", "conf.d/cache"} {
		if m := lstat(t, filepath.Join(path, point)).Mode(); !m.IsDir() {
			t.Errorf("%s is %s", point, m)
		}
	}
	n.mustRemove(p)
}

// The pod runs when the agent that knows of mount points takes over.
func TestContainerMounts_FindTheirPlaceInAVolumeThatWasSetUpWithout(t *testing.T) {
	n := newNode(t)
	n.setKeys("1", "2")
	p := podWith(map[string]v1.VolumeSource{"v": keyed()[kindSecret], "work": {EmptyDir: &v1.EmptyDirVolumeSource{}}})
	c := &p.Spec.Containers[0]
	mounts := c.VolumeMounts
	c.VolumeMounts = nil
	path := n.mustMount(p, "v")
	n.mustMount(p, "work")
	c.VolumeMounts = append(mounts, v1.VolumeMount{Name: "work", MountPath: "/v/conf.d/work"}, v1.VolumeMount{Name: "work", MountPath: "/v/a"})
	n.mustHaveMounts(p, c)
	if m := lstat(t, filepath.Join(path, "a")).Mode(); !m.IsDir() {
		t.Errorf("a is %s", m)
	}
	if diff := cmp.Diff(map[string]string{"conf.d/b": "2"}, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	n.mustRemove(p)
}

func TestSubPath_OfADirectoryKeepsItsContentAndItsMountPointsOverAnUpdate(t *testing.T) {
	for _, kind := range []string{kindConfigMap, kindSecret} {
		t.Run(kind, func(t *testing.T) {
			n := newNode(t)
			n.setKeys("1", "2")
			p := podWith(map[string]v1.VolumeSource{"v": keyed()[kind], "work": {EmptyDir: &v1.EmptyDirVolumeSource{}}})
			c := &p.Spec.Containers[0]
			c.VolumeMounts = []v1.VolumeMount{{Name: "v", MountPath: "/v", SubPath: "conf.d"}, {Name: "work", MountPath: "/v/work"}}
			path := n.mustMount(p, "v")
			n.mustMount(p, "work")
			bound := n.mustHaveMounts(p, c)[0].HostPath
			point := lstat(t, filepath.Join(bound, "work"))
			for _, b := range []string{"two", "three"} {
				n.setKeys("one", b)
				if err := n.refreshAll(p); err != nil {
					t.Fatal(err)
				}
			}
			if got := read(t, filepath.Join(bound, "b")); got != "2" {
				t.Errorf("the container that runs sees %q", got)
			}
			if !os.SameFile(point, lstat(t, filepath.Join(bound, "work"))) {
				t.Error("the mount point is gone")
			}
			if got := read(t, filepath.Join(n.mustHaveMounts(p, c)[0].HostPath, "b")); got != "three" {
				t.Errorf("a container that starts again sees %q", got)
			}
			if err := n.refreshAll(p); err != nil {
				t.Fatal(err)
			}
			if versions, _ := filepath.Glob(filepath.Join(path, "..2*")); len(versions) != 1 {
				t.Errorf("versions that nobody uses are left: %q", versions)
			}
			n.mustRemove(p)
		})
	}
}
