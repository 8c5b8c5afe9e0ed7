package kube_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// server is a scripted API server: each list takes the next of lists, each watch the next of watches.
type server struct {
	lists   []func() (*v1.ConfigMapList, error)
	watches []func(w *watch.FakeWatcher) error
	log     []string
}

func (s *server) List(_ context.Context, _ kube.Key, o metav1.ListOptions, into runtime.Object) error {
	s.log = append(s.log, "list "+o.FieldSelector)
	if len(s.lists) == 0 {
		return errors.New("away")
	}
	next := s.lists[0]
	s.lists = s.lists[1:]
	l, err := next()
	if err == nil {
		l.DeepCopyInto(into.(*v1.ConfigMapList))
	}
	return err
}

func (s *server) Watch(ctx context.Context, _ kube.Key, o metav1.ListOptions) (watch.Interface, error) {
	s.log = append(s.log, "watch from "+o.ResourceVersion)
	w := watch.NewFake()
	if len(s.watches) == 0 {
		return w, nil
	}
	next := s.watches[0]
	s.watches = s.watches[1:]
	if next == nil {
		return nil, errors.New("connection refused")
	}
	go func() {
		if err := next(w); err != nil {
			w.Stop()
		}
	}()
	return w, nil
}

func configMap(name, version string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: "u", ResourceVersion: version}}
}

func listOf(version string, items ...*v1.ConfigMap) func() (*v1.ConfigMapList, error) {
	return func() (*v1.ConfigMapList, error) {
		l := &v1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
		for _, i := range items {
			l.Items = append(l.Items, *i)
		}
		return l, nil
	}
}

// told writes down what a Receiver is told.
type told struct{ lines []string }

func (r *told) Connected()       {}
func (r *told) Failed(err error) { r.lines = append(r.lines, "failed") }
func (r *told) Replace(objects []runtime.Object) {
	r.lines = append(r.lines, fmt.Sprintf("all %d", len(objects)))
}
func (r *told) Apply(kind watch.EventType, obj runtime.Object) {
	r.lines = append(r.lines, fmt.Sprintf("%s %s", kind, obj.(*v1.ConfigMap).Name))
}

var errClosed = errors.New("the server closes the watch")

func TestFollow_ResumesWithoutListingAgain(t *testing.T) {
	expired := apierrors.NewResourceExpired("too old").Status()
	for name, c := range map[string]struct {
		lists     []func() (*v1.ConfigMapList, error)
		watches   []func(*watch.FakeWatcher) error
		log, told []string
	}{
		"a watch that ended resumes at the last version": {
			lists: []func() (*v1.ConfigMapList, error){listOf("5", configMap("a", "3"))},
			watches: []func(*watch.FakeWatcher) error{func(w *watch.FakeWatcher) error {
				w.Add(configMap("b", "7"))
				return errClosed
			}},
			log:  []string{"list s", "watch from 5", "watch from 7"},
			told: []string{"all 1", "ADDED b"},
		},
		"a bookmark moves the version on": {
			lists: []func() (*v1.ConfigMapList, error){listOf("5")},
			watches: []func(*watch.FakeWatcher) error{func(w *watch.FakeWatcher) error {
				w.Action(watch.Bookmark, configMap("", "9"))
				return errClosed
			}},
			log:  []string{"list s", "watch from 5", "watch from 9"},
			told: []string{"all 0"},
		},
		"an outage is retried at the version": {
			lists:   []func() (*v1.ConfigMapList, error){listOf("5")},
			watches: []func(*watch.FakeWatcher) error{nil, nil},
			log:     []string{"list s", "watch from 5", "watch from 5", "watch from 5"},
			told:    []string{"all 0", "failed", "failed"},
		},
		"a version that the server has forgotten needs a list": {
			lists: []func() (*v1.ConfigMapList, error){listOf("5"), listOf("20", configMap("c", "19"))},
			watches: []func(*watch.FakeWatcher) error{func(w *watch.FakeWatcher) error {
				w.Error(&expired)
				return nil
			}},
			log:  []string{"list s", "watch from 5", "list s", "watch from 20"},
			told: []string{"all 0", "all 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := &server{lists: c.lists, watches: c.watches}, &told{}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				kube.Follow{
					Client: s, Key: kube.Key{Resource: kube.ConfigMaps}, Selector: "s", To: r,
					NewList: func() runtime.Object { return &v1.ConfigMapList{} },
				}.Run(ctx)
				if d := cmp.Diff(c.log, s.log); d != "" {
					t.Errorf("requests (-want +got):\n%s", d)
				}
				if d := cmp.Diff(c.told, r.lines); d != "" {
					t.Errorf("told (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestFollow_BacksOffToTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := &server{}, &told{}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		kube.Follow{Client: s, To: r, NewList: func() runtime.Object { return &v1.ConfigMapList{} }}.Run(ctx)
		if n := len(s.log); n < 40 || n > 130 {
			t.Errorf("%d requests in 10 minutes of outage, want one each 5 to 15 seconds", n)
		}
	})
}
