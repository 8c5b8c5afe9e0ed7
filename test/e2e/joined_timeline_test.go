package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// timeline is what happened and when, as watches of the API server and the test itself saw it.
type timeline struct {
	began    time.Time
	detached func(volume string) // told of each volume that is detached

	mu    sync.Mutex
	lines []moment
	seen  map[string]bool
}

type moment struct {
	at        time.Duration
	who, what string
}

// watchTimeline follows everything that the story is told by, until the test ends.
func watchTimeline(t *testing.T, admin kubernetes.Interface, detached func(volume string)) *timeline {
	t.Helper()
	l := &timeline{began: time.Now(), detached: detached, seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	follow := func(w watch.Interface, err error, tell func(watch.EventType, any)) {
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer w.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case e, ok := <-w.ResultChan():
					if !ok {
						return
					}
					tell(e.Type, e.Object)
				}
			}
		})
	}
	o := metav1.ListOptions{}
	w, err := admin.CoreV1().Pods("default").Watch(ctx, o)
	follow(w, err, l.pod)
	w, err = admin.CoreV1().Events("default").Watch(ctx, o)
	follow(w, err, l.event)
	w, err = admin.DiscoveryV1().EndpointSlices("default").Watch(ctx, o)
	follow(w, err, l.endpoints)
	w, err = admin.StorageV1().VolumeAttachments().Watch(ctx, o)
	follow(w, err, l.attachment)
	return l
}

// note adds a line; the same line of the same one is added once.
func (l *timeline) note(who, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if key := who + "\x00" + what; !l.seen[key] {
		l.seen[key] = true
		l.lines = append(l.lines, moment{time.Since(l.began), who, what})
	}
}

func (l *timeline) pod(typ watch.EventType, o any) {
	p, ok := o.(*v1.Pod)
	if !ok {
		return
	}
	if typ == watch.Deleted {
		l.note(p.Name, "the object is gone")
		return
	}
	l.note(p.Name, "created by %s", owner(p))
	if p.Spec.NodeName != "" {
		l.note(p.Name, "bound to %s", p.Spec.NodeName)
	}
	if p.DeletionTimestamp != nil {
		l.note(p.Name, "marked for deletion, grace %d s", *p.DeletionGracePeriodSeconds)
	}
	for _, c := range p.Status.Conditions {
		if c.Status == v1.ConditionTrue && c.Type != v1.PodScheduled {
			l.note(p.Name, "condition %s", c.Type)
		}
	}
	if p.Status.PodIP != "" {
		l.note(p.Name, "IP %s", p.Status.PodIP)
	}
	l.note(p.Name, "phase %s", p.Status.Phase)
}

func (l *timeline) event(_ watch.EventType, o any) {
	e, ok := o.(*v1.Event)
	if !ok {
		return
	}
	where := ""
	if _, name, ok := strings.Cut(e.InvolvedObject.FieldPath, "{"); ok {
		where = " (" + strings.TrimSuffix(name, "}") + ")"
	}
	l.note(e.InvolvedObject.Name, "event %s%s: %s", e.Reason, where, e.Message)
}

func (l *timeline) endpoints(_ watch.EventType, o any) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	var addresses []string
	for _, e := range s.Endpoints {
		if e.Conditions.Ready != nil && *e.Conditions.Ready {
			addresses = append(addresses, e.Addresses...)
		}
	}
	slices.Sort(addresses)
	l.note("endpointslice", "ready: [%s]", strings.Join(addresses, " "))
}

func (l *timeline) attachment(typ watch.EventType, o any) {
	a, ok := o.(*storagev1.VolumeAttachment)
	if !ok || a.Spec.Source.PersistentVolumeName == nil {
		return
	}
	volume := *a.Spec.Source.PersistentVolumeName
	switch {
	case typ == watch.Deleted:
		l.detached(volume)
		l.note("attachment", "%s is detached", volume)
	case a.Status.Attached:
		l.note("attachment", "%s is attached to %s", volume, a.Spec.NodeName)
	default:
		l.note("attachment", "%s is wanted on %s", volume, a.Spec.NodeName)
	}
}

func owner(p *v1.Pod) string {
	if c := metav1.GetControllerOf(p); c != nil {
		return c.Kind + " " + c.Name
	}
	return "hand"
}

// String is the timeline as a table.
func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	width := 0
	for _, m := range l.lines {
		width = max(width, len(m.who))
	}
	var b strings.Builder
	for _, m := range l.lines {
		fmt.Fprintf(&b, "%8.3f s  %-*s  %s\n", m.at.Seconds(), width, m.who, m.what)
	}
	return b.String()
}
