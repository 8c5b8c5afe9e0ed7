// Package review asks the API server who somebody is and what they may do to this node, for pkg/server to decide by.
package review

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/server"
)

// Reviews are not cached: see server.CachedTokens and server.Cached.
type Reviews struct {
	API  *kube.Client // nil: standalone
	Node string
}

// Token asks who a bearer token belongs to, and whether it is good.
func (r Reviews) Token(ctx context.Context, token string) (server.User, bool, error) {
	ask := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	got := &authenticationv1.TokenReview{}
	if err := r.API.Create(ctx, kube.Key{Resource: kube.TokenReviews}, ask, got); err != nil {
		return server.User{}, false, err
	}
	u := got.Status.User
	extra := map[string][]string{}
	for k, v := range u.Extra {
		extra[k] = v
	}
	return server.User{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: extra}, got.Status.Authenticated, nil
}

// Access asks whether a user may do something to the node. Without an API server, nobody can be authorized in this mode.
func (r Reviews) Access(ctx context.Context, at server.Attributes) (bool, string, error) {
	if r.API == nil {
		return false, "authorization.mode is Webhook and there is no API server to ask: set AlwaysAllow", nil
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range at.User.Extra {
		extra[k] = v
	}
	ask := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: at.User.Name, UID: at.User.UID, Groups: at.User.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: at.Verb, Version: "v1", Resource: "nodes", Subresource: at.Subresource, Name: r.Node,
		},
	}}
	got := &authorizationv1.SubjectAccessReview{}
	if err := r.API.Create(ctx, kube.Key{Resource: kube.SubjectAccessReviews}, ask, got); err != nil {
		return false, "", err
	}
	return got.Status.Allowed, got.Status.Reason, nil
}
