package resources

import (
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Ledger holds the pods that were admitted and not yet released. Its zero value is empty; it may be used from any
// goroutine, and decides one admission at a time.
type Ledger struct {
	mu   sync.Mutex
	pods map[types.UID]*v1.Pod
}

// Admit decides on a pod and books it when it is taken. A pod that is booked already is taken with its newer
// specification, whatever that asks for.
func (l *Ledger) Admit(n NodeFacts, p *v1.Pod) *pod.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.pods[p.UID]; !known {
		if v := Admit(n, l.list(), p); v != nil {
			return v
		}
	}
	l.book(p)
	return nil
}

// Book adds a pod without asking: it runs already, from before the agent started.
func (l *Ledger) Book(p *v1.Pod) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book(p)
}

// Release gives back what a pod had, once its containers are gone for good. Releasing twice does no harm.
func (l *Ledger) Release(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pods, uid)
}

// BurstableCPU is what the burstable pods request together, in milli-CPU.
func (l *Ledger) BurstableCPU() (milli int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pods {
		if QOSClass(p) == v1.PodQOSBurstable {
			requests := Requests(p)
			milli += requests.Cpu().MilliValue()
		}
	}
	return milli
}

func (l *Ledger) book(p *v1.Pod) {
	if l.pods == nil {
		l.pods = map[types.UID]*v1.Pod{}
	}
	l.pods[p.UID] = p
}

func (l *Ledger) list() []*v1.Pod {
	all := make([]*v1.Pod, 0, len(l.pods))
	for _, p := range l.pods {
		all = append(all, p)
	}
	return all
}
