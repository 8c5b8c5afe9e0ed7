package kube

import (
	"cmp"
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
)

// AccountOf is the name of a pod's service account.
func AccountOf(p *v1.Pod) string { return cmp.Or(p.Spec.ServiceAccountName, "default") }

// PodToken is Token for a pod's account and for one audience, bound to the pod; "" stands for the API server's own. While
// the API server is away, the token may be over.
func (o *Objects) PodToken(ctx context.Context, p *v1.Pod, audience string, seconds int64) (token string, ends time.Time, err error) {
	r := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(seconds),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
	}}
	if audience != "" {
		r.Spec.Audiences = []string{audience}
	}
	got, err := o.Token(ctx, p.Namespace, AccountOf(p), r)
	if err != nil {
		return "", time.Time{}, err
	}
	return got.Status.Token, got.Status.ExpirationTimestamp.Time, nil
}
