package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/server/limit"
)

// User is who makes a request.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Anonymous is the user of a request without credentials, where those are let in.
var anonymous = User{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}

// Attributes are what a request is authorized by: a verb on a subresource of the node.
type Attributes struct {
	User        User
	Verb        string // get, create, ...
	Subresource string // proxy, stats, metrics, log, checkpoint, statusz, pods, healthz, configz
}

// Auth decides who may ask what.
type Auth struct {
	// Token reviews a bearer token; nil lets no token in. Not ok: the token is not valid.
	Token func(ctx context.Context, token string) (u User, ok bool, err error)
	// Allow authorizes; nil allows everybody who is authenticated (authorization.mode AlwaysAllow).
	Allow     func(ctx context.Context, a Attributes) (allowed bool, reason string, err error)
	Anonymous bool // let requests in that have no credentials
}

var errNoCredentials = errors.New("no client certificate and no bearer token")

// authenticate tells who makes a request. A certificate was verified by the TLS handshake already.
func (a Auth) authenticate(r *http.Request) (User, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return certificateUser(r.TLS.VerifiedChains[0][0]), nil
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") && token != "" && a.Token != nil {
		u, ok, err := a.Token(r.Context(), strings.TrimSpace(token))
		if err != nil {
			return User{}, err
		}
		if !ok {
			return User{}, errors.New("the bearer token is not valid")
		}
		return u, nil
	}
	if a.Anonymous {
		return anonymous, nil
	}
	return User{}, errNoCredentials
}

// certificateUser reads a Kubernetes client certificate: the common name is the user, the organizations are the groups.
func certificateUser(c *x509.Certificate) User {
	return User{Name: c.Subject.CommonName, Groups: append(c.Subject.Organization[:len(c.Subject.Organization):len(c.Subject.Organization)], "system:authenticated")}
}

// attributes maps a request to the verb and the subresources of the node that guard it, any of which is enough. What a
// user could once do with nodes/proxy alone has a finer subresource beside it (KEP-2862).
func attributes(u User, r *http.Request) []Attributes {
	verbs := map[string]string{
		http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update",
		http.MethodPatch: "patch", http.MethodDelete: "delete",
	}
	subresources := []string{"proxy"}
	for prefix, of := range map[string][]string{
		"/stats": {"stats"}, "/metrics": {"metrics"}, "/logs": {"log"}, "/checkpoint": {"checkpoint"}, "/statusz": {"statusz"},
		"/flagz": {"configz"}, "/configz": {"configz", "proxy"}, "/healthz": {"healthz", "proxy"},
		"/pods": {"pods", "proxy"}, "/runningpods": {"pods", "proxy"},
	} {
		if r.URL.Path == prefix || strings.HasPrefix(r.URL.Path, prefix+"/") {
			subresources = of
		}
	}
	var out []Attributes
	for _, s := range subresources {
		out = append(out, Attributes{User: u, Verb: verbs[r.Method], Subresource: s})
	}
	return out
}

// guard lets a request through to next when its user is known and allowed.
func (a Auth) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := a.authenticate(r)
		if err != nil {
			w.Header().Set("Connection", "close")
			tell(w, "Unauthorized: "+err.Error(), http.StatusUnauthorized)
			return
		}
		if u.Name != anonymous.Name {
			limit.Vouch(r)
		}
		if err := a.authorize(r, u); err != nil {
			tell(w, err.Error(), asRefusal(err).code)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a Auth) authorize(r *http.Request, u User) error {
	if a.Allow == nil {
		return nil
	}
	asked := attributes(u, r)
	var names []string
	for _, at := range asked {
		ok, reason, err := a.Allow(r.Context(), at)
		switch {
		case err != nil:
			return errors.New("cannot authorize the request: the API server does not answer")
		case ok:
			return nil
		}
		names = append(names, strings.TrimSpace(at.Subresource+" "+reason))
	}
	return refusal{http.StatusForbidden, metav1.StatusReasonForbidden, fmt.Sprintf(
		"Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s])", u.Name, asked[0].Verb, strings.Join(names, " "))}
}
