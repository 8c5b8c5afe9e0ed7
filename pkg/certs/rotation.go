package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

const (
	firstRetry = 2 * time.Second
	lastRetry  = 5 * time.Minute
	recheck    = time.Minute // how often a changed subject, such as a new address, is looked for
)

// Rotation keeps one certificate of a store current: it asks for one where there is none and in time before it expires.
type Rotation struct {
	Store   Store
	Subject func() (Subject, bool) // false: nothing can be asked for yet
	API     func() API             // with the credentials of now
	Event   func(reason, message string)
	Log     *slog.Logger

	current  atomic.Pointer[tls.Certificate]
	failures atomic.Uint64
}

// Failures is how often it could not be renewed.
func (r *Rotation) Failures() uint64 { return r.failures.Load() }

// Current is the certificate in use; nil before there is one.
func (r *Rotation) Current() *tls.Certificate { return r.current.Load() }

// Load takes the current certificate of the store into use. That there is none is no error.
func (r *Rotation) Load() error {
	c, err := r.Store.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		r.current.Store(c)
	}
	return err
}

// Run renews until the context ends.
func (r *Rotation) Run(ctx context.Context) {
	retry := kube.Backoff(firstRetry, lastRetry)
	jitter := 0.7 + 0.2*rand.Float64()
	for next := time.Duration(0); ; {
		if kube.Sleep(ctx, next); ctx.Err() != nil {
			return
		}
		s, ok := r.Subject()
		var wait time.Duration
		if c := r.Current(); c != nil && (!ok || s.covers(c.Leaf)) {
			wait = time.Until(due(c.Leaf, jitter))
		}
		if !ok || wait > 0 {
			next = min(max(wait, time.Second), recheck)
			continue
		}
		if err := r.renew(ctx, s); err != nil {
			if ctx.Err() == nil {
				r.told(err)
			}
			next = retry.Step()
			continue
		}
		jitter = 0.7 + 0.2*rand.Float64()
		c := r.Current().Leaf
		if time.Until(due(c, jitter)) > 0 {
			retry = kube.Backoff(firstRetry, lastRetry)
			next = time.Second
			continue
		}
		// The clocks differ, or the signer gives it next to no time: the next one would be due at once too.
		next = retry.Step()
		if left := time.Until(c.NotAfter); left > 0 { // one that is good for now is renewed before it is over
			next = min(next, max(firstRetry, left/2))
		}
	}
}

// due is when a certificate is renewed: after 70 to 90 % of its life.
func due(c *x509.Certificate, share float64) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(time.Duration(share * float64(life)))
}

func (r *Rotation) told(err error) {
	r.failures.Add(1)
	left := "there is none yet"
	if c := r.Current(); c != nil {
		left = "the one in use ends " + c.Leaf.NotAfter.Format(time.RFC3339)
	}
	r.Log.Error("cannot renew a certificate", "certificate", r.Store.Name, "in use", left, "err", err)
	r.Event("CertificateRotationFailed", "cannot renew the certificate "+r.Store.Name+" ("+left+"): "+err.Error())
}

func (r *Rotation) renew(ctx context.Context, s Subject) error {
	c, err := obtain(ctx, r.API(), r.Store, s)
	if err != nil {
		return err
	}
	r.current.Store(c)
	r.Log.Info("a certificate was issued", "certificate", r.Store.Name, "signer", s.Signer, "until", c.Leaf.NotAfter)
	return nil
}

// obtain has a certificate issued and makes it the store's current one.
func obtain(ctx context.Context, api API, store Store, s Subject) (*tls.Certificate, error) {
	key, err := store.key()
	if err != nil {
		return nil, err
	}
	pem, err := request(ctx, api, s, key)
	if errors.Is(err, errDenied) {
		return nil, errors.Join(err, store.forget()) // with the same key it would be the same request
	}
	if err != nil {
		return nil, err
	}
	c, err := store.save(pem, key, time.Now())
	if err != nil {
		return nil, err
	}
	if !s.covers(c.Leaf) {
		return nil, errors.New("the certificate that was issued is not for what was asked")
	}
	return c, nil
}
