package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"
)

// answers keeps answers for a time each, and a bounded number of them. It is safe for concurrent use.
type answers[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]answer[V]
}

type answer[V any] struct {
	value V
	until time.Time
}

// mostAnswers bounds each cache: when it is full, it begins anew.
const mostAnswers = 1000

func (a *answers[K, V]) get(k K) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.known[k]
	if !ok || !time.Now().Before(got.until) {
		var none V
		return none, false
	}
	return got.value, true
}

func (a *answers[K, V]) keep(k K, v V, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= mostAnswers || a.known == nil {
		a.known = map[K]answer[V]{}
	}
	a.known[k] = answer[V]{v, time.Now().Add(ttl)}
}

// Cached keeps the answers of an authorizer: what is allowed for allowed, what is refused for refused. Errors are not kept.
func Cached(allow func(context.Context, Attributes) (bool, string, error), allowed, refused time.Duration) func(context.Context, Attributes) (bool, string, error) {
	type verdict struct {
		ok     bool
		reason string
	}
	var known answers[string, verdict]
	return func(ctx context.Context, a Attributes) (bool, string, error) {
		key := strings.Join(append([]string{a.User.Name, a.User.UID, a.Verb, a.Subresource, fmt.Sprint(a.User.Extra)}, a.User.Groups...), "\x00")
		if v, ok := known.get(key); ok {
			return v.ok, v.reason, nil
		}
		ok, reason, err := allow(ctx, a)
		if err != nil {
			return false, "", err
		}
		ttl := refused
		if ok {
			ttl = allowed
		}
		known.keep(key, verdict{ok, reason}, ttl)
		return ok, reason, nil
	}
}

// CachedTokens keeps the answers of a review of bearer tokens, by the tokens' digests. Errors are not kept.
func CachedTokens(review func(context.Context, string) (User, bool, error), ttl time.Duration) func(context.Context, string) (User, bool, error) {
	type verdict struct {
		user User
		ok   bool
	}
	var known answers[[sha256.Size]byte, verdict]
	return func(ctx context.Context, token string) (User, bool, error) {
		key := sha256.Sum256([]byte(token))
		if v, ok := known.get(key); ok {
			return v.user, v.ok, nil
		}
		u, ok, err := review(ctx, token)
		if err == nil {
			known.keep(key, verdict{u, ok}, ttl)
		}
		return u, ok, err
	}
}
