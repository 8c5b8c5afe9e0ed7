package objects

import (
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Store holds the layers. It is safe for concurrent use.
type Store struct {
	files atomic.Pointer[Set]
	api   Getter
}

// NewStore returns a store without files; api is nil on a standalone node.
func NewStore(api Getter) *Store {
	s := &Store{api: api}
	s.files.Store(&Set{})
	return s
}

// Swap makes these the objects of files. It reports whether they differ from those before.
func (s *Store) Swap(files Set) (changed bool) {
	return !equality.Semantic.DeepEqual(*s.files.Swap(&files), files)
}

// For returns what serves a pod. A pod of a file has the objects of files, and of the API server where the node may read
// them. A pod of the API server has those of the API server alone: its author must get what the API server says, whatever
// lies on the node.
func (s *Store) For(p *v1.Pod) Getter {
	if s.api != nil && !pod.IsStatic(p) {
		return s.api
	}
	return Over(*s.files.Load(), s.api)
}
