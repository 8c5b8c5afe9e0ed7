package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/images"
	"github.com/minikubelet/minikubelet/pkg/images/credentials"
	"github.com/minikubelet/minikubelet/pkg/images/pulled"
)

// imageParts bring images to the node and take them from it.
type imageParts struct {
	importer  *images.Importer
	preloader *images.Preloader
	preloaded chan struct{}   // closed after its first pass
	records   *pulled.Records // of who may use which image
	puller    *images.PodPuller
	collector *images.Collector
	listed    *images.NodeList
	seccomp   string // the profile of sandboxes
}

// wireImages makes the pause image present: without it no sandbox can start.
func (a *agent) wireImages(ctx context.Context) error {
	a.images.importer = images.NewImporter(a.runtime.SocketPath())
	imported, err := images.EnsureSandboxImages(ctx, a.runtime, a.images.importer, "")
	if err != nil {
		slog.Warn("cannot provide the runtime's sandbox image: it must be there already, or be pulled", "err", err)
	}
	if len(imported) > 0 {
		slog.Info("imported the embedded pause image", "images", imported)
	}
	if a.images.seccomp, err = images.EnsureSandboxProfile(a.cfg.Agent.Root); err != nil {
		return err
	}
	a.images.preloader = images.NewPreloader(filepath.Join(a.cfg.Agent.Root, "images"), a.images.importer, a.imagesArrived, slog.Default())
	a.images.preloaded = make(chan struct{})
	a.images.listed = &images.NodeList{List: a.runtime.ListImages}
	return a.wirePuller(ctx)
}

// imagesArrived waits until imported images can be used, and wakes the pods that may wait for them.
func (a *agent) imagesArrived(ctx context.Context, names []string) error {
	err := images.AwaitVisible(ctx, a.runtime, names)
	for _, p := range a.pods.set.Pods() {
		a.pods.set.Retry(p.UID)
	}
	return err
}

// wirePuller makes what pulls, and what knows whose images are.
func (a *agent) wirePuller(ctx context.Context) error {
	c := &a.cfg.Images
	var err error
	a.images.records, err = pulled.Open(a.cfg.Agent.Root, pulled.Policy{Mode: c.Verify, Allow: c.VerifyNot}, slog.Default())
	if err != nil {
		return err
	}
	err = a.images.records.Recover(func(image string) (string, error) {
		i, err := a.runtime.ImageStatus(ctx, image)
		if err != nil || i == nil {
			return "", err
		}
		return i.ID, nil
	})
	if err != nil {
		slog.Warn("cannot settle every image pull that was cut off: whoever wants these images has to pull them", "err", err)
	}
	logins, err := a.logins()
	if err != nil {
		return err
	}
	a.images.puller = &images.PodPuller{Objects: a.pods.objects, Event: a.reports.told.Event, Puller: images.NewPuller(images.Config{
		Runtime: a.runtime, Events: a.reports.told, Serialize: c.Serialize, MaxParallel: c.MaxParallel, QPS: c.QPS, Burst: c.Burst,
		Logins: logins, Records: a.images.records, Pulled: a.reports.counters.Pulled,
	})}
	return nil
}

// logins are those that the node has itself: of its Docker configuration, and of the credential providers.
func (a *agent) logins() (func(ctx context.Context, p *v1.Pod, ref string) ([]credentials.Login, error), error) {
	file := filepath.Join(a.cfg.Agent.Root, "config.json")
	if a.cfg.Images.Providers == "" {
		return credentials.Node{File: file}.Logins, nil
	}
	var accounts *credentials.Accounts
	if a.api.objects != nil {
		accounts = &credentials.Accounts{API: a.api.objects, Token: func(ctx context.Context, p *v1.Pod, audience string) (string, error) {
			token, _, err := a.token(ctx, p, audience, int64(time.Hour/time.Second))
			return token, err
		}}
	}
	plugins, err := credentials.LoadPlugins(a.cfg.Images.Providers, a.cfg.Images.ProviderDir, accounts)
	if err != nil {
		return nil, err
	}
	return credentials.Node{File: file, Plugins: plugins}.Logins, nil
}
