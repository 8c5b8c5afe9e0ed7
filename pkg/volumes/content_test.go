package volumes

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

// tree reads all files that a volume shows.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	tops, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, top := range tops {
		if top.Name()[0] == '.' {
			continue
		}
		root, err := filepath.EvalSymlinks(filepath.Join(dir, top.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(root, path)
				files[filepath.Join(top.Name(), rel)] = read(t, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func configMapVolume(name string, items ...v1.KeyToPath) v1.VolumeSource {
	return v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}, Items: items}}
}

func TestConfigMap_ShowsKeysAndFollowsTheObject(t *testing.T) {
	n := newNode(t)
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"bin": {0}}}}
	p := one(configMapVolume("conf"))
	path := n.mustMount(p, "data")
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2", "bin": "\x00"}, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	before, _ := os.Readlink(filepath.Join(path, "..data"))
	if err := n.refreshAll(p); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Readlink(filepath.Join(path, "..data")); after != before {
		t.Error("a refresh without a change wrote a new version")
	}
	n.objs.configMaps["conf"] = &v1.ConfigMap{Data: map[string]string{"a": "one", "c": "3"}}
	n.restart()
	if err := n.refreshAll(p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "one", "c": "3"}, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	if entries, _ := os.ReadDir(path); len(entries) != 4 {
		t.Errorf("old versions are left: %v", entries)
	}
	delete(n.objs.configMaps, "conf")
	if err := n.refreshAll(p); err == nil {
		t.Error("a refresh from an object that is gone is no error")
	}
	if got := tree(t, path)["a"]; got != "one" {
		t.Errorf("content is lost with the object: %q", got)
	}
	n.mustRemove(p)
}

func TestConfigMap_PutsItemsAtTheirPathsWithTheirModes(t *testing.T) {
	n := newNode(t)
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1", "b": "2"}}}
	p := one(configMapVolume("conf", v1.KeyToPath{Key: "a", Path: "etc/app/a.conf", Mode: new(int32(0o400))}, v1.KeyToPath{Key: "b", Path: "b"}))
	path := n.mustMount(p, "data")
	if diff := cmp.Diff(map[string]string{"etc/app/a.conf": "1", "b": "2"}, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]fs.FileMode{"etc/app/a.conf": 0o400, "b": 0o644} {
		if got := modeOf(t, filepath.Join(path, name)).Perm(); got != want {
			t.Errorf("mode of %s is %o, want %o", name, got, want)
		}
	}
	n.mustRemove(p)
}

func TestContent_OptionalObjectsAndKeysMayBeMissing(t *testing.T) {
	n := newNode(t)
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1"}}}
	yes := new(true)
	p := podWith(map[string]v1.VolumeSource{
		"none":   {ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Optional: yes}},
		"secret": {Secret: &v1.SecretVolumeSource{SecretName: "none", Optional: yes}},
		"key":    {ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "conf"}, Optional: yes, Items: []v1.KeyToPath{{Key: "x", Path: "x"}}}},
	})
	for _, name := range []string{"none", "secret", "key"} {
		if got := tree(t, n.mustMount(p, name)); len(got) > 0 {
			t.Errorf("volume %s holds %v", name, got)
		}
	}
	n.objs.secrets = map[string]*v1.Secret{"none": {Data: map[string][]byte{"late": []byte("x")}}}
	if err := n.refreshAll(p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"late": "x"}, tree(t, n.observe(p)["secret"].Path)); diff != "" {
		t.Error(diff)
	}
	n.mustRemove(p)
}

func TestSecret_IsInMemoryAndGivenToTheGroup(t *testing.T) {
	n := newNode(t)
	n.objs.secrets = map[string]*v1.Secret{"s": {Data: map[string][]byte{"key": []byte("k")}}}
	p := one(v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s", DefaultMode: new(int32(0o400))}})
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(1234))}
	path := n.mustMount(p, "data")
	info, err := os.Stat(filepath.Join(path, "key"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Gid != 1234 || info.Mode().Perm() != 0o440 {
		t.Errorf("group %d, mode %o, want 1234 and 440", st.Gid, info.Mode().Perm())
	}
	mounts, err := n.ContainerMounts(t.Context(), p, &p.Spec.Containers[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Mount{{Volume: "data", HostPath: path, ContainerPath: "/data", ReadOnly: true, SELinuxRelabel: true}}, mounts); diff != "" {
		t.Error(diff)
	}
	n.mustRemove(p)
}

func TestProjected_JoinsItsSources(t *testing.T) {
	n := newNode(t)
	n.objs.configMaps = map[string]*v1.ConfigMap{"ca": {Data: map[string]string{"ca.crt": "CA"}}}
	p := one(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "vault"}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "ca"}}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{
			{Path: "namespace", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
			{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		}}},
	}}})
	path := n.mustMount(p, "data")
	want := map[string]string{"token": "token for vault", "ca.crt": "CA", "namespace": "shop", "labels": `app="web"`}
	if diff := cmp.Diff(want, tree(t, path)); diff != "" {
		t.Error(diff)
	}
	n.mustRemove(p)
}

// What the API takes must mount.
func TestContent_TakesPathsThatAreNotClean(t *testing.T) {
	items := []v1.KeyToPath{{Key: "a", Path: "./conf.d/a.ini"}, {Key: "b", Path: "conf.d//b.ini"}}
	name := []v1.DownwardAPIVolumeFile{{Path: "./who//name", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}
	for kind, c := range map[string]struct {
		source v1.VolumeSource
		want   map[string]string
	}{
		kindConfigMap:   {configMapVolume("conf", items...), map[string]string{"conf.d/a.ini": "1", "conf.d/b.ini": "2"}},
		kindSecret:      {v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "keys", Items: items}}, map[string]string{"conf.d/a.ini": "1", "conf.d/b.ini": "2"}},
		kindDownwardAPI: {v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: name}}, map[string]string{"who/name": "web"}},
		kindProjected: {v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Items: items[:1]}},
			{DownwardAPI: &v1.DownwardAPIProjection{Items: name}},
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "./token/"}},
		}}}, map[string]string{"conf.d/a.ini": "1", "who/name": "web", "token": "token for "}},
	} {
		t.Run(kind, func(t *testing.T) {
			n := newNode(t)
			n.setKeys("1", "2")
			p := one(c.source)
			if diff := cmp.Diff(c.want, tree(t, n.mustMount(p, "data"))); diff != "" {
				t.Error(diff)
			}
			n.mustRemove(p)
		})
	}
}

// The modes are those that a kubelet gives: a file system in memory is sticky.
func TestContent_HasTheModeAndTheGroupOfAKubeletsVolumes(t *testing.T) {
	for kind, source := range keyed() {
		sticky := fs.ModeSticky
		if kind == kindConfigMap {
			sticky = 0
		}
		for name, c := range map[string]struct {
			group *int64
			mode  fs.FileMode
		}{
			"without fsGroup": {nil, fs.ModeDir | sticky | 0o777},
			"with fsGroup":    {new(int64(1234)), fs.ModeDir | fs.ModeSetgid | sticky | 0o777},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				n := newNode(t)
				n.setKeys("1", "2")
				p := one(source)
				p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: c.group}
				info := lstat(t, n.mustMount(p, "data"))
				var gid int64
				if c.group != nil {
					gid = *c.group
				}
				if got := int64(info.Sys().(*syscall.Stat_t).Gid); info.Mode() != c.mode || got != gid {
					t.Errorf("mode %s, group %d; want %s, %d", info.Mode(), got, c.mode, gid)
				}
				n.mustRemove(p)
			})
		}
	}
}
