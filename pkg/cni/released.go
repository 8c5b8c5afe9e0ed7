package cni

import "sync"

// maxReleased bounds what is remembered of releases; one that is forgotten costs a DEL that finds nothing.
const maxReleased = 1024

// released remembers what this process released, because a runtime asks for it twice: when a sandbox is stopped, and
// again when it is removed. The zero value is ready for use.
type released struct {
	mu    sync.Mutex
	known map[string]bool
}

func (r *released) add(container, ifName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxReleased {
		r.known = make(map[string]bool)
	}
	r.known[container+"/"+ifName] = true
}

func (r *released) has(container, ifName string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[container+"/"+ifName]
}

// forget is called when a container is attached: from then on it may have to be released.
func (r *released) forget(container, ifName string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, container+"/"+ifName)
}
