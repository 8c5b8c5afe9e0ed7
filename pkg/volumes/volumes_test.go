package volumes

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/hosttree"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

// held are the objects of a node, by name; the namespace is always shop.
type held struct {
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
	claims     map[string]*v1.PersistentVolumeClaim
	volumes    map[string]*v1.PersistentVolume
	drivers    map[string]*storagev1.CSIDriver
}

func (o *held) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	switch k.Kind {
	case "ConfigMap":
		return get(o.configMaps, "configmaps", k.Name)
	case "Secret":
		return get(o.secrets, "secrets", k.Name)
	case "PersistentVolumeClaim":
		return get(o.claims, "persistentvolumeclaims", k.Name)
	case "PersistentVolume":
		return get(o.volumes, "persistentvolumes", k.Name)
	}
	return get(o.drivers, "csidrivers", k.Name)
}

func get[T any, P interface {
	*T
	objects.Object
}](m map[string]P, kind, name string) (objects.Object, error) {
	if o := m[name]; o != nil {
		return o, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
}

// node is Volumes on a root of its own. Mounts need root and a private mount namespace is not made: what a test leaves
// mounted is undone at its end.
type node struct {
	*Volumes
	t      *testing.T
	objs   *held
	root   string
	mu     sync.Mutex
	events []string
}

func newNode(t *testing.T) *node {
	t.Helper()
	root := t.TempDir()
	t.Cleanup(func() {
		if err := hostfs.UnmountBelow(root); err != nil {
			t.Error(err)
		}
	})
	n := &node{t: t, objs: &held{}, root: root}
	n.restart()
	return n
}

// restart is a new agent on what the old one left.
func (n *node) restart() {
	n.t.Helper()
	v, err := New(Config{
		Root: n.root, NodeName: "n1", Objects: objects.NewStore(n.objs), Log: slog.New(slog.DiscardHandler),
		Token: func(_ context.Context, _ *v1.Pod, audience string, _ int64) (string, time.Time, error) {
			return "token for " + audience, time.Now().Add(time.Hour), nil
		},
		Event: func(_ *v1.Pod, _, typ, reason, message string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if typ != v1.EventTypeWarning {
				reason = typ + " " + reason
			}
			n.events = append(n.events, reason+": "+message)
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.Volumes = v
}

func (n *node) mustMount(p *v1.Pod, volume string) string {
	n.t.Helper()
	if err := n.Mount(n.t.Context(), p, volume); err != nil {
		n.t.Fatal(err)
	}
	m := n.observe(p)[volume]
	if !m.Ready {
		n.t.Fatalf("volume %s is not ready after Mount: %+v", volume, m)
	}
	return m.Path
}

func (n *node) observe(p *v1.Pod) map[string]pod.Mount {
	n.t.Helper()
	m, err := n.Observe(p.UID)
	if err != nil {
		n.t.Fatal(err)
	}
	return m
}

// mustRemove tears everything of a pod down and checks that nothing is left.
func (n *node) mustRemove(p *v1.Pod) {
	n.t.Helper()
	for volume := range n.observe(p) {
		if err := n.Unmount(n.t.Context(), p.UID, volume); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := n.RemovePodDir(n.t.Context(), p.UID); err != nil {
		n.t.Fatal(err)
	}
	if _, err := os.Lstat(n.podDir(p.UID)); !errors.Is(err, fs.ErrNotExist) {
		n.t.Errorf("the pod's directory is still there: %v", err)
	}
	if mounts, err := hostfs.MountsBelow(n.root); err != nil || len(mounts) > 0 {
		n.t.Errorf("mounts are left: %q, %v", mounts, err)
	}
}

func podWith(sources map[string]v1.VolumeSource) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "uid-1", Labels: map[string]string{"app": "web"}},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "main"}}},
	}
	for name, s := range sources {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: s})
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: name, MountPath: "/" + name})
	}
	return p
}

func one(s v1.VolumeSource) *v1.Pod { return podWith(map[string]v1.VolumeSource{"data": s}) }

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEmptyDir_OutlivesTheAgentAndGoesWithThePod(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	path := n.mustMount(p, "data")
	if want := filepath.Join(n.cfg.Root, "pods/uid-1/volumes/kubernetes.io~empty-dir/data"); path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
	if got := modeOf(t, path).Perm(); got != 0o777 {
		t.Errorf("mode is %o, want 777", got)
	}
	if err := os.WriteFile(filepath.Join(path, "f"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if got := n.observe(p); !cmp.Equal(got, map[string]pod.Mount{"data": {Kind: "emptyDir", Ready: true, Path: path}}) {
		t.Errorf("after a restart: %+v", got)
	}
	n.mustMount(p, "data")
	if got := read(t, filepath.Join(path, "f")); got != "kept" {
		t.Errorf("content is %q", got)
	}
	n.restart()
	n.mustRemove(p)
}

func TestEmptyDir_InMemoryIsATmpfsOfTheLimitedSize(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory, SizeLimit: new(resource.MustParse("2Mi"))}})
	p.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Mi")}
	path := n.mustMount(p, "data")
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.TMPFS_MAGIC || int64(st.Blocks)*st.Bsize != 1<<20 {
		t.Errorf("file system %x of %d bytes, want a tmpfs of the memory limit, 1 MiB", st.Type, int64(st.Blocks)*st.Bsize)
	}
	n.mustRemove(p)
}

func TestEmptyDir_InMemoryIsAsLargeAsThePodMayBe(t *testing.T) {
	limit := func(memory string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse(memory)}}
	}
	sidecar := new(v1.ContainerRestartPolicyAlways)
	for name, c := range map[string]struct {
		spec  v1.PodSpec
		size  string // of the volume; "" for none
		alloc string // of the node; "" for not known
		want  string // "0" for the kernel's default
	}{
		"no limit at all":              {v1.PodSpec{Containers: []v1.Container{{}}}, "", "", "0"},
		"the node's":                   {v1.PodSpec{Containers: []v1.Container{{}}}, "", "8Gi", "8Gi"},
		"the volume's":                 {v1.PodSpec{Containers: []v1.Container{{Resources: limit("2Gi")}}}, "1Gi", "8Gi", "1Gi"},
		"the volume's, of zero":        {v1.PodSpec{Containers: []v1.Container{{Resources: limit("2Gi")}}}, "0", "8Gi", "2Gi"},
		"the sum of the containers":    {v1.PodSpec{Containers: []v1.Container{{Resources: limit("1Gi")}, {Resources: limit("2Gi")}}}, "4Gi", "8Gi", "3Gi"},
		"of one without a limit":       {v1.PodSpec{Containers: []v1.Container{{Resources: limit("1Gi")}, {}}}, "", "8Gi", "8Gi"},
		"more than the node has":       {v1.PodSpec{Containers: []v1.Container{{Resources: limit("16Gi")}}}, "", "8Gi", "8Gi"},
		"of a larger init container":   {v1.PodSpec{InitContainers: []v1.Container{{Resources: limit("4Gi")}}, Containers: []v1.Container{{Resources: limit("1Gi")}}}, "", "8Gi", "4Gi"},
		"of an init container without": {v1.PodSpec{InitContainers: []v1.Container{{}}, Containers: []v1.Container{{Resources: limit("1Gi")}}}, "", "8Gi", "8Gi"},
		"with a sidecar": {v1.PodSpec{
			InitContainers: []v1.Container{{Resources: limit("1Gi"), RestartPolicy: sidecar}}, Containers: []v1.Container{{Resources: limit("1Gi")}},
		}, "", "8Gi", "2Gi"},
		"of the pod level": {v1.PodSpec{Resources: new(limit("1Gi")), Containers: []v1.Container{{}}}, "", "8Gi", "1Gi"},
		"of the pod level, beside a container's": {v1.PodSpec{
			Resources: new(limit("3Gi")), InitContainers: []v1.Container{{}}, Containers: []v1.Container{{Resources: limit("1Gi")}},
		}, "", "8Gi", "3Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.cfg.Node = func() downward.Node {
				if c.alloc == "" {
					return downward.Node{}
				}
				return downward.Node{Allocatable: v1.ResourceList{v1.ResourceMemory: resource.MustParse(c.alloc)}}
			}
			var size *resource.Quantity
			if c.size != "" {
				size = new(resource.MustParse(c.size))
			}
			want := resource.MustParse(c.want)
			if got := n.tmpfsSize(&v1.Pod{Spec: c.spec}, size); got != want.Value() {
				t.Errorf("size is %d, want %s", got, c.want)
			}
		})
	}
}

func TestMount_IsNotReadyAfterARebootUntilMountedAgain(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}})
	path := n.mustMount(p, "data")
	if err := hostfs.UnmountBelow(path); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if m := n.observe(p)["data"]; m.Ready {
		t.Errorf("an unmounted volume is ready: %+v", m)
	}
	n.mustMount(p, "data")
	if mounted, err := hostfs.Mounted(path); !mounted {
		t.Errorf("it was not mounted again: %v", err)
	}
	n.mustRemove(p)
}

func TestObserve_RebuildsALostOrGarbledLedgerFromTheDisk(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"lost":    os.Remove,
		"garbled": func(file string) error { return os.WriteFile(file, []byte(`{"volumes": {"da`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}})
			path := n.mustMount(p, "data")
			if err := spoil(filepath.Join(n.podDir(p.UID), ledgerFile)); err != nil {
				t.Fatal(err)
			}
			n.restart()
			if got, want := n.observe(p)["data"], (pod.Mount{Kind: "emptyDir", Path: path}); got != want {
				t.Errorf("observed %+v, want %+v", got, want)
			}
			n.mustRemove(p)
		})
	}
}

func TestObserve_RemembersNothingOfAPodThatIsGone(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	n.mustMount(p, "data")
	n.mustRemove(p)
	if got := n.observe(p); len(got) > 0 || len(n.pods) > 0 {
		t.Errorf("observed %v, remembered %v", got, n.pods)
	}
	if err := n.Unmount(t.Context(), p.UID, "data"); err != nil {
		t.Error(err)
	}
}

func TestUnmount_WorksOnAFullDisk(t *testing.T) {
	n := newNode(t)
	if err := unix.Mount("tmpfs", n.root, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": strings.Repeat("x", 64<<10)}}}
	p := podWith(map[string]v1.VolumeSource{"a": {EmptyDir: &v1.EmptyDirVolumeSource{}}, "b": {EmptyDir: &v1.EmptyDirVolumeSource{}}, "conf": configMapVolume("conf")})
	a := n.mustMount(p, "a")
	n.mustMount(p, "b")
	if err := os.WriteFile(filepath.Join(a, "full"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := n.Mount(t.Context(), p, "conf"); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("error of a mount is %v", err)
	}
	if err := n.Unmount(t.Context(), p.UID, "b"); err != nil {
		t.Error(err)
	}
	n.restart()
	if m := n.observe(p); !m["a"].Ready || m["b"].Ready {
		t.Errorf("after a restart: %+v", m)
	}
	for name := range n.observe(p) {
		if err := n.Unmount(t.Context(), p.UID, name); err != nil {
			t.Error(err)
		}
	}
	if err := n.RemovePodDir(t.Context(), p.UID); err != nil {
		t.Error(err)
	}
}

func TestUnmount_NeverTouchesAHostPath(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := one(v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: host}})
	if path := n.mustMount(p, "data"); path != host {
		t.Errorf("path is %s, want %s", path, host)
	}
	n.mustRemove(p)
	modeOf(t, filepath.Join(host, "precious"))
}

func TestHostPath_ChecksItsType(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		t    v1.HostPathType
		want string // "" for none
	}{
		{dir, v1.HostPathDirectory, ""},
		{file, v1.HostPathDirectory, "is not a directory"},
		{file, v1.HostPathFile, ""},
		{dir, v1.HostPathFile, "is not a file"},
		{filepath.Join(dir, "a/b"), v1.HostPathDirectoryOrCreate, ""},
		{filepath.Join(dir, "new"), v1.HostPathFileOrCreate, ""},
		{filepath.Join(dir, "none"), v1.HostPathFile, "no such file"},
		{filepath.Join(dir, "none"), v1.HostPathUnset, ""},
		{"/dev/null", v1.HostPathCharDev, ""},
		{"/dev/null", v1.HostPathBlockDev, "is not a block device"},
		{file, v1.HostPathSocket, "is not a socket"},
		{"relative", v1.HostPathUnset, "not an absolute path"},
		{file, "Directry", "unknown"},
	} {
		err := local.Check(c.path, c.t)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("local.Check(%s, %s) = %v, want %q", c.path, c.t, err, c.want)
		}
	}
}

func TestMount_SaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		source v1.VolumeSource
		want   string
	}{
		"no such configMap": {v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "none"}}},
			`MountVolume.SetUp failed for volume "data" : configmaps "none" not found (create the ConfigMap shop/none)`},
		"no such secret": {v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none"}}, `secrets "none" not found`},
		"no such claim":  {v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "none"}}, `persistentvolumeclaims "none" not found`},
		"unsupported":    {v1.VolumeSource{NFS: &v1.NFSVolumeSource{}}, "volumes of type nfs are not supported"},
		"missing key": {v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "conf"}, Items: []v1.KeyToPath{{Key: "b", Path: "b"}}}},
			"references non-existent key: b"},
		"path out of the volume": {v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "conf"}, Items: []v1.KeyToPath{{Key: "a", Path: "../../etc/x"}}}},
			"not a plain relative path"},
		"trust bundle": {v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{}}}}},
			"cannot project a ClusterTrustBundle: this node has no API server"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.objs.configMaps = map[string]*v1.ConfigMap{"conf": {Data: map[string]string{"a": "1"}}}
			p := one(c.source)
			err := n.Mount(t.Context(), p, "data")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
			if n.observe(p)["data"].Ready {
				t.Error("a volume that failed is ready")
			}
			n.mustRemove(p)
		})
	}
}

func TestMount_TellsWhatOnlyThisNodeHasToDoWith(t *testing.T) {
	for name, c := range map[string]struct {
		source v1.VolumeSource
		spoil  func(n *node, p *v1.Pod)
		want   string
	}{
		"a hostPath":          {source: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/none/at/all", Type: new(v1.HostPathDirectory)}}, want: pod.NodeLacks},
		"a local volume":      {source: claimVolume(), want: pod.NodeLacks},
		"an object":           {source: configMapVolume("none")},
		"the pod's directory": {source: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}, spoil: inTheWay, want: pod.NodeLacks},
		"a place for files":   {source: configMapVolume("conf"), spoil: inTheWay, want: pod.NodeLacks},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.setKeys("1", "2")
			n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: "/none/at/all"}})
			p := one(c.source)
			if c.spoil != nil {
				c.spoil(n, p)
			}
			class := ""
			err := n.Mount(t.Context(), p, "data")
			if e, ok := errors.AsType[*pod.Error](err); ok {
				class = e.Class
			}
			if err == nil || class != c.want {
				t.Errorf("error %v has class %q, want %q", err, class, c.want)
			}
		})
	}
}

// inTheWay puts a file where a pod's volumes are to be.
func inTheWay(n *node, p *v1.Pod) {
	dir := n.podDir(p.UID)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "volumes"), nil, 0o600)); err != nil {
		n.t.Fatal(err)
	}
}

func TestMount_TellsAPersonAtTheNodeToAddAFile(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none"}})
	p.Annotations = map[string]string{pod.AnnotationSource: "file"}
	if err := n.Mount(t.Context(), p, "data"); err == nil || !strings.Contains(err.Error(), "manifest directory") {
		t.Errorf("error is %v", err)
	}
}

func TestRemovePodDir_RefusesWhileAnythingIsMounted(t *testing.T) {
	n := newNode(t)
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}})
	path := n.mustMount(p, "data")
	if err := os.WriteFile(filepath.Join(path, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.RemovePodDir(t.Context(), p.UID); !errors.Is(err, hosttree.ErrMounted) {
		t.Errorf("error is %v, want ErrMounted", err)
	}
	modeOf(t, filepath.Join(path, "f"))
	n.mustRemove(p)
}

func TestRemovePodDir_RefusesAUIDThatIsAPath(t *testing.T) {
	n := newNode(t)
	for _, uid := range []types.UID{"", ".", "..", "../..", "a/b"} {
		if err := n.RemovePodDir(t.Context(), uid); err == nil {
			t.Errorf("RemovePodDir(%q) is no error", uid)
		}
		if err := n.Unmount(t.Context(), uid, "data"); err == nil {
			t.Errorf("Unmount of pod %q is no error", uid)
		}
	}
}

func TestUnmount_FollowsNoLinkOutOfAVolume(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := one(v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	path := n.mustMount(p, "data")
	if err := os.Symlink(host, filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	n.mustRemove(p)
	modeOf(t, filepath.Join(host, "precious"))
}

func TestStats_AreOfVolumesThatAreFileSystemsOfTheirOwn(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	if err := unix.Mount("tmpfs", host, "tmpfs", 0, "size=4m,nr_inodes=100"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(host, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(filepath.Join(host, "f"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	p := podWith(map[string]v1.VolumeSource{
		"data":    {PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}},
		"scratch": {EmptyDir: &v1.EmptyDirVolumeSource{}},
	})
	n.mustMount(p, "data")
	n.mustMount(p, "scratch")
	got, err := n.Stats(t.Context(), p.UID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]csi.Stats{"data": {
		Bytes: csi.Amount{Total: 4 << 20, Used: 1 << 20, Available: 3 << 20}, Inodes: csi.Amount{Total: 100, Used: 2, Available: 98},
	}}, got); d != "" {
		t.Error(d)
	}
	n.mustRemove(p)
}

func BenchmarkMountUnmount(b *testing.B) {
	root := b.TempDir()
	v, err := New(Config{Root: root, Objects: objects.NewStore(&held{secrets: map[string]*v1.Secret{"s": {Data: map[string][]byte{"k": []byte("v")}}}}), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]v1.VolumeSource{"emptyDir": {EmptyDir: &v1.EmptyDirVolumeSource{}}, "secret": {Secret: &v1.SecretVolumeSource{SecretName: "s"}}} {
		b.Run(name, func(b *testing.B) {
			p := one(s)
			for b.Loop() {
				if err := errors.Join(v.Mount(b.Context(), p, "data"), v.Unmount(b.Context(), p.UID, "data"), v.RemovePodDir(b.Context(), p.UID)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestHugePageSize_IsTheMediumsOrTheOnlyOneRequested(t *testing.T) {
	for name, c := range map[string]struct {
		medium   v1.StorageMedium
		requests []string
		want     int64
		err      string
	}{
		"named":     {medium: "HugePages-1Gi", requests: []string{"hugepages-2Mi", "hugepages-1Gi"}, want: 1 << 30},
		"equal":     {medium: "HugePages-1024Ki", requests: []string{"hugepages-1Mi"}, want: 1 << 20},
		"other":     {medium: "HugePages-1Gi", requests: []string{"hugepages-2Mi"}, err: "needs a container that requests hugepages-1Gi"},
		"requested": {medium: "HugePages", requests: []string{"hugepages-2Mi"}, want: 2 << 20},
		"none":      {medium: "HugePages", err: "needs a container that requests hugepages-<size>"},
		"several":   {medium: "HugePages", requests: []string{"hugepages-2Mi", "hugepages-1Gi"}, err: "is ambiguous"},
		"garbage":   {medium: "HugePages-big", err: "has no valid page size"},
	} {
		p := one(v1.VolumeSource{})
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{}
		for _, r := range c.requests {
			p.Spec.Containers[0].Resources.Requests[v1.ResourceName(r)] = resource.MustParse("1Gi")
		}
		got, err := hugePageSize(p, c.medium)
		if got != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d, %v; want %d, %q", name, got, err, c.want, c.err)
		}
	}
}

// refreshAll brings every volume of a pod that can be up to date.
func (n *node) refreshAll(p *v1.Pod) error {
	var errs []error
	for i := range p.Spec.Volumes {
		if n.ready(p, p.Spec.Volumes[i].Name) && content.Has(&p.Spec.Volumes[i]) {
			errs = append(errs, n.Refresh(n.t.Context(), p, p.Spec.Volumes[i].Name))
		}
	}
	return errors.Join(errs...)
}

func (n *node) ready(p *v1.Pod, volume string) bool {
	mounts, err := n.Observe(p.UID)
	if err != nil {
		n.t.Error(err)
	}
	return mounts[volume].Ready
}
