package plugin

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

const followEvery = 10 * time.Second // for files that nothing tells of, and for what failed

// Follower brings a node's networks in line with the cluster's: it tells the runtime the Node's pod CIDRs, for one that
// templates its own CNI configuration. Where the provider is Auto, the agent's own bridge network is numbered by them, and
// left when the cluster's network has come.
type Follower struct {
	Settings cni.Settings
	Provider Provider
	Numbered bool // the configuration says what the bridge network's subnet is
	Log      *slog.Logger

	CIDRs       func() []string        // the Node's, as they are known now
	Changed     func() <-chan struct{} // closed when they may have changed
	TellRuntime func(ctx context.Context, cidrs string) error
	Pod         func(types.UID) *v1.Pod // nil: it is not here
	StopSandbox func(ctx context.Context, id string) error
}

// Run follows until ctx ends. It wakes by the clock only while there is something to look at.
func (f Follower) Run(ctx context.Context) {
	told, numbered := "", ""
	for {
		next := f.Changed()
		cidrs := f.CIDRs()
		now := strings.Join(cidrs, ",")
		if now != "" {
			if told != now && f.TellRuntime(ctx, now) == nil {
				told = now
			}
			if numbered != now && f.number(cidrs) {
				numbered = now
			}
		}
		f.yield(ctx)
		var look <-chan time.Time
		if f.Provider == Auto || now != "" && told != now {
			look = time.After(followEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		case <-look:
		}
	}
}

// yield moves the pods that were started before the cluster's network was there: where they are nobody on another node
// reaches them. They get another sandbox, but for those that would not be restarted.
func (f Follower) yield(ctx context.Context) {
	if f.Provider != Auto {
		return
	}
	on, err := yield(f.Settings, Bridge{})
	if err != nil {
		f.Log.Warn("cannot leave the agent's own bridge network for the cluster's", "err", err)
	}
	for _, at := range on {
		p := f.Pod(types.UID(at.Pod.UID))
		if p == nil || p.Spec.RestartPolicy == v1.RestartPolicyNever {
			continue
		}
		f.Log.Info("the pod gets a sandbox on the cluster's network, which has come", "pod", pod.FullName(p), "uid", p.UID)
		if err := f.StopSandbox(ctx, at.ContainerID); err != nil {
			f.Log.Warn("cannot move a pod to the cluster's network", "pod", pod.FullName(p), "err", err)
		}
	}
}

// number reports whether there is no more to be done.
func (f Follower) number(cidrs []string) bool {
	if f.Provider != Auto || f.Numbered {
		return true
	}
	var b Bridge
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			f.Log.Warn("cannot use the Node's pod CIDR", "cidr", c, "err", err)
			return true
		}
		b.Subnet = append(b.Subnet, p)
	}
	ok, err := renumber(f.Settings, b)
	if err != nil {
		f.Log.Warn("cannot give the agent's own bridge network the Node's pod CIDR", "cidrs", cidrs, "err", err)
	}
	return ok
}
