package kube

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Lister is what Follow needs of a client.
type Lister interface {
	List(ctx context.Context, k Key, o metav1.ListOptions, into runtime.Object) error
	Watch(ctx context.Context, k Key, o metav1.ListOptions) (watch.Interface, error)
}

// Receiver is told what Follow sees. Its methods are called by one goroutine, one at a time.
type Receiver interface {
	Replace(objects []runtime.Object)               // after every list: the whole collection
	Apply(kind watch.EventType, obj runtime.Object) // Added, Modified or Deleted
	Connected()                                     // after every list and every watch that the server accepted
	Failed(err error)                               // and the last known collection stands
}

// Follow keeps a Receiver up to date with a collection: list once, watch from there, resume a broken watch at the last
// version that was seen (bookmarks move it on), and list again only when the server no longer knows that version
// (410 Gone).
type Follow struct {
	Client   Lister
	Key      Key    // of the collection
	Selector string // of fields: "spec.nodeName=n1", "metadata.name=x"
	NewList  func() runtime.Object
	To       Receiver
}

// Run follows until the context ends. Failures are retried after 0.2 s, doubling to 10 s, with jitter.
func (f Follow) Run(ctx context.Context) {
	version, retry := "", Backoff(firstRetry, lastRetry)
	for ctx.Err() == nil {
		var err error
		began := time.Now()
		if version == "" {
			version, err = f.list(ctx)
		}
		if err == nil {
			version, err = f.watch(ctx, version)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRetry {
			retry = Backoff(firstRetry, lastRetry) // it worked for a while
		}
		if gone(err) {
			version, err = "", nil
		}
		if err != nil {
			f.To.Failed(err)
		}
		Sleep(ctx, retry.Step())
	}
}

func (f Follow) list(ctx context.Context) (version string, err error) {
	list := f.NewList()
	if err := f.Client.List(ctx, f.Key, metav1.ListOptions{FieldSelector: f.Selector}, list); err != nil {
		return "", err
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return "", fmt.Errorf("cannot read the list of %s: %w", f.Key, err)
	}
	objects, err := meta.ExtractList(list)
	if err != nil {
		return "", fmt.Errorf("cannot read the list of %s: %w", f.Key, err)
	}
	f.To.Connected()
	f.To.Replace(objects)
	return m.GetResourceVersion(), nil
}

// watch returns the version to resume at. A nil error means that the server ended the watch, as it does in time.
func (f Follow) watch(ctx context.Context, version string) (string, error) {
	seconds := int64(300 + rand.N(300))
	w, err := f.Client.Watch(ctx, f.Key, metav1.ListOptions{
		FieldSelector: f.Selector, ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return version, err
	}
	defer w.Stop()
	f.To.Connected()
	for {
		var e watch.Event
		var open bool
		select {
		case <-ctx.Done():
			return version, ctx.Err()
		case e, open = <-w.ResultChan():
		}
		if !open {
			return version, nil
		}
		if e.Type == watch.Error {
			return version, apierrors.FromObject(e.Object)
		}
		m, err := meta.Accessor(e.Object)
		if err != nil {
			return version, fmt.Errorf("cannot read an event of %s: %w", f.Key, err)
		}
		if e.Type != watch.Bookmark {
			f.To.Apply(e.Type, e.Object)
		}
		version = m.GetResourceVersion()
	}
}

func gone(err error) bool {
	return apierrors.IsGone(err) || apierrors.IsResourceExpired(err)
}
