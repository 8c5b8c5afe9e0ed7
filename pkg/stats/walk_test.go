package stats

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// withWalks runs walks whose trees are made up, in a bubble whose clock stands still while something is done.
func withWalks(t *testing.T, measure func(ctx context.Context, dir string, report func(Usage)) (Usage, error), test func(*testing.T, *walks)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWalks()
		w.measure = measure
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { w.run(ctx); close(over) }()
		test(t, w)
		cancel()
		<-over
	})
}

// endless counts a file of a KiB each millisecond, and never comes to an end by itself.
func endless(ctx context.Context, report func(Usage)) (Usage, error) {
	var u Usage
	for ctx.Err() == nil {
		time.Sleep(time.Millisecond) // the bubble's clock
		u.add(Usage{Bytes: 1 << 10, Inodes: 1})
		report(u)
	}
	return u, ctx.Err()
}

func pods(dirs ...string) map[types.UID][]string {
	all := map[types.UID][]string{}
	for _, d := range dirs {
		all[types.UID("pod of "+d)] = []string{d}
	}
	return all
}

func TestWalks_AreNotHeldUpByTreesThatNeverEnd(t *testing.T) {
	small := 0
	withWalks(t, func(ctx context.Context, dir string, report func(Usage)) (Usage, error) {
		if dir != "small" {
			return endless(ctx, report)
		}
		small++
		return Usage{Bytes: int64(small), Inodes: 1}, nil
	}, func(t *testing.T, w *walks) {
		began := time.Now()
		w.refresh(t.Context(), pods("a", "b", "c", "d", "e"))
		if took := time.Since(began); took != patience {
			t.Errorf("the first look took %s", took)
		}
		for i := range 10 {
			time.Sleep(10 * time.Second)
			began = time.Now()
			w.refresh(t.Context(), pods("a", "b", "c", "d", "e", "small"))
			if took := time.Since(began); took > 5*quantum {
				t.Errorf("look %d took %s", i, took)
			}
			if got := w.usage("small").Bytes; got != int64(i+1) {
				t.Errorf("look %d: the small directory was measured %d times", i, got)
			}
		}
		var counted int64
		for _, dir := range []string{"a", "b", "c", "d", "e"} {
			n := w.usage(dir).Inodes
			if n < 30_000 {
				t.Errorf("%d files of %s were counted in 102 s: another has more than its share", n, dir)
			}
			counted += n
		}
		if counted < 190_000 || counted > 210_000 {
			t.Errorf("%d files were counted in all: %d walks should read at a time", counted, atOnce)
		}
	})
}

func TestWalks_KeepWhatWasCountedWhenAWalkTakesTooLong(t *testing.T) {
	begun := 0
	withWalks(t, func(ctx context.Context, _ string, report func(Usage)) (Usage, error) {
		if begun++; begun == 1 {
			return endless(ctx, report)
		}
		<-ctx.Done()
		return Usage{Bytes: 1}, ctx.Err()
	}, func(t *testing.T, w *walks) {
		w.refresh(t.Context(), pods("a"))
		if got := w.usage("a").Inodes; got < 1000 || got > 2000 {
			t.Errorf("%d files while the walk goes on", got)
		}
		time.Sleep(longestWalk)
		most := w.usage("a")
		if most.Inodes < 500_000 {
			t.Errorf("%d files after the walk", most.Inodes)
		}
		for over := time.Now().Add(longestRest - time.Minute); time.Now().Before(over); time.Sleep(time.Minute) {
			w.refresh(t.Context(), pods("a"))
		}
		if begun != 1 {
			t.Error("it was walked again while it rests")
		}
		time.Sleep(time.Minute)
		w.refresh(t.Context(), pods("a"))
		time.Sleep(longestWalk)
		if got := w.usage("a"); begun != 2 || got != most {
			t.Errorf("after %d walks: %+v, want %+v", begun, got, most)
		}
	})
}

func TestWalks_OfOnePodGoOneAfterAnother(t *testing.T) {
	reading := 0
	withWalks(t, func(context.Context, string, func(Usage)) (Usage, error) {
		if reading++; reading > 1 {
			t.Error("two directories are read at the same time")
		}
		time.Sleep(10 * time.Millisecond)
		reading--
		return Usage{Inodes: 1}, nil
	}, func(t *testing.T, w *walks) {
		dirs := []string{"a", "b", "c"}
		w.refresh(t.Context(), map[types.UID][]string{"u": dirs})
		for _, d := range dirs {
			if w.usage(d).Inodes != 1 {
				t.Errorf("%s was not measured", d)
			}
		}
	})
}

func TestWalks_WaitNoLongerThanTheirCaller(t *testing.T) {
	withWalks(t, func(ctx context.Context, _ string, report func(Usage)) (Usage, error) { return endless(ctx, report) }, func(t *testing.T, w *walks) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		w.refresh(ctx, pods("a"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
		time.Sleep(time.Second)
		if got := w.usage("a").Inodes; got < 1500 {
			t.Errorf("the walk has ended with its caller: %d files", got)
		}
	})
}

func TestWalks_RestInProportionToWhatTheyTookAndForgetWhatNobodyAsksFor(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), 4096)
	look := func(t *testing.T, w *walks) Usage {
		w.refresh(t.Context(), pods(dir))
		return w.usage(dir)
	}
	withWalks(t, diskUsage, func(t *testing.T, w *walks) { // the clock stands still while a walk runs, so none has to rest
		first := look(t, w)
		write(t, filepath.Join(dir, "b"), 4096)
		second := look(t, w)
		if second.Inodes != first.Inodes+1 {
			t.Errorf("%d inodes after %d", second.Inodes, first.Inodes)
		}
		w.set(dir, func(d *directory) { d.due = time.Now().Add(time.Hour) })
		write(t, filepath.Join(dir, "c"), 4096)
		if got := look(t, w); got != second {
			t.Errorf("walked again while it rests: %+v", got)
		}
		time.Sleep(keepFor + time.Second)
		w.refresh(t.Context(), pods("another"))
		if got := look(t, w); got.Inodes != 4 {
			t.Errorf("a forgotten directory: %+v", got)
		}
	})
}

// A directory that is gone holds nothing.
func TestDisk_OfAPodWhoseDirectoriesAreGone(t *testing.T) {
	s := New(Config{RootDir: t.TempDir(), LogDir: t.TempDir()})
	go s.Run(t.Context())
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u"}, Spec: v1.PodSpec{
		Containers: []v1.Container{{Name: "c"}},
		Volumes:    []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}},
	}}
	dir := filepath.Join(s.cfg.RootDir, "pods/u/volumes/kubernetes.io~empty-dir/data")
	write(t, filepath.Join(dir, "f"), 4096)
	for _, want := range []bool{true, false} {
		disk, err := s.Disk(t.Context(), []*v1.Pod{p})
		if used := disk["u"].Volumes["data"]; err != nil || (used.Inodes > 0) != want {
			t.Errorf("%+v %v", used, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.walks.set(dir, func(d *directory) { d.due = time.Time{} })
	}
}
