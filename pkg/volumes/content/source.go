package content

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// TokenFunc requests a token of the pod's service account, bound to the pod. It is called again when four fifths of the
// token's life, or 24 h, have passed.
type TokenFunc func(ctx context.Context, p *v1.Pod, audience string, expirySeconds int64) (token string, expires time.Time, err error)

// Trust gets certificates of the cluster (KEP-3257), in PEM.
type Trust interface {
	objects.Getter
	SignersTrustBundles(ctx context.Context, signer, selector string) ([]string, error)
}

// CertificateFunc returns the key and the certificate chain, in PEM, of a source of a projected volume: those of before
// until they are due for renewal.
type CertificateFunc func(ctx context.Context, p *v1.Pod, volume string, source int, from *v1.PodCertificateProjection) (key, chain []byte, err error)

// Config is what a Source is made of. All but Token, Trust and Certificate are required.
type Config struct {
	Objects     *objects.Store
	Token       TokenFunc            // nil: service account tokens are an error
	Trust       Trust                // nil: cluster trust bundles are an error
	Certificate CertificateFunc      // nil: certificates of pods are an error
	Node        func() downward.Node // what the downward API tells of the node
	Now         func() time.Time
}

// Source makes the files of volumes. It is safe for concurrent use.
type Source struct {
	cfg    Config
	mu     sync.Mutex
	tokens map[tokenKey]token
}

// New returns a source.
func New(cfg Config) *Source { return &Source{cfg: cfg, tokens: map[tokenKey]token{}} }

// Has reports whether a volume is of a kind whose files this package makes.
func Has(vol *v1.Volume) bool {
	return vol.ConfigMap != nil || vol.Secret != nil || vol.DownwardAPI != nil || vol.Projected != nil
}

// SourceName is the name of the field that is set in a volume source.
func SourceName(source any) string {
	s := reflect.ValueOf(source)
	for i := range s.NumField() {
		if f := s.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return "(none given)"
}

// Missing adds to the error for an object that does not exist what to do about it.
func Missing(p *v1.Pod, err error, kind, name string) error {
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("cannot get %s %s: %w", kind, name, err)
	}
	switch {
	case strings.Contains(err.Error(), "add a file"): // the node's files say so themselves
		return err
	case pod.IsStatic(p):
		return fmt.Errorf("%w (add a file with the %s %s to the manifest directory)", err, kind, name)
	}
	return fmt.Errorf("%w (create the %s %s)", err, kind, name)
}
