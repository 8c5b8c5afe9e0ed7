package main

import (
	"github.com/minikubelet/minikubelet/pkg/config"
	"github.com/minikubelet/minikubelet/pkg/eviction"
	"github.com/minikubelet/minikubelet/pkg/images"
)

// takeUp hands what can change while the agent runs to those whom it is for; after an error nothing has changed.
func (a *agent) takeUp(cfg config.Config) error {
	limits, err := evictionLimits(cfg.Eviction)
	if err != nil {
		return err
	}
	a.node.guard.SetLimits(limits)
	a.images.collector.Set(imageLimits(cfg.Images))
	a.upkeep.rotator.Set(cfg.Pods.LogMaxSize, cfg.Pods.LogMaxFiles)
	return nil
}

func evictionLimits(e config.Eviction) (eviction.Limits, error) {
	thresholds, err := eviction.Parse(eviction.Settings{
		Hard: e.Hard, Soft: e.Soft, MinimumReclaim: e.MinimumReclaim, SoftGracePeriod: durations(e.SoftGrace),
	})
	return eviction.Limits{Thresholds: thresholds, Transition: e.Transition, MaxPodGrace: e.MaxPodGrace}, err
}

func imageLimits(i config.Images) images.GCLimits {
	return images.GCLimits{High: i.GCHigh, Low: i.GCLow, MinAge: i.MinAge, MaxAge: i.MaxAge}
}
