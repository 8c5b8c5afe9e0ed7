package e2e

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/hosttree"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	csiHandle  = "vol-shared"
	csiTimeout = 2 * time.Second // of a call to the driver
	csiSoon    = 10 * time.Second
)

// storageNode is the part of an agent that mounts volumes, on a root directory that outlives it.
type storageNode struct {
	*volumes.Volumes
	csi     *csi.Node
	changed chan struct{}
	env     *testbed.Env
	t       *testing.T
	root    string
	cancel  context.CancelFunc
	running sync.WaitGroup

	republish bool // the driver wants to be asked for its volumes again and again
}

func newStorage(t *testing.T) (*storageNode, *testbed.CSIDriver) {
	t.Helper()
	e := testbed.New(t)
	root := e.Path("agent", "root")
	t.Cleanup(func() {
		if err := hostfs.UnmountBelow(root); err != nil {
			t.Error(err)
		}
	})
	s := &storageNode{env: e, t: t, root: root}
	d := e.CSIDriver(testbed.CSIDriverConfig{Agent: &testbed.Agent{NodeName: "n1", RootDir: root}})
	s.start()
	t.Cleanup(s.stop)
	return s, d
}

// start is a new agent on what the old one left.
func (s *storageNode) start() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	s.changed = make(chan struct{}, 16)
	changed := s.changed
	var err error
	s.csi, err = csi.New(csi.Config{Root: s.root, NodeName: "n1", CallTimeout: csiTimeout, RetryBackoff: 50 * time.Millisecond, Log: log, Changed: func() { changed <- struct{}{} }})
	if err == nil {
		s.Volumes, err = volumes.New(volumes.Config{Root: s.root, NodeName: "n1", Objects: objects.NewStore(claims{s.republish}), CSI: s.csi, Log: log})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	node := s.csi
	s.running.Go(func() {
		if err := node.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *storageNode) stop() {
	s.cancel()
	s.running.Wait()
}

func (s *storageNode) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// claims is a node's objects: claim "data" is bound to volume "pv-1" of the driver.
type claims struct{ republish bool }

func (c claims) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	switch k.Kind {
	case "PersistentVolumeClaim":
		return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name},
			Spec: v1.PersistentVolumeClaimSpec{VolumeName: "pv-1"}, Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound}}, nil
	case "PersistentVolume":
		return &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: k.Name}, Spec: v1.PersistentVolumeSpec{
			AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: testbed.CSIDriverName, VolumeHandle: csiHandle, FSType: "ext4",
			}},
		}}, nil
	case "CSIDriver":
		if c.republish {
			return &storagev1.CSIDriver{Spec: storagev1.CSIDriverSpec{RequiresRepublish: new(true)}}, nil
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: k.Kind}, k.Name)
}

func storagePod(uid string, source v1.VolumeSource) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-" + uid, Namespace: "shop", UID: types.UID(uid), Annotations: map[string]string{pod.AnnotationSource: "file"}},
		Spec: v1.PodSpec{
			Volumes:    []v1.Volume{{Name: "data", VolumeSource: source}},
			Containers: []v1.Container{{Name: "main", VolumeMounts: []v1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
		},
	}
}

func claimPod(uid string) *v1.Pod {
	return storagePod(uid, v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}})
}

func (s *storageNode) mount(p *v1.Pod) string {
	s.t.Helper()
	if err := s.Mount(s.t.Context(), p, "data"); err != nil {
		s.t.Fatal(err)
	}
	observed, err := s.Observe(p.UID)
	if err != nil || !observed["data"].Ready {
		s.t.Fatalf("after Mount: %+v, %v", observed, err)
	}
	if mounted, err := hostfs.Mounted(observed["data"].Path); !mounted {
		s.t.Fatalf("nothing is mounted: %v", err)
	}
	return observed["data"].Path
}

func (s *storageNode) unmount(p *v1.Pod) {
	s.t.Helper()
	if err := s.Unmount(s.t.Context(), p.UID, "data"); err != nil {
		s.t.Fatal(err)
	}
	if err := s.RemovePodDir(s.t.Context(), p.UID); err != nil {
		s.t.Fatal(err)
	}
}

// clean checks that nothing is left of any pod or volume.
func (s *storageNode) clean() error {
	mounts, err := hostfs.MountsBelow(s.root)
	if err != nil || len(mounts) > 0 {
		return errors.Join(err, errors.New("mounts: "+strings.Join(mounts, " ")))
	}
	for _, pattern := range []string{"pods/*", "plugins/kubernetes.io/csi/*/*"} {
		if left, err := filepath.Glob(filepath.Join(s.root, pattern)); err != nil || len(left) > 0 {
			return errors.Join(err, errors.New("directories: "+strings.Join(left, " ")))
		}
	}
	return nil
}

func (s *storageNode) mustBeClean() {
	s.t.Helper()
	if err := s.clean(); err != nil {
		s.t.Errorf("left on the node: %v", err)
	}
}

func TestCSI_StagesPublishesAndUndoesAClaim(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	p := claimPod("uid-1")
	path := s.mount(p)
	if want := filepath.Join(s.root, "pods/uid-1/volumes/kubernetes.io~csi/pv-1/mount"); path != want {
		t.Errorf("path is %s, want %s", path, want)
	}
	if err := os.WriteFile(filepath.Join(path, "f"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	stats, ok, err := s.csi.Stats(t.Context(), csi.Ref{Driver: d.Name, Handle: csiHandle}, path)
	if err != nil || !ok || stats.Bytes.Total == 0 {
		t.Errorf("stats are %+v, %v, %v", stats, ok, err)
	}
	s.unmount(p)
	s.mustBeClean()
	want := []string{"NodeStageVolume", "NodePublishVolume", "NodeGetVolumeStats", "NodeUnpublishVolume", "NodeUnstageVolume"}
	if diff := cmp.Diff(want, d.Calls(csiHandle)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	next := claimPod("uid-2")
	if b, err := os.ReadFile(filepath.Join(s.mount(next), "f")); string(b) != "kept" {
		t.Errorf("the next pod reads %q, %v", b, err)
	}
	s.unmount(next)
	s.mustBeClean()
}

func TestCSI_AsksADriverAgainThatWantsIt(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	s.republish = true
	s.restart()
	p := claimPod("uid-1")
	file := filepath.Join(s.mount(p), "f")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	if m, err := s.Observe(p.UID); err != nil || m["data"].Due.IsZero() {
		t.Errorf("after a restart it is not due again: %+v, %v", m, err)
	}
	if err := s.Refresh(t.Context(), p, "data"); err != nil {
		t.Error(err)
	}
	d.Fail("NodePublishVolume Unavailable away")
	if err := s.Refresh(t.Context(), p, "data"); err == nil {
		t.Error("a driver that fails is no error")
	}
	if b, err := os.ReadFile(file); string(b) != "kept" {
		t.Errorf("the pod reads %q, %v", b, err)
	}
	d.Fail()
	s.unmount(p)
	s.mustBeClean()
	calls := slices.DeleteFunc(d.Calls(csiHandle), func(c string) bool { return c == "NodeStageVolume" })
	want := []string{"NodePublishVolume", "NodePublishVolume", "NodePublishVolume:Unavailable", "NodeUnpublishVolume", "NodeUnstageVolume"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestCSI_ListsRegisteredDrivers(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	<-s.changed
	want := []csi.Driver{{Name: d.Name, NodeID: "n1", MaxVolumes: 16}}
	if diff := cmp.Diff(want, s.csi.Drivers()); diff != "" {
		t.Error(diff)
	}
	sockets, err := filepath.Glob(filepath.Join(s.root, "plugins_registry", "*.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatal(sockets, err)
	}
	if err := os.Remove(sockets[0]); err != nil {
		t.Fatal(err)
	}
	<-s.changed
	if got := s.csi.Drivers(); len(got) != 0 {
		t.Errorf("a driver without its socket is registered: %+v", got)
	}
	if err := s.Mount(t.Context(), claimPod("uid-1"), "data"); !errors.Is(err, csi.ErrNoDriver) {
		t.Errorf("error is %v, want ErrNoDriver", err)
	}
	d.Kill()
	d.Start()
	<-s.changed
	p := claimPod("uid-1")
	s.mount(p)
	s.unmount(p)
	s.mustBeClean()
}

func TestCSI_InlineVolumeIsPublishedAloneWithPodInfo(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	p := storagePod("uid-1", v1.VolumeSource{CSI: &v1.CSIVolumeSource{Driver: d.Name, FSType: new("ext4")}})
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(4321))}
	path := s.mount(p)
	info, err := os.Stat(path)
	if err != nil || info.Mode()&fs.ModeSetgid == 0 {
		t.Errorf("the volume is not the fsGroup's: %v, %v", info.Mode(), err)
	}
	s.unmount(p)
	s.mustBeClean()
	want := []string{"NodePublishVolume", "NodeUnpublishVolume"}
	if diff := cmp.Diff(want, d.Calls(csi.EphemeralHandle("uid-1", "data"))); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestCSI_TwoPodsShareOneStagedVolume(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	a, b := claimPod("uid-a"), claimPod("uid-b")
	var mounts sync.WaitGroup
	for _, p := range []*v1.Pod{a, b} {
		mounts.Go(func() {
			if err := s.Mount(t.Context(), p, "data"); err != nil {
				t.Error(err)
			}
		})
	}
	mounts.Wait()
	s.restart()
	s.unmount(a)
	if slices.Contains(d.Calls(csiHandle), "NodeUnstageVolume") {
		t.Error("the volume was unstaged under the second pod")
	}
	s.restart()
	s.unmount(b)
	s.mustBeClean()
	calls := d.Calls(csiHandle)
	slices.Sort(calls)
	want := []string{"NodePublishVolume", "NodePublishVolume", "NodeStageVolume", "NodeUnpublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// An agent may die between any two steps; the failing call stands for the moment of its death.
func TestCSI_SurvivesAnAgentRestartBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	for _, failure := range []string{
		"NodeStageVolume Unavailable away", "NodeStageVolume delay 1m", "NodeStageVolume NotFound unknown",
		"NodePublishVolume Aborted pending", "NodePublishVolume delay 1m", "NodePublishVolume InvalidArgument no",
	} {
		for _, after := range []string{"goes on", "is deleted"} {
			t.Run(failure+", then the pod "+after, func(t *testing.T) {
				s.t = t
				p := claimPod("uid-1")
				d.Fail(failure)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if err := s.Mount(ctx, p, "data"); err == nil {
					t.Fatal("a mount that fails is no error")
				}
				d.Fail()
				s.restart()
				if m, err := s.Observe(p.UID); err != nil || m["data"].Ready || m["data"].Kind != "csi" {
					t.Errorf("after the restart: %+v, %v", m, err)
				}
				if after == "goes on" {
					s.mount(p)
				}
				s.unmount(p)
				s.mustBeClean()
			})
		}
	}
	for _, failure := range []string{
		"NodeUnpublishVolume Unavailable away", "NodeUnpublishVolume delay 1m", "NodeUnstageVolume Aborted pending", "NodeUnstageVolume delay 1m",
	} {
		t.Run(failure, func(t *testing.T) {
			s.t = t
			p := claimPod("uid-1")
			s.mount(p)
			d.Fail(failure)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := s.Unmount(ctx, p.UID, "data"); err == nil {
				t.Fatal("an unmount that fails is no error")
			}
			d.Fail()
			s.restart()
			if m, err := s.Observe(p.UID); err != nil || m["data"].Kind != "csi" {
				t.Errorf("after the restart: %+v, %v", m, err)
			}
			s.unmount(p)
			s.mustBeClean()
		})
	}
}

func TestCSI_UnstagesWhatNoPodUsesWhenTheDriverRegisters(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	p := claimPod("uid-1")
	path := s.mount(p)
	s.stop()
	if err := hostfs.UnmountBelow(path); err != nil { // the pod went while there was no agent
		t.Fatal(err)
	}
	if err := hosttree.Remove(s.t.Context(), filepath.Join(s.root, "pods", "uid-1")); err != nil {
		t.Fatal(err)
	}
	s.start()
	testbed.Eventually(t, csiSoon, "the volume is unstaged", s.clean)
	if calls := d.Calls(csiHandle); calls[len(calls)-1] != "NodeUnstageVolume" {
		t.Errorf("calls are %q", calls)
	}
}

func TestCSI_ADriverThatWasKilledWorksAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	p := claimPod("uid-1")
	path := s.mount(p)
	d.Kill()
	if err := os.WriteFile(filepath.Join(path, "f"), nil, 0o600); err != nil {
		t.Errorf("a mounted volume needs its driver: %v", err)
	}
	err := s.Unmount(t.Context(), p.UID, "data")
	if err == nil || !strings.Contains(err.Error(), "is its node plugin running?") && !errors.Is(err, csi.ErrNoDriver) {
		t.Errorf("error is %v", err)
	}
	d.Start()
	testbed.Eventually(t, csiSoon, "the volume is unmounted", func() error { return s.Unmount(t.Context(), p.UID, "data") })
	s.unmount(p)
	s.mustBeClean()
}

func TestCSI_ADriverThatHangsHurtsItsOwnPodsOnly(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	d.Fail("NodeStageVolume delay 1m")
	var hung sync.WaitGroup
	p := claimPod("uid-1")
	var err error
	hung.Go(func() { err = s.Mount(t.Context(), p, "data") })
	other := storagePod("uid-2", v1.VolumeSource{CSI: &v1.CSIVolumeSource{Driver: d.Name}})
	s.mount(other) // another volume of the same driver, while the first call hangs
	s.unmount(other)
	hung.Wait()
	if err == nil || !strings.Contains(err.Error(), "did not answer NodeStageVolume in time") {
		t.Errorf("error is %v", err)
	}
	d.Fail()
	s.unmount(p)
	s.mustBeClean()
	if calls := d.Calls(csiHandle); calls[len(calls)-1] != "NodeUnstageVolume" {
		t.Errorf("a stage that timed out was not unstaged: %q", calls)
	}
}

func TestCSI_SaysWhatIsWrongWithGarbledOrForeignState(t *testing.T) {
	t.Parallel()
	s, d := newStorage(t)
	p := claimPod("uid-1")
	path := s.mount(p)
	note := filepath.Join(filepath.Dir(path), "vol_data.json")
	t.Run("garbled, with a ledger", func(t *testing.T) {
		s.t = t
		if err := os.WriteFile(note, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.restart()
		s.unmount(p)
		s.mustBeClean()
	})
	t.Run("garbled, without a ledger", func(t *testing.T) {
		s.t = t
		path := s.mount(p)
		if err := os.WriteFile(note, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(s.root, "pods/uid-1/volumes.json")); err != nil {
			t.Fatal(err)
		}
		s.restart()
		err := s.Unmount(t.Context(), p.UID, "pv-1")
		if !errors.Is(err, book.ErrGarbled) || !strings.Contains(err.Error(), "unmount "+path) {
			t.Errorf("error is %v", err)
		}
		s.mount(p) // the specification tells again what it is
		s.unmount(p)
		s.mustBeClean()
	})
	t.Run("a link in the place of the mount point", func(t *testing.T) {
		s.t = t
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/", path); err != nil {
			t.Fatal(err)
		}
		before := len(d.Calls(csiHandle))
		if err := s.Mount(t.Context(), p, "data"); err == nil || !strings.Contains(err.Error(), "symbolic link (remove it)") {
			t.Errorf("error is %v", err)
		}
		if calls := d.Calls(csiHandle); len(calls) != before {
			t.Errorf("the driver was led along the link: %q", calls[before:])
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s.unmount(p)
		s.mustBeClean()
	})
}
