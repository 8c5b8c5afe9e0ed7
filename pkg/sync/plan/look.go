package plan

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// lookEvery is how often an image that could not be had is looked for on the node.
const lookEvery = 10 * time.Second

// look looks for an image while the back-off of the action that lacked it holds: a person may have imported it. The look
// asks this node alone, so it never waits longer. Where every start pulls, it would not help.
func (p *pass) look(lacked Action, image string, policy v1.PullPolicy) {
	f, failed := p.in.Failures[lacked.Key()]
	if !failed || !imageFailed(f) || f.Class == pod.InvalidImageName || policy == v1.PullAlways || p.planned(lacked.Key()) {
		return
	}
	if at := f.Last.Add(lookEvery); p.in.Now.Before(at) {
		p.wake(at)
		return
	}
	p.do(Action{Kind: ImageLook, Name: lacked.Name, Image: image, For: lacked.Kind})
}

// planned reports whether an action of a key is planned or in flight.
func (p *pass) planned(key string) bool {
	return p.flying(key) || slices.ContainsFunc(p.d.Actions, func(a Action) bool { return a.Key() == key })
}
