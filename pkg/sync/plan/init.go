package plan

import (
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// initialize runs the init containers one by one, each to its end, and reports whether all have ended well and every
// sidecar among them has started. How far the pod has come is read off the containers of the current sandbox: one that
// exists there proves that all before it were passed, even when they are gone.
func (p *pass) initialize(ready bool) bool {
	passed := p.passed()
	for i := range p.views {
		v := &p.views[i]
		switch v.role {
		case pod.Sidecar:
			p.advance(v, ready)
			if i >= passed && !p.started(v) {
				return false
			}
		case pod.Init:
			if i < passed {
				continue
			}
			if !p.initDone(v, ready) {
				return false
			}
		default:
			return true
		}
	}
	return true
}

// passed is the index of the last container, main ones included, that was begun in the current sandbox.
func (p *pass) passed() int {
	for i := len(p.views) - 1; i >= 0; i-- {
		if v := &p.views[i]; v.here && v.role != pod.Ephemeral {
			return i
		}
	}
	return 0
}

// initDone runs one init container, and reports whether it has ended well in the current sandbox.
func (p *pass) initDone(v *view, ready bool) bool {
	switch {
	case v.state == pod.Ended && v.here && v.exit == 0:
		return true
	case v.state == pod.Running:
		if v.here {
			p.check(v)
		}
	case v.state == pod.Ended && !p.wants(v) && v.exit != 0:
		// It may not run again: the pod is about to fail.
	default:
		p.start(v, ready)
	}
	return false
}
