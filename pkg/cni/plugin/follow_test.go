package plugin

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minikubelet/minikubelet/pkg/cni"
)

// Only a node whose network may still come has files to look at by the clock.
func TestFollower_WakesOnlyWhileThereIsSomethingToLookAt(t *testing.T) {
	for name, c := range map[string]struct {
		provider Provider
		cidrs    []string
		refusals int // of the runtime, before it takes what it is told
		looks    int // in a minute
		told     int
	}{
		"auto":                    {Auto, nil, 0, 6, 0},
		"auto, with CIDRs":        {Auto, []string{"10.1.0.0/24"}, 0, 6, 1},
		"the runtime's own":       {Runtime, nil, 0, 1, 0},
		"the agent's":             {Agent, nil, 0, 1, 0},
		"the agent's, with CIDRs": {Agent, []string{"10.1.0.0/24", "fd00::/64"}, 0, 1, 1},
		"the agent's, and the runtime refuses twice": {Agent, []string{"10.1.0.0/24"}, 2, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				looks, told := 0, 0
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Second)
				defer cancel()
				Follower{
					Settings: cni.Settings{Dir: dir, ConfDir: dir}, Provider: c.provider, Log: slog.Default(),
					CIDRs:   func() []string { looks++; return c.cidrs },
					Changed: func() <-chan struct{} { return nil },
					TellRuntime: func(context.Context, string) error {
						if told++; told <= c.refusals {
							return errors.New("not now")
						}
						return nil
					},
				}.Run(ctx)
				if looks != c.looks || told != c.told {
					t.Errorf("looked %d times and told the runtime %d times, want %d and %d", looks, told, c.looks, c.told)
				}
			})
		})
	}
}
