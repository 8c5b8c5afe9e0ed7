package kube_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// getter is a server that also counts reads.
type getter struct {
	server
	gets int
}

func (g *getter) Get(_ context.Context, _ kube.Key, into runtime.Object) error {
	g.gets++
	configMap("a", "1").DeepCopyInto(into.(*v1.ConfigMap))
	return nil
}

func (g *getter) Create(context.Context, kube.Key, runtime.Object, runtime.Object) error {
	return errors.New("not here")
}

func (g *getter) Patience(least time.Duration) time.Duration { return least }

func userOf(name string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "pod-uid"},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", EnvFrom: []v1.EnvFromSource{{
			ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: name}},
		}}}}},
	}
}

// holding runs an Objects for one test.
func holding(t *testing.T, g *getter) (o *kube.Objects, poked *[]types.UID) {
	poked = &[]types.UID{}
	o = kube.NewObjects(g, func(uid types.UID) { *poked = append(*poked, uid) }, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { o.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return o, poked
}

func TestObjects_ServeWhatIsWatchedAndPokeOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan *v1.ConfigMap)
		g := &getter{server: server{
			lists: []func() (*v1.ConfigMapList, error){listOf("5", configMap("a", "3"))},
			watches: []func(*watch.FakeWatcher) error{func(w *watch.FakeWatcher) error {
				for c := range events {
					w.Modify(c)
				}
				return errClosed
			}},
		}}
		o, poked := holding(t, g)
		defer close(events)
		o.Reference(userOf("a"))
		c, err := objects.Get[v1.ConfigMap](t.Context(), o, "ns", "a")
		if err != nil || c.ResourceVersion != "3" || len(*poked) > 0 {
			t.Fatalf("got %v, %v, poked %v", c, err, *poked)
		}
		events <- configMap("a", "8")
		synctest.Wait()
		c, err = objects.Get[v1.ConfigMap](t.Context(), o, "ns", "a")
		if err != nil || c.ResourceVersion != "8" {
			t.Errorf("after the change: %v, %v", c, err)
		}
		if d := cmp.Diff([]types.UID{"pod-uid"}, *poked); d != "" {
			t.Errorf("poked (-want +got):\n%s", d)
		}
		if g.gets != 0 {
			t.Errorf("%d reads beside the watch", g.gets)
		}
		if d := cmp.Diff("list metadata.name=a", g.log[0]); d != "" {
			t.Error(d)
		}
	})
}

// A volume has the version from before the agent went down: nobody would be told of the one that came meanwhile.
func TestObjects_PokeWhenAnObjectHasChangedWhileTheAgentWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, life := range []struct {
			version string
			want    int
		}{{"3", 0}, {"3", 0}, {"8", 1}, {"8", 0}} {
			keep, err := kube.OpenKeep(dir, slog.Default())
			if err != nil {
				t.Fatal(err)
			}
			pokes := 0
			g := &getter{server: server{lists: []func() (*v1.ConfigMapList, error){listOf("9", configMap("a", life.version))}}}
			o := kube.NewObjects(g, func(types.UID) { pokes++ }, keep, nil)
			o.Reference(userOf("a"))
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { o.Run(ctx) })
			synctest.Wait()
			cancel()
			wg.Wait()
			if pokes != life.want {
				t.Errorf("version %s: poked %d times, want %d", life.version, pokes, life.want)
			}
		}
	})
}

func TestObjects_SayNotFoundWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &getter{server: server{lists: []func() (*v1.ConfigMapList, error){listOf("5")}}}
		o, _ := holding(t, g)
		o.Reference(userOf("a"))
		if _, err := objects.Get[v1.ConfigMap](t.Context(), o, "ns", "a"); !apierrors.IsNotFound(err) || g.gets != 0 {
			t.Errorf("got %v after %d reads", err, g.gets)
		}
	})
}

func TestObjects_AskWhenTheWatchIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &getter{}
		o, _ := holding(t, g)
		o.Reference(userOf("a"))
		if c, err := objects.Get[v1.ConfigMap](t.Context(), o, "ns", "a"); err != nil || c.Name != "a" || g.gets != 1 {
			t.Errorf("got %v, %v after %d reads", c, err, g.gets)
		}
	})
}

func TestObjects_StopWatchingWhatIsImmutableOrUnnamed(t *testing.T) {
	for name, c := range map[string]struct {
		immutable *bool
		then      func(*kube.Objects)
	}{
		"immutable": {immutable: new(true), then: func(*kube.Objects) {}},
		"of no pod": {then: func(o *kube.Objects) { o.Unreference("pod-uid") }},
		"named no longer": {then: func(o *kube.Objects) {
			p := userOf("a")
			p.Spec.Containers[0].EnvFrom = nil // the pod was edited
			o.Reference(p)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := configMap("a", "3")
				m.Immutable = c.immutable
				stopped := false
				g := &getter{server: server{
					lists: []func() (*v1.ConfigMapList, error){listOf("5", m)},
					watches: []func(*watch.FakeWatcher) error{func(w *watch.FakeWatcher) error {
						for range w.ResultChan() { // closed when the watcher is stopped
						}
						stopped = true
						return nil
					}},
				}}
				o, _ := holding(t, g)
				o.Reference(userOf("a"))
				if _, err := objects.Get[v1.ConfigMap](t.Context(), o, "ns", "a"); err != nil {
					t.Fatal(err)
				}
				c.then(o)
				synctest.Wait()
				if watching := len(g.log) > 1 && !stopped; watching {
					t.Errorf("it is still watched: %v", g.log)
				}
			})
		})
	}
}

func TestNamed_FindsEveryReferenceOnce(t *testing.T) {
	ref := func(n string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: n} }
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{
		ImagePullSecrets: []v1.LocalObjectReference{ref("pull")},
		Volumes: []v1.Volume{
			{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: ref("cm")}}},
			{VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "sec"}}},
			{VolumeSource: v1.VolumeSource{CSI: &v1.CSIVolumeSource{NodePublishSecretRef: new(ref("csi"))}}},
			{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: ref("root-ca")}},
				{Secret: &v1.SecretProjection{LocalObjectReference: ref("sec")}},
			}}}},
		},
		InitContainers: []v1.Container{{Env: []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", ValueFrom: &v1.EnvVarSource{
			SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("env-sec")},
		}}}}},
		Containers: []v1.Container{{EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("from")}}}}},
	}}
	var got []string
	for _, k := range kube.Named(p) {
		got = append(got, k.String())
	}
	want := []string{
		"v1/secrets/ns/pull", "v1/configmaps/ns/cm", "v1/secrets/ns/sec", "v1/secrets/ns/csi", "v1/configmaps/ns/root-ca",
		"v1/secrets/ns/env-sec", "v1/secrets/ns/from",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("named (-want +got):\n%s", d)
	}
}
