package loop

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// member is a pod that has a loop.
type member struct {
	name   string // namespace/name
	hash   string // see identity
	source pod.Source
	named  bool // its source has named it since this process started
}

// steps are what turns the members into what is wanted.
type steps struct {
	remove []types.UID   // end these and remove them from the node
	update []pod.Desired // these go on with the newest specification
	begin  []pod.Desired // start a loop for each, in this order
}

// reconcile decides which pods have loops. A wanted pod gets one as soon as no other pod has its name, and gets one again
// when its last one ended while its source wanted it back:
//
//	            wanted                    not wanted: remove
//	[no loop] ----------> [has a loop] ----------------------> [ending] --+
//	    ^                      |        other content: remove             |
//	    +------------------------------------------------------------------+ nothing of it is left
//
// Two kinds of pods get none: one in gone, which ended because its source deletes it and still names it, and one whose name
// is taken. A member that is not wanted stays while its source has not said all that it holds (synced).
func reconcile(members map[types.UID]member, wanted map[types.UID]pod.Desired, gone map[types.UID]bool, synced func(pod.Source) bool) steps {
	var s steps
	taken := make(map[string]bool, len(members))
	for uid, m := range members {
		taken[m.name] = true
		d, ok := wanted[uid]
		switch {
		case !ok && (m.named || synced(m.source)), ok && m.hash != identity(d):
			s.remove = append(s.remove, uid)
		}
	}
	for _, d := range inOrder(wanted) {
		uid, name := d.Pod.UID, pod.FullName(d.Pod)
		m, has := members[uid]
		switch {
		case has && m.hash == identity(d):
			s.update = append(s.update, d)
		case has, taken[name], gone[uid] && d.Pod.DeletionTimestamp != nil:
		default:
			taken[name] = true
			s.begin = append(s.begin, d)
		}
	}
	return s
}

// identity tells two contents of a static pod apart that have one UID, which its author gave it: an edited one replaces
// the one that runs. Pods of the API server are updated in place, within the limits that the server sets.
func identity(d pod.Desired) string {
	if d.Source == pod.SourceAPI {
		return ""
	}
	return d.Pod.Annotations[pod.AnnotationHash]
}

// inOrder sorts pods as admission takes them: critical first, then oldest.
func inOrder(desired map[types.UID]pod.Desired) []pod.Desired {
	return slices.SortedFunc(maps.Values(desired), func(a, b pod.Desired) int {
		if ca, cb := pod.IsCritical(a.Pod), pod.IsCritical(b.Pod); ca != cb {
			if ca {
				return -1
			}
			return 1
		}
		if c := a.Pod.CreationTimestamp.Compare(b.Pod.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(string(a.Pod.UID), string(b.Pod.UID))
	})
}
