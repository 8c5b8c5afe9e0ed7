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
	reviews := review.Reviews{API: a.api.client, Node: a.host.name}
	if a.api.client != nil && a.cfg.Server.Auth.TokenReview {
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
	if a.api.serving != nil {
		return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := a.api.serving.Current(); c != nil {
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
func (a *agent) bootstrap(ctx context.Context) (string, error) {
	if store := a.clientStore(); a.cfg.Certs.RotateClient {
		if ok, err := store.Adopt(a.cfg.API.Kubeconfig, time.Now()); ok || err != nil {
			return store.Current(), err
		}
	}
	if a.cfg.API.Bootstrap == "" {
		return "", nil
	}
	return "", certs.Bootstrapping{
		Bootstrap: a.cfg.API.Bootstrap, Kubeconfig: a.cfg.API.Kubeconfig, Node: a.host.name, Store: a.clientStore(), Log: slog.Default(),
	}.Run(ctx)
}

func (a *agent) clientStore() certs.Store {
	return certs.Store{Dir: a.cfg.Certs.Dir, Name: "kubelet-client"}
}

// rotations makes what keeps the certificates that the cluster signs.
func (a *agent) rotations(adopted bool) error {
	api := func() certs.API { return a.api.client }
	event := func(reason, message string) { a.reports.events.NodeEvent("Warning", reason, message) }
	if store := a.clientStore(); a.cfg.Certs.RotateClient && (adopted || store.InUse(a.cfg.API.Kubeconfig)) {
		a.api.rotation = &certs.Rotation{
			Store: store, API: api, Event: event, Log: slog.Default(),
			Subject: func() (certs.Subject, bool) { return certs.Client(a.host.name), true },
		}
		if err := a.api.rotation.Load(); err != nil {
			return err
		}
	}
	if a.cfg.Certs.BootstrapServing && a.cfg.Server.CertFile == "" {
		a.api.serving = &certs.Rotation{
			Store: certs.Store{Dir: a.cfg.Certs.Dir, Name: "kubelet-server"}, API: api, Event: event, Log: slog.Default(),
			Subject: func() (certs.Subject, bool) { return certs.Serving(a.host.name, a.nodeObject().Status.Addresses) },
		}
		return a.api.serving.Load()
	}
	return nil
}
