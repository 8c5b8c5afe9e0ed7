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
	listed    *images.NodeList
	seccomp   string // the profile of sandboxes
}

// newImages makes the pause image present: without it no sandbox can start.
func (b base) newImages(ctx context.Context, o objectParts, r reports) (i imageParts, err error) {
	i.importer = images.NewImporter(b.runtime.SocketPath())
	imported, err := images.EnsureSandboxImages(ctx, b.runtime, i.importer, "")
	if err != nil {
		slog.Warn("cannot provide the runtime's sandbox image: it must be there already, or be pulled", "err", err)
	}
	if len(imported) > 0 {
		slog.Info("imported the embedded pause image", "images", imported)
	}
	if i.seccomp, err = images.EnsureSandboxProfile(b.cfg.Agent.Root); err != nil {
		return i, err
	}
	i.preloader = images.NewPreloader(filepath.Join(b.cfg.Agent.Root, "images"), i.importer, b.imagesArrived, slog.Default())
	i.preloaded = make(chan struct{})
	i.listed = &images.NodeList{List: b.runtime.ListImages}
	if i.records, err = b.pulls(ctx); err != nil {
		return i, err
	}
	logins, err := b.logins(o)
	if err != nil {
		return i, err
	}
	c := &b.cfg.Images
	i.puller = &images.PodPuller{Objects: o.store, Event: r.told.Event, Puller: images.NewPuller(images.Config{
		Runtime: b.runtime, Events: r.told, Serialize: c.Serialize, MaxParallel: c.MaxParallel, QPS: c.QPS, Burst: c.Burst,
		Logins: logins, Records: i.records, Pulled: b.counters.Pulled,
	})}
	return i, nil
}

// imagesArrived waits until imported images can be used, and wakes the pods that may wait for them.
func (b base) imagesArrived(ctx context.Context, names []string) error {
	err := images.AwaitVisible(ctx, b.runtime, names)
	b.wakes.Retry("")
	return err
}

// pulls are the records of what was pulled for whom; those of pulls that were cut off are settled.
func (b base) pulls(ctx context.Context) (*pulled.Records, error) {
	c := &b.cfg.Images
	records, err := pulled.Open(b.cfg.Agent.Root, pulled.Policy{Mode: c.Verify, Allow: c.VerifyNot}, slog.Default())
	if err != nil {
		return nil, err
	}
	err = records.Recover(func(image string) (string, error) {
		i, err := b.runtime.ImageStatus(ctx, image)
		if err != nil || i == nil {
			return "", err
		}
		return i.ID, nil
	})
	if err != nil {
		slog.Warn("cannot settle every image pull that was cut off: whoever wants these images has to pull them", "err", err)
	}
	return records, nil
}

// logins are those that the node has itself: of its Docker configuration, and of the credential providers.
func (b base) logins(o objectParts) (func(ctx context.Context, p *v1.Pod, ref string) ([]credentials.Login, error), error) {
	file := filepath.Join(b.cfg.Agent.Root, "config.json")
	if b.cfg.Images.Providers == "" {
		return credentials.Node{File: file}.Logins, nil
	}
	var accounts *credentials.Accounts
	if o.api != nil {
		accounts = &credentials.Accounts{API: o.api, Token: func(ctx context.Context, p *v1.Pod, audience string) (string, error) {
			token, _, err := o.token(ctx, p, audience, int64(time.Hour/time.Second))
			return token, err
		}}
	}
	plugins, err := credentials.LoadPlugins(b.cfg.Images.Providers, b.cfg.Images.ProviderDir, accounts)
	if err != nil {
		return nil, err
	}
	return credentials.Node{File: file, Plugins: plugins}.Logins, nil
}
