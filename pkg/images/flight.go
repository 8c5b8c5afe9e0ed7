package images

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

// flight is a pull that goes on, with those who wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiters int // guarded by Puller.mu
	done    chan struct{}
	image   cri.Image // valid when done is closed, as is all below
	with    cri.Auth  // the login that worked
	err     error
	pulling time.Duration // without waiting for a slot
}

// join waits with those who pull the same image with the same credentials, or begins to pull. Another's credentials are
// no reason to be given an image.
func (p *Puller) join(ctx context.Context, ref string, auths []cri.Auth, sandbox *runtimeapi.PodSandboxConfig) *flight {
	key := ref + "\x00" + digest(auths)
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flights[key]; f != nil && f.waiters > 0 {
		f.waiters++
		return f
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives whoever asked first
	f := &flight{cancel: cancel, waiters: 1, done: make(chan struct{})}
	p.flights[key] = f
	p.wg.Go(func() {
		defer cancel()
		f.err = p.run(ctx, f, ref, auths, sandbox)
		p.mu.Lock()
		if p.flights[key] == f {
			delete(p.flights, key)
		}
		p.mu.Unlock()
		close(f.done)
	})
	return f
}

// leave ends a pull that nobody waits for any more.
func (p *Puller) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
	}
}

// errQPS is in the words that users of the kubelet know.
var errQPS = errors.New("pull QPS exceeded")

// run pulls with each login in turn, then with none.
func (p *Puller) run(ctx context.Context, f *flight, ref string, auths []cri.Auth, sandbox *runtimeapi.PodSandboxConfig) error {
	asked := time.Now()
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !p.limit.Allow() {
		return errQPS
	}
	began := time.Now()
	var errs []error
	for _, a := range append(auths[:len(auths):len(auths)], cri.Auth{}) {
		id, err := p.cfg.Runtime.PullImage(ctx, ref, a, sandbox)
		if err == nil {
			f.pulling, f.with, f.image = time.Since(began), a, cri.Image{ID: id}
			if i, err := p.cfg.Runtime.ImageStatus(ctx, id); err == nil && i != nil {
				f.image = *i // with its size, and its ID where a runtime answers with a digest
			}
			if p.cfg.Pulled != nil {
				p.cfg.Pulled(int64(f.image.Size), time.Since(asked))
			}
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, cri.ErrUnavailable) {
			break
		}
	}
	return distinct(errs)
}

// distinct joins errors in one line, each text once.
func distinct(errs []error) error {
	seen := map[string]bool{}
	var out error
	for _, err := range errs {
		switch {
		case seen[err.Error()]:
		case out == nil:
			out = err
		default:
			out = fmt.Errorf("%w; %w", out, err)
		}
		seen[err.Error()] = true
	}
	return out
}

func digest(auths []cri.Auth) string {
	b, err := json.Marshal(auths)
	if err != nil { // strings alone: cannot fail
		return ""
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}
