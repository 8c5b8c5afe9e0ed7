package volumes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

func claimVolume() v1.VolumeSource {
	return v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}
}

// bindClaim gives the node claim "claim", bound to volume "pv".
func (n *node) bindClaim(s v1.PersistentVolumeSource) (*v1.PersistentVolumeClaim, *v1.PersistentVolume) {
	pvc := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "claim", UID: "claim-uid"},
		Spec:       v1.PersistentVolumeClaimSpec{VolumeName: "pv"}, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound},
	}
	pv := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: v1.PersistentVolumeSpec{
		PersistentVolumeSource: s, ClaimRef: &v1.ObjectReference{Namespace: "shop", Name: "claim", UID: "claim-uid"},
	}}
	n.objs.claims = map[string]*v1.PersistentVolumeClaim{"claim": pvc}
	n.objs.volumes = map[string]*v1.PersistentVolume{"pv": pv}
	return pvc, pv
}

func TestClaim_OfALocalVolumeIsABindMountThatLeavesTheContent(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	if err := os.Chmod(host, 0o705); err != nil {
		t.Fatal(err)
	}
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	p := one(claimVolume())
	path := n.mustMount(p, "data")
	if want := filepath.Join(n.cfg.Root, "pods/uid-1/volumes/kubernetes.io~local-volume/pv"); path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
	if err := os.WriteFile(filepath.Join(path, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, host).Perm(); got != 0o705 {
		t.Errorf("the mode of the content's directory became %o", got)
	}
	n.restart()
	n.mustMount(p, "data")
	n.mustRemove(p)
	modeOf(t, filepath.Join(host, "precious"))
}

func TestClaim_ReadOnlyIsReadOnlyForEveryContainer(t *testing.T) {
	n := newNode(t)
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: t.TempDir()}})
	s := claimVolume()
	s.PersistentVolumeClaim.ReadOnly = true
	p := one(s)
	path := n.mustMount(p, "data")
	if err := os.WriteFile(filepath.Join(path, "f"), nil, 0o600); err == nil {
		t.Error("the mount can be written")
	}
	m, err := n.ContainerMounts(t.Context(), p, &p.Spec.Containers[0], nil)
	if err != nil || !m[0].ReadOnly {
		t.Errorf("mounts are %+v, %v", m, err)
	}
	n.mustRemove(p)
}

func TestClaim_TwoNamesForOneClaimAreOneVolume(t *testing.T) {
	n := newNode(t)
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: t.TempDir()}})
	p := podWith(map[string]v1.VolumeSource{"a": claimVolume(), "b": claimVolume()})
	if a, b := n.mustMount(p, "a"), n.mustMount(p, "b"); a != b {
		t.Errorf("paths are %s and %s", a, b)
	}
	if err := n.Unmount(t.Context(), p.UID, "a"); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if m := n.observe(p); !m["b"].Ready || len(m) != 1 {
		t.Errorf("after one name is gone: %+v", m)
	}
	n.mustRemove(p)
}

func TestUnmount_WithoutALedgerUndoesSubPathsToo(t *testing.T) {
	n := newNode(t)
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: t.TempDir()}})
	p := one(claimVolume())
	n.mustMount(p, "data")
	if _, err := n.subPath(p, "sub"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.podDir(p.UID), ledgerFile)); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.mustRemove(p)
}

func TestClaim_SaysWhyItCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*v1.PersistentVolumeClaim, *v1.PersistentVolume)
		want  string
	}{
		"pending":     {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume) { c.Spec.VolumeName = "" }, "is not bound to a volume"},
		"lost":        {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume) { c.Status.Phase = v1.ClaimLost }, `its phase is "Lost"`},
		"volume gone": {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume) { c.Spec.VolumeName = "x" }, `persistentvolumes "x" not found`},
		"other's":     {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) { v.Spec.ClaimRef.Name = "x" }, "bound to another claim, shop/x"},
		"recreated":   {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) { v.Spec.ClaimRef.UID = "x" }, "bound to another claim"},
		"block": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.VolumeMode = new(v1.PersistentVolumeBlock)
		}, "differ in volumeMode"},
		"a device that is mounted": {func(c *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.VolumeMode, c.Spec.VolumeMode = new(v1.PersistentVolumeBlock), new(v1.PersistentVolumeBlock)
		}, "has volumeMode Block, but is specified in volumeMounts of container main"},
		"deleted": {func(c *v1.PersistentVolumeClaim, _ *v1.PersistentVolume) { c.DeletionTimestamp = new(metav1.Now()) }, "is being deleted"},
		"elsewhere": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: v1.NodeSelectorOpIn, Values: []string{"n2"}}},
			}}}}
		}, "its nodeAffinity does not match the node's labels"},
		"options": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.MountOptions = []string{"ro", "discard"}
		}, "with the options discard"},
		"no such place": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) { v.Spec.Local.Path = "/none" }, "stat /none: no such file or directory"},
		"nfs": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{}}
		}, "install the driver nfs.csi.k8s.io"},
		"csi off": {func(_ *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
			v.Spec.PersistentVolumeSource = v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "v"}}
		}, "CSI is switched off"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			c.spoil(n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: "/tmp"}}))
			p := one(claimVolume())
			if err := n.Mount(t.Context(), p, "data"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
			n.mustRemove(p)
		})
	}
}

func TestAttached_WaitsForTheVolumeAttachment(t *testing.T) {
	attachment := func(s storagev1.VolumeAttachmentStatus) objects.Set {
		return objects.SetOf(&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: csi.AttachmentName("vol", "d", "n1")}, Status: s})
	}
	for name, c := range map[string]struct {
		driver      *storagev1.CSIDriver
		api         objects.Set
		want, class string
	}{
		"not there": {api: objects.Set{}, want: "is not attached to this node yet", class: pod.NotAttached},
		"not yet":   {api: attachment(storagev1.VolumeAttachmentStatus{}), want: "is not attached to this node yet", class: pod.NotAttached},
		"failed": {api: attachment(storagev1.VolumeAttachmentStatus{AttachError: &storagev1.VolumeError{Message: "no slot"}}),
			want: "cannot be attached to this node: no slot"},
		"attached":               {api: attachment(storagev1.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: map[string]string{"device": "/dev/sdx"}})},
		"driver does not attach": {driver: &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{AttachRequired: new(false)}}, api: objects.Set{}},
	} {
		t.Run(name, func(t *testing.T) {
			v := &Volumes{cfg: Config{NodeName: "n1", Attaches: true, Objects: objects.NewStore(c.api)}}
			vol := csi.Volume{Ref: csi.Ref{Driver: "d", Handle: "vol"}}
			err := v.attached(t.Context(), &v1.Pod{}, c.driver, &vol)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if e, _ := errors.AsType[*pod.Error](err); (e != nil) != (c.class != "") || e != nil && e.Class != c.class {
				t.Errorf("class of %v, want %q", err, c.class)
			}
			if name == "attached" && vol.PublishContext["device"] != "/dev/sdx" {
				t.Errorf("publish context is %v", vol.PublishContext)
			}
		})
	}
}

func TestTakesGroup_FollowsTheDriversPolicy(t *testing.T) {
	once := []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}
	policy := func(p storagev1.FSGroupPolicy) *storagev1.CSIDriver {
		return &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{FSGroupPolicy: &p}}
	}
	for name, c := range map[string]struct {
		v      csi.Volume
		driver *storagev1.CSIDriver
		want   bool
	}{
		"default, one writer":      {csi.Volume{FSType: "ext4", AccessModes: once}, nil, true},
		"default, no file system":  {csi.Volume{AccessModes: once}, nil, false},
		"default, many writers":    {csi.Volume{FSType: "nfs", AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}}, nil, false},
		"default, inline":          {csi.Volume{FSType: "ext4", Ephemeral: true}, nil, true},
		"read-only":                {csi.Volume{FSType: "ext4", AccessModes: once, ReadOnly: true}, policy(storagev1.FileFSGroupPolicy), false},
		"None":                     {csi.Volume{FSType: "ext4", AccessModes: once}, policy(storagev1.NoneFSGroupPolicy), false},
		"File, with many writers":  {csi.Volume{}, policy(storagev1.FileFSGroupPolicy), true},
		"ReadWriteOnceWithFSType ": {csi.Volume{FSType: "ext4", AccessModes: once}, policy(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), true},
	} {
		if got := takesGroup(c.v, c.driver); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPodInfo(t *testing.T) {
	p := one(v1.VolumeSource{})
	p.Spec.ServiceAccountName = "sa"
	full := map[string]string{
		"csi.storage.k8s.io/pod.name": "web", "csi.storage.k8s.io/pod.namespace": "shop", "csi.storage.k8s.io/pod.uid": "uid-1",
		"csi.storage.k8s.io/serviceAccount.name": "sa", "csi.storage.k8s.io/ephemeral": "true",
	}
	wants := &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{PodInfoOnMount: new(true)}}
	if diff := cmp.Diff(full, podInfo(p, true, wants)); diff != "" {
		t.Error(diff)
	}
	for name, got := range map[string]map[string]string{
		"claim, no CSIDriver":             podInfo(p, false, nil),
		"inline, CSIDriver does not want": podInfo(p, true, &storagev1.CSIDriver{}),
	} {
		if len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOwn_GivesATreeToTheGroupOnce(t *testing.T) {
	n := newNode(t)
	host, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	for _, f := range []string{filepath.Join(host, "d", "f"), outside} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(host, "link")); err != nil {
		t.Fatal(err)
	}
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	p := one(claimVolume())
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(77)), FSGroupChangePolicy: new(v1.FSGroupChangeOnRootMismatch)}
	n.mustMount(p, "data")
	group := func(path string) uint32 {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Gid
	}
	if g, m := group(filepath.Join(host, "d", "f")), modeOf(t, filepath.Join(host, "d", "f")).Perm(); g != 77 || m != 0o660 {
		t.Errorf("file: group %d, mode %o", g, m)
	}
	if m := modeOf(t, filepath.Join(host, "d")); m.Perm() != 0o775 || m&os.ModeSetgid == 0 {
		t.Errorf("directory: mode %v", m)
	}
	if g, m := group(outside), modeOf(t, outside).Perm(); g == 77 || m != 0o600 {
		t.Errorf("a link led outside: group %d, mode %o", g, m)
	}
	n.mustRemove(p)
	if err := os.Chown(filepath.Join(host, "d", "f"), 0, 5); err != nil {
		t.Fatal(err)
	}
	p.UID = "uid-2"
	n.mustMount(p, "data")
	if g := group(filepath.Join(host, "d", "f")); g != 5 {
		t.Errorf("OnRootMismatch walked a volume whose root is the group's: group %d", g)
	}
	n.mustRemove(p)
}

// TestClaim_OfALocalDeviceGivesTheDevice gives a container a disk as it is, and takes nothing of it away.
func TestClaim_OfALocalDeviceGivesTheDevice(t *testing.T) {
	n := newNode(t)
	pvc, pv := n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: "/dev/loop0"}})
	pv.Spec.VolumeMode, pvc.Spec.VolumeMode = new(v1.PersistentVolumeBlock), new(v1.PersistentVolumeBlock)
	p := one(claimVolume())
	c := &p.Spec.Containers[0]
	c.VolumeMounts, c.VolumeDevices = nil, []v1.VolumeDevice{{Name: "data", DevicePath: "/dev/xvda"}}
	if _, err := n.ContainerDevices(p, c); err == nil || !strings.Contains(err.Error(), "not set up yet") {
		t.Errorf("before Mount: %v", err)
	}
	n.mustMount(p, "data")
	n.restart()
	got, err := n.ContainerDevices(p, c)
	if want := []Device{{HostPath: "/dev/loop0", ContainerPath: "/dev/xvda"}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("devices %v, %v; want %v", got, err, want)
	}
	n.mustRemove(p)
	modeOf(t, "/dev/loop0")
	pv.Spec.Local.Path = t.TempDir()
	if err := n.Mount(t.Context(), p, "data"); err == nil || !strings.Contains(err.Error(), "is not a block device") {
		t.Errorf("a directory in its place: %v", err)
	}
	n.mustRemove(p)
}

// told are events, as "reason: message".
func (n *node) told() []string {
	defer func() { n.events = nil }()
	return n.events
}

// An immutable file refuses its new group, as servers of files do.
func TestOwn_LeavesAFileThatRefusesAndTellsOfIt(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	for _, name := range []string{"d/immutable", "d/other", "z"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755), os.WriteFile(filepath.Join(host, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	refusing := filepath.Join(host, "d/immutable")
	setImmutable(t, refusing, true)
	t.Cleanup(func() { setImmutable(t, refusing, false) })
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	p := one(claimVolume())
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(77))}
	n.mustMount(p, "data")
	for _, name := range []string{"", "d", "d/other", "z"} {
		if g := lstat(t, filepath.Join(host, name)).Sys().(*syscall.Stat_t).Gid; g != 77 {
			t.Errorf("%s/%s has group %d", host, name, g)
		}
	}
	want := "VolumePermissionChangeFailed: Cannot give everything in volume pv to fsGroup 77: 2 attempts were refused; the first was chown "
	if got := n.told(); len(got) != 1 || !strings.HasPrefix(got[0], want) || !strings.HasSuffix(got[0], "d/immutable: operation not permitted") {
		t.Errorf("events are %q, want %q", got, want)
	}
	n.mustRemove(p)
}

func setImmutable(t *testing.T, path string, on bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := 0
	if on {
		flags = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		t.Fatalf("the file system of temporary files has no immutable files: %v", err)
	}
}

func TestLocal_KeepsTheGroupOfThePodThatHasItFirst(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	file := filepath.Join(host, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	group := func() uint32 { return lstat(t, file).Sys().(*syscall.Stat_t).Gid }
	pods := map[string]*v1.Pod{}
	for uid, fsGroup := range map[string]*int64{"first": new(int64(1000)), "second": new(int64(2000)), "same": new(int64(1000)), "none": nil} {
		p := one(claimVolume())
		p.UID, p.Spec.SecurityContext = types.UID(uid), &v1.PodSecurityContext{FSGroup: fsGroup}
		pods[uid] = p
	}
	n.mustMount(pods["first"], "data")
	n.restart() // and knows of the first pod by its mount alone
	for _, uid := range []string{"second", "same", "none"} {
		n.mustMount(pods[uid], "data")
		var want []string
		if uid == "second" {
			want = []string{"AlreadyMountedVolume: The requested fsGroup is 2000, but the volume pv has GID 1000. The volume may not be shareable."}
		}
		if diff := cmp.Diff(want, n.told()); diff != "" {
			t.Errorf("%s: %s", uid, diff)
		}
		if got := group(); got != 1000 {
			t.Errorf("%s has taken the volume from the first: its group is %d", uid, got)
		}
	}
	for _, uid := range []string{"first", "same", "none", "second"} {
		if err := n.Unmount(t.Context(), types.UID(uid), "data"); err != nil {
			t.Fatal(err)
		}
	}
	n.mustMount(pods["second"], "data")
	if got, events := group(), n.told(); got != 2000 || len(events) > 0 {
		t.Errorf("with nobody else the group is %d, events %q", got, events)
	}
	for _, p := range pods {
		if err := errors.Join(n.Unmount(t.Context(), p.UID, "data"), n.RemovePodDir(t.Context(), p.UID)); err != nil {
			t.Error(err)
		}
	}
}

func TestLocal_IsGivenToOneOfTwoPodsThatComeAtOnce(t *testing.T) {
	n := newNode(t)
	host := t.TempDir()
	n.bindClaim(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: host}})
	var wg sync.WaitGroup
	for i := range 8 {
		p := one(claimVolume())
		p.UID = types.UID(fmt.Sprint("uid-", i))
		p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(1000 + i))}
		wg.Go(func() {
			if err := n.Mount(t.Context(), p, "data"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if events := n.told(); len(events) != 7 {
		t.Errorf("of 8 pods %d were told that another has the volume: %q", len(events), events)
	}
	for i := range 8 {
		uid := types.UID(fmt.Sprint("uid-", i))
		if err := errors.Join(n.Unmount(t.Context(), uid, "data"), n.RemovePodDir(t.Context(), uid)); err != nil {
			t.Error(err)
		}
	}
}

func TestGroups_AreThoseThatVolumesName(t *testing.T) {
	for name, c := range map[string]struct {
		annotation string
		groups     []int64 // of the pod
		want       []int64
	}{
		"a group":               {"1234", nil, []int64{1234}},
		"one that the pod has":  {"1234", []int64{5, 1234}, nil},
		"none":                  {"", nil, nil},
		"what is no group":      {"staff", nil, nil},
		"a number out of range": {"-1", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			_, pv := n.bindClaim(v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/tmp"}})
			pv.Annotations = map[string]string{"pv.beta.kubernetes.io/gid": c.annotation}
			p := podWith(map[string]v1.VolumeSource{"data": claimVolume(), "again": claimVolume(), "other": {EmptyDir: &v1.EmptyDirVolumeSource{}}})
			p.Spec.SecurityContext = &v1.PodSecurityContext{SupplementalGroups: c.groups}
			if got := n.Groups(p); len(got) > 0 {
				t.Errorf("before a mount: %v", got)
			}
			for _, v := range p.Spec.Volumes {
				n.mustMount(p, v.Name)
			}
			n.restart()
			n.observe(p)
			if diff := cmp.Diff(c.want, n.Groups(p)); diff != "" {
				t.Error(diff)
			}
			n.mustRemove(p)
		})
	}
}
