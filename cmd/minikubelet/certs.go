package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/minikubelet/minikubelet/pkg/certs"
	"github.com/minikubelet/minikubelet/pkg/server"
	"github.com/minikubelet/minikubelet/pkg/server/review"
)

// nodeServer is the configuration of the HTTPS API. Files that others replace are read again.
func (a *agent) nodeServer() (server.NodeConfig, error) {
	set := a.cfg.Server
	c := server.NodeConfig{
		Address: set.Address.String(), Auth: server.Auth{Anonymous: set.Auth.Anonymous}, MinVersion: set.MinVersion,
		CipherSuites: set.CipherSuites, StreamTimeout: set.StreamTimeout,
	}
	if d := set.Debugging; d.Enabled {
		c.Debugging = &server.Debugging{Profiling: d.Profiling, LogQueries: d.LogQueries, Flags: a.live.flagz, Started: a.live.started}
		if d.Flags {
			c.Debugging.Verbosity = a.live.verbosity
		}
		if d.SystemLogs {
			c.Debugging.SystemLogs = "/var/log"
		}
	}
	var err error
	if c.GetCertificate, err = a.serving(); err != nil {
		return c, err
	}
	if f := a.cfg.Server.Auth.ClientCAFile; f != "" {
		cas := &certs.Files[*x509.CertPool]{Paths: []string{f}, Read: certs.ReadPool, Log: slog.Default()}
		if _, err := cas.Get(); err != nil {
			return c, err
		}
		c.ClientCAs = cas.Get
	}
	reviews := review.Reviews{API: a.api.main, Node: a.host.name}
	if a.api.main != nil && a.cfg.Server.Auth.TokenReview {
		c.Auth.Token = server.CachedTokens(reviews.Token, set.Auth.TokenTTL)
	}
	if !a.cfg.Server.Auth.AlwaysAllow {
		c.Auth.Allow = server.Cached(reviews.Access, a.cfg.Server.Auth.AuthorizedTTL, a.cfg.Server.Auth.UnauthorizedTTL)
	}
	return c, nil
}

// serving returns what gives the certificate of the HTTPS API: the configured files, else the one that the cluster signs,
// else one that the agent signs itself and keeps.
func (a *agent) serving() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if a.certs.serving != nil {
		return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := a.certs.serving.Current(); c != nil {
				return c, nil
			}
			return nil, errors.New("there is no serving certificate yet: its signing request waits for approval")
		}, nil
	}
	paths := []string{a.cfg.Server.CertFile, a.cfg.Server.KeyFile}
	if paths[0] == "" {
		var err error
		if paths, err = certs.SelfSigned(a.cfg.Certs.Dir, a.host.name, a.host.ips); err != nil {
			return nil, err
		}
	}
	files := &certs.Files[*tls.Certificate]{Paths: paths, Read: certs.ReadPair, Log: slog.Default()}
	if _, err := files.Get(); err != nil {
		return nil, err
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.Get() }, nil
}

// bootstrap gets the node the right to speak for itself, where only a bootstrap kubeconfig is given. It returns the path of
// the client certificate where that is not the kubeconfig's to say.
func (b base) bootstrap(ctx context.Context) (string, error) {
	if store := b.clientStore(); b.cfg.Certs.RotateClient {
		if ok, err := store.Adopt(b.cfg.API.Kubeconfig, time.Now()); ok || err != nil {
			return store.Current(), err
		}
	}
	if b.cfg.API.Bootstrap == "" {
		return "", nil
	}
	return "", certs.Bootstrapping{
		Bootstrap: b.cfg.API.Bootstrap, Kubeconfig: b.cfg.API.Kubeconfig, Node: b.host.name, Store: b.clientStore(), Log: slog.Default(),
	}.Run(ctx)
}

func (b base) clientStore() certs.Store {
	return certs.Store{Dir: b.cfg.Certs.Dir, Name: "kubelet-client"}
}

// rotations keep the certificates that the cluster signs.
type rotations struct {
	client  *certs.Rotation // nil: it is not the agent's to renew
	serving *certs.Rotation // nil: the cluster does not sign it
}

func (b base) newRotations(api clients, n nodeParts, r reports) (c rotations, err error) {
	if api.main == nil {
		return c, nil
	}
	server := func() certs.API { return api.main }
	event := func(reason, message string) { r.events.NodeEvent("Warning", reason, message) }
	if store := b.clientStore(); b.cfg.Certs.RotateClient && (api.adopted || store.InUse(b.cfg.API.Kubeconfig)) {
		c.client = &certs.Rotation{
			Store: store, API: server, Event: event, Log: slog.Default(),
			Subject: func() (certs.Subject, bool) { return certs.Client(b.host.name), true },
		}
		if err := c.client.Load(); err != nil {
			return c, err
		}
	}
	if b.cfg.Certs.BootstrapServing && b.cfg.Server.CertFile == "" {
		c.serving = &certs.Rotation{
			Store: certs.Store{Dir: b.cfg.Certs.Dir, Name: "kubelet-server"}, API: server, Event: event, Log: slog.Default(),
			Subject: func() (certs.Subject, bool) { return certs.Serving(b.host.name, n.agent.Node().Status.Addresses) },
		}
		return c, c.serving.Load()
	}
	return c, nil
}
