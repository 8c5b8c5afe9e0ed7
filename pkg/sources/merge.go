package sources

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// Set is what the node should be, according to all sources together. It is a value: a new one is made for every change.
type Set struct {
	Pods     map[types.UID]pod.Desired        // to run, or to end because their API object is being deleted
	Mirrors  map[types.NamespacedName]*v1.Pod // the API server's images of static pods: never run
	Objects  objects.Set                      // from files and URLs
	Problems []manifest.Problem               // that stand now
	Complete map[pod.Source]bool              // sources that have said all they hold; see Update.Partial
}

// Merge forms the set from the latest update of each source, in any order. Where two say something of one UID or one
// object, or of one static pod's name, a file wins over a URL and a URL over the API server; what does not count is a problem.
func Merge(latest ...Update) Set {
	s := Set{
		Pods: map[types.UID]pod.Desired{}, Mirrors: map[types.NamespacedName]*v1.Pod{}, Complete: map[pod.Source]bool{},
		Objects: objects.Set{},
	}
	order := []pod.Source{pod.SourceFile, pod.SourceHTTP, pod.SourceAPI}
	latest = slices.SortedStableFunc(slices.Values(latest), func(a, b Update) int {
		return slices.Index(order, a.Source) - slices.Index(order, b.Source)
	})
	static := map[types.NamespacedName]pod.Source{}
	for _, u := range latest {
		s.Complete[u.Source] = !u.Partial
		s.Problems = append(s.Problems, u.Problems...)
		s.Problems = append(s.Problems, add(s.Objects, u)...)
		for _, p := range u.Pods {
			if pod.IsMirror(p) && u.Source == pod.SourceAPI {
				s.Mirrors[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p
				continue
			}
			name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
			other, taken := static[name]
			switch one, twice := s.Pods[p.UID]; {
			case twice && u.Source != pod.SourceAPI: // it was given by hand
				s.Problems = append(s.Problems, manifest.Problem{Source: u.Source, Field: "metadata.uid", Text: fmt.Sprintf(
					"pod %s has the UID of pod %s, which is used: give it another one, or none", name, one.Pod.Name)})
			case taken && u.Source != pod.SourceAPI:
				s.Problems = append(s.Problems, second(u.Source, "Pod "+name.String(), other))
			case !twice:
				s.Pods[p.UID] = pod.Desired{Pod: p, Source: u.Source, Stop: deletion(p)}
			}
			if !taken && u.Source != pod.SourceAPI {
				static[name] = u.Source
			}
		}
	}
	bind(s.Objects)
	s.charge()
	return s
}

// charge does what an API server's admission does for pods that name a RuntimeClass: its overhead becomes theirs.
func (s Set) charge() {
	for uid, d := range s.Pods {
		name := d.Pod.Spec.RuntimeClassName
		if d.Source == pod.SourceAPI || name == nil || len(d.Pod.Spec.Overhead) > 0 {
			continue
		}
		c, ok := s.Objects[objects.Key{Kind: "RuntimeClass", Name: *name}].(*nodev1.RuntimeClass)
		if ok && c.Overhead != nil {
			d.Pod = d.Pod.DeepCopy()
			d.Pod.Spec.Overhead = c.Overhead.PodFixed
			s.Pods[uid] = d
		}
	}
}

// second is the problem of what two sources say.
func second(source pod.Source, object string, used pod.Source) manifest.Problem {
	kinds := map[pod.Source]string{pod.SourceFile: "the manifest directory", pod.SourceHTTP: "the URL", pod.SourceAPI: "the API server"}
	return manifest.Problem{Source: source, Field: "metadata.name",
		Text: fmt.Sprintf("%s of %s is also in %s, which is used: remove or rename one of them", object, kinds[source], kinds[used])}
}

// deletion is the order that an API object under deletion gives: its deletionTimestamp is the end of the grace period. That
// of an API server is centuries off where its sum overflowed: no pod is deleted before it is made.
func deletion(p *v1.Pod) *pod.Stop {
	if p.DeletionTimestamp == nil {
		return nil
	}
	grace := pod.GracePeriod(p)
	begun := p.DeletionTimestamp.Add(-grace)
	if begun.Before(p.CreationTimestamp.Time) {
		begun = p.CreationTimestamp.Time
	}
	return &pod.Stop{By: string(pod.SourceAPI), Grace: grace, At: begun, Remove: true}
}
