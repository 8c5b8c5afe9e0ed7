package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
)

// mostAnswers bounds each cache; the answer that was asked for the longest ago goes first.
const mostAnswers = 1000

// Cached keeps the answers of an authorizer: what is allowed for allowed, what is refused for refused. Errors are not kept.
func Cached(allow func(context.Context, Attributes) (bool, string, error), allowed, refused time.Duration) func(context.Context, Attributes) (bool, string, error) {
	type verdict struct {
		ok     bool
		reason string
	}
	known := cache.NewLRUExpireCache(mostAnswers)
	return func(ctx context.Context, a Attributes) (bool, string, error) {
		key := strings.Join(append([]string{a.User.Name, a.User.UID, a.Verb, a.Subresource, fmt.Sprint(a.User.Extra)}, a.User.Groups...), "\x00")
		if v, ok := known.Get(key); ok {
			return v.(verdict).ok, v.(verdict).reason, nil
		}
		ok, reason, err := allow(ctx, a)
		if err != nil {
			return false, "", err
		}
		ttl := refused
		if ok {
			ttl = allowed
		}
		known.Add(key, verdict{ok, reason}, ttl)
		return ok, reason, nil
	}
}

// CachedTokens keeps the answers of a review of bearer tokens, by the tokens' digests. Errors are not kept.
func CachedTokens(review func(context.Context, string) (User, bool, error), ttl time.Duration) func(context.Context, string) (User, bool, error) {
	type verdict struct {
		user User
		ok   bool
	}
	known := cache.NewLRUExpireCache(mostAnswers)
	return func(ctx context.Context, token string) (User, bool, error) {
		key := sha256.Sum256([]byte(token))
		if v, ok := known.Get(key); ok {
			return v.(verdict).user, v.(verdict).ok, nil
		}
		u, ok, err := review(ctx, token)
		if err == nil {
			known.Add(key, verdict{u, ok}, ttl)
		}
		return u, ok, err
	}
}
