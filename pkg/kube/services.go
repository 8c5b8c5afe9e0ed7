package kube

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// errServicesUnknown means that the API server has not told the services yet.
var errServicesUnknown = errors.New("services have not yet been read from the API server")

// ServiceClient is what ServiceList needs of a client.
type ServiceClient interface {
	Lister
	Patience(least time.Duration) time.Duration
}

// ServiceList holds the services that have a cluster IP, of which containers get environment variables: their names,
// addresses and ports alone. What it knows is served during an outage too. It is safe for concurrent use.
type ServiceList struct {
	client ServiceClient
	log    *slog.Logger
	keep   *Keep
	first  chan struct{} // closed when the services are known

	mu    sync.Mutex
	known map[types.NamespacedName]v1.Service // nil until the first list
}

// NewServiceList returns a list that is kept while Run runs. What keep holds is served before the API server has told
// anything; nil keeps nothing.
func NewServiceList(client ServiceClient, keep *Keep, log *slog.Logger) *ServiceList {
	if log == nil {
		log = slog.Default()
	}
	return &ServiceList{client: client, keep: keep, log: log, first: make(chan struct{})}
}

// Run follows the services until the context ends.
func (l *ServiceList) Run(ctx context.Context) {
	f := Follow{
		Client: l.client, Key: Key{Resource: Services}, NewList: func() runtime.Object { return &v1.ServiceList{} }, To: (*serviceReceiver)(l),
	}
	f.Run(ctx)
}

// In returns the services of the namespaces, in the order of their names. When the API server does not tell them within 2
// seconds (more if it is slow), they are as the last pod of these namespaces that started on this node had them, else errServicesUnknown.
func (l *ServiceList) In(ctx context.Context, namespaces ...string) ([]v1.Service, error) {
	t := time.NewTimer(l.client.Patience(firstAnswer))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		if kept, ok := l.keep.getServices(namespaces); ok {
			return kept, nil
		}
		return nil, errServicesUnknown
	case <-l.first:
	}
	return l.told(namespaces), nil
}

// Known is In without a wait: where nothing is known there are none.
func (l *ServiceList) Known(namespaces ...string) []v1.Service {
	select {
	case <-l.first:
		return l.told(namespaces)
	default:
		kept, _ := l.keep.getServices(namespaces)
		return kept
	}
}

// told are the services of namespaces that the API server has told.
func (l *ServiceList) told(namespaces []string) []v1.Service {
	l.mu.Lock()
	all := slices.Collect(maps.Values(l.known))
	l.mu.Unlock()
	all = slices.DeleteFunc(all, func(s v1.Service) bool { return !slices.Contains(namespaces, s.Namespace) })
	slices.SortFunc(all, func(a, b v1.Service) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	l.keep.putServices(namespaces, all)
	return all
}

// serviceReceiver is how Follow fills a ServiceList.
type serviceReceiver ServiceList

func (r *serviceReceiver) Connected() {}

func (r *serviceReceiver) Failed(err error) {
	r.log.Debug("cannot watch services", "error", err)
}

func (r *serviceReceiver) Replace(objects []runtime.Object) {
	known := make(map[types.NamespacedName]v1.Service, len(objects))
	for _, o := range objects {
		if s, ok := slimService(o); ok {
			known[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		close(r.first)
	}
	r.known = known
}

func (r *serviceReceiver) Apply(kind watch.EventType, obj runtime.Object) {
	full, ok := obj.(*v1.Service)
	if !ok {
		return
	}
	s, has := slimService(obj)
	r.mu.Lock()
	defer r.mu.Unlock()
	key := types.NamespacedName{Namespace: full.Namespace, Name: full.Name}
	if has && kind != watch.Deleted {
		r.known[key] = s
		return
	}
	delete(r.known, key)
}

// slimService keeps what containers are told; ok is false for a service without a cluster IP.
func slimService(o runtime.Object) (v1.Service, bool) {
	s, ok := o.(*v1.Service)
	if !ok || s.Spec.ClusterIP == "" || s.Spec.ClusterIP == v1.ClusterIPNone {
		return v1.Service{}, false
	}
	var slim v1.Service
	slim.Namespace, slim.Name, slim.Spec.ClusterIP, slim.Spec.Ports = s.Namespace, s.Name, s.Spec.ClusterIP, s.Spec.Ports
	return slim, true
}
