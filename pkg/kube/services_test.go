package kube

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// silent is an API server that has told nothing yet.
type silent struct{ Lister }

func (silent) Patience(least time.Duration) time.Duration { return least }

func TestServiceList_TellsServicesWithAnAddressByNamespace(t *testing.T) {
	service := func(namespace, name, ip string) *v1.Service {
		s := &v1.Service{}
		s.Namespace, s.Name, s.Spec.ClusterIP = namespace, name, ip
		return s
	}
	l := NewServiceList(silent{}, nil, nil)
	r := (*serviceReceiver)(l)
	r.Replace([]runtime.Object{service("default", "kubernetes", "10.0.0.1"), service("shop", "headless", "None"), service("other", "db", "10.0.0.9")})
	r.Apply(watch.Added, service("shop", "web", "10.0.0.2"))
	r.Apply(watch.Added, service("shop", "old", "10.0.0.3"))
	r.Apply(watch.Deleted, service("shop", "old", "10.0.0.3"))
	r.Apply(watch.Modified, service("other", "db", ""))
	got, err := l.In(t.Context(), "shop", "default", "other")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got {
		names = append(names, s.Namespace+"/"+s.Name+" "+s.Spec.ClusterIP)
	}
	if d := cmp.Diff([]string{"default/kubernetes 10.0.0.1", "shop/web 10.0.0.2"}, names); d != "" {
		t.Errorf("services (-want +got):\n%s", d)
	}
}

func TestServiceList_FailsUntilTheAPIServerHasSpoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := NewServiceList(silent{}, nil, nil).In(t.Context(), "default"); !errors.Is(err, errServicesUnknown) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestServiceList_TellsAtOnceWhatIsKnown(t *testing.T) {
	l := NewServiceList(silent{}, nil, nil)
	if got := l.Known("default"); got != nil {
		t.Errorf("nothing was told, and known is %v", got)
	}
	s := &v1.Service{}
	s.Namespace, s.Name, s.Spec.ClusterIP = "default", "kubernetes", "10.0.0.1"
	(*serviceReceiver)(l).Replace([]runtime.Object{s})
	if got := l.Known("default"); len(got) != 1 || got[0].Name != "kubernetes" {
		t.Errorf("known is %v", got)
	}
}
