package sources

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// API is the source of the pods that an API server has bound to this node, mirror pods among them. Nothing is emitted
// before the first list has succeeded, so that an API server which is away never looks like one that has no pods.
type API struct {
	Client kube.Lister
	Node   string
	Emit   func(pods []*v1.Pod) // the whole set, sorted, after every change but those of status alone; the slice is the receiver's
	Seen   func(p *v1.Pod)      // every version of a pod that the server tells, changes of the status alone too; may be nil
	Log    *slog.Logger         // nil: slog.Default()
}

// Run follows the node's pods until the context ends. An API server that is away or refuses changes nothing: the last
// known set stands.
func (a API) Run(ctx context.Context) {
	kube.Follow{
		Client:   a.Client,
		Key:      kube.Key{Resource: kube.Pods},
		Selector: "spec.nodeName=" + a.Node,
		NewList:  func() runtime.Object { return &v1.PodList{} },
		To: &apiPods{
			emit: a.Emit, tell: a.Seen, pods: map[types.UID]*v1.Pod{}, seen: map[types.UID]string{},
			outage: kube.NewOutage(a.Log, "watch this node's pods at the API server"),
		},
	}.Run(ctx)
}

// apiPods is the receiver of the watch: one goroutine's.
type apiPods struct {
	emit   func([]*v1.Pod)
	tell   func(*v1.Pod) // or nil
	pods   map[types.UID]*v1.Pod
	seen   map[types.UID]string // config.seen: when the agent saw a pod first
	outage *kube.Outage
}

func (a *apiPods) Connected()       { a.outage.OK() }
func (a *apiPods) Failed(err error) { a.outage.Failed(err) }

func (a *apiPods) Replace(objects []runtime.Object) {
	old := a.pods
	a.pods = make(map[types.UID]*v1.Pod, len(objects))
	for _, o := range objects {
		if p, ok := o.(*v1.Pod); ok {
			a.keep(p)
		}
	}
	for uid := range old {
		if a.pods[uid] == nil {
			delete(a.seen, uid)
		}
	}
	a.send()
}

func (a *apiPods) Apply(kind watch.EventType, obj runtime.Object) {
	p, ok := obj.(*v1.Pod)
	if !ok {
		return
	}
	if kind == watch.Deleted {
		delete(a.pods, p.UID)
		delete(a.seen, p.UID)
		a.send()
		return
	}
	// A name is taken by one pod at a time: another UID under it has ended, even if its deletion was missed.
	for uid, q := range a.pods {
		if q.Name == p.Name && q.Namespace == p.Namespace && uid != p.UID {
			delete(a.pods, uid)
			delete(a.seen, uid)
		}
	}
	old := a.pods[p.UID]
	a.keep(p)
	if old == nil || !sameOrders(old, a.pods[p.UID]) {
		a.send()
	}
}

// keep stores a pod without what the agent never reads, and with the annotations that the agent's readers expect.
func (a *apiPods) keep(p *v1.Pod) {
	p.ManagedFields = nil
	if a.seen[p.UID] == "" {
		a.seen[p.UID] = time.Now().Format(time.RFC3339Nano)
	}
	if p.Annotations == nil {
		p.Annotations = make(map[string]string, 2)
	}
	if !pod.IsMirror(p) {
		p.Annotations[pod.AnnotationSource] = string(pod.SourceAPI)
		p.Annotations[pod.AnnotationSeen] = a.seen[p.UID]
	}
	a.pods[p.UID] = p
	if a.tell != nil {
		a.tell(p)
	}
}

func (a *apiPods) send() {
	pods := slices.AppendSeq(make([]*v1.Pod, 0, len(a.pods)), maps.Values(a.pods))
	slices.SortFunc(pods, func(x, y *v1.Pod) int {
		if x.Namespace != y.Namespace {
			return strings.Compare(x.Namespace, y.Namespace)
		}
		return strings.Compare(x.Name, y.Name)
	})
	a.emit(pods)
}

// sameOrders reports whether two versions of a pod differ in nothing that the agent acts upon. Its own status comes back
// with every write; of the status only the conditions count, because readiness gates are there.
func sameOrders(x, y *v1.Pod) bool {
	mx, my := x.ObjectMeta, y.ObjectMeta
	mx.ResourceVersion, my.ResourceVersion = "", ""
	return equality.Semantic.DeepEqual(mx, my) &&
		equality.Semantic.DeepEqual(x.Spec, y.Spec) &&
		equality.Semantic.DeepEqual(gates(x), gates(y))
}

// gates returns the state of the conditions that the pod's readiness gates name.
func gates(p *v1.Pod) map[v1.PodConditionType]v1.ConditionStatus {
	out := make(map[v1.PodConditionType]v1.ConditionStatus, len(p.Spec.ReadinessGates))
	for _, g := range p.Spec.ReadinessGates {
		for _, c := range p.Status.Conditions {
			if c.Type == g.ConditionType {
				out[g.ConditionType] = c.Status
			}
		}
	}
	return out
}
