package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/kube"
)

// Bootstrapping makes a kubeconfig from one that can only ask for a certificate.
type Bootstrapping struct {
	Bootstrap  string // path of the kubeconfig with a bootstrap token
	Kubeconfig string // path of the one that is written
	Node       string
	Store      Store
	Log        *slog.Logger
}

// Run returns when the kubeconfig can be used: at once when it can already, else when a certificate was issued. It tries
// until ctx ends; what is wrong with a file is an error at once.
func (b Bootstrapping) Run(ctx context.Context) error {
	ok, err := usable(b.Kubeconfig, time.Now())
	if ok || err != nil {
		return err
	}
	if _, err := kube.Load(kube.Config{Kubeconfig: b.Bootstrap}); err != nil {
		return fmt.Errorf("cannot bootstrap: %w", err)
	}
	b.Log.Info("asking the cluster for a client certificate", "bootstrap", b.Bootstrap, "node", b.Node)
	retry := kube.Backoff(firstRetry, lastRetry)
	for {
		err := b.obtain(ctx)
		if err == nil {
			break
		}
		b.Log.Error("cannot get a client certificate yet", "bootstrap", b.Bootstrap, "err", err)
		if kube.Sleep(ctx, retry.Step()); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return b.write()
}

// obtain reads the bootstrap kubeconfig each time: its token may have been over, and replaced.
func (b Bootstrapping) obtain(ctx context.Context) error {
	client, err := kube.New(kube.Config{Kubeconfig: b.Bootstrap, Timeout: 30 * time.Second})
	if err == nil {
		_, err = obtain(ctx, client, b.Store, Client(b.Node))
	}
	return err
}

// write derives the kubeconfig: the cluster of the bootstrap one, and the certificate by path, so that it follows renewals.
func (b Bootstrapping) write() error {
	from, err := clientcmd.LoadFromFile(b.Bootstrap)
	if err != nil {
		return fmt.Errorf("cannot read the bootstrap kubeconfig: %w", err)
	}
	context := from.Contexts[from.CurrentContext]
	if context == nil || from.Clusters[context.Cluster] == nil {
		return fmt.Errorf("the bootstrap kubeconfig %s names no cluster: set current-context", b.Bootstrap)
	}
	cluster := *from.Clusters[context.Cluster]
	if f := cluster.CertificateAuthority; f != "" && !filepath.IsAbs(f) {
		cluster.CertificateAuthority = filepath.Join(filepath.Dir(b.Bootstrap), f)
	}
	const name = "default"
	out, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: &cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificate: b.Store.Current(), ClientKey: b.Store.Current()}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name, Namespace: "default"}},
		CurrentContext: name,
	})
	if err != nil {
		return fmt.Errorf("cannot write the kubeconfig: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(b.Kubeconfig), 0o755); err != nil {
		return fmt.Errorf("cannot write the kubeconfig: %w", err)
	}
	return atomicfile.Write(b.Kubeconfig, out, 0o600, atomicfile.None)
}

// usable reports whether a kubeconfig is there with credentials that are not over.
func usable(path string, now time.Time) (bool, error) {
	c, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot use the kubeconfig %s: %w: mend it, or remove it to bootstrap again", path, err)
	}
	context := c.Contexts[c.CurrentContext]
	if context == nil || c.AuthInfos[context.AuthInfo] == nil {
		return false, fmt.Errorf("the kubeconfig %s names no user: mend it, or remove it to bootstrap again", path)
	}
	user := c.AuthInfos[context.AuthInfo]
	data := user.ClientCertificateData
	if len(data) == 0 && user.ClientCertificate != "" {
		if data, err = os.ReadFile(user.ClientCertificate); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("cannot read the client certificate of %s: %w", path, err)
		}
	}
	if len(data) == 0 {
		return true, nil // a token, or a program
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return false, nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		return err == nil && now.Before(leaf.NotAfter), nil
	}
}

// Adopt takes the client certificate that stands in a kubeconfig itself into the store, where it can be renewed, unless the
// store's was issued later. It reports whether the store's is the one to use, and is not over. kubeadm writes such a
// kubeconfig on the first node, and lets it point into the store once it finds the certificate there.
func (s Store) Adopt(kubeconfig string, now time.Time) (bool, error) {
	c, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return false, nil // who uses it tells
	}
	context := c.Contexts[c.CurrentContext]
	if context == nil || c.AuthInfos[context.AuthInfo] == nil {
		return false, nil
	}
	user := c.AuthInfos[context.AuthInfo]
	if len(user.ClientCertificateData) == 0 || len(user.ClientKeyData) == 0 {
		return false, nil
	}
	theirs, err := parse(user.ClientCertificateData, user.ClientKeyData)
	if err != nil {
		return false, fmt.Errorf("cannot use the client certificate of %s: %w", kubeconfig, err)
	}
	ours, err := s.load()
	if err != nil || theirs.Leaf.NotBefore.After(ours.Leaf.NotBefore) {
		ours, err = s.put(user.ClientCertificateData, user.ClientKeyData, now)
	}
	return err == nil && now.Before(ours.Leaf.NotAfter), err
}

// InUse reports whether a kubeconfig's client certificate is the one of a store, which can then be renewed there.
func (s Store) InUse(kubeconfig string) bool {
	c, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return false
	}
	context := c.Contexts[c.CurrentContext]
	return context != nil && c.AuthInfos[context.AuthInfo] != nil && c.AuthInfos[context.AuthInfo].ClientCertificate == s.Current()
}
