package podcert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

const (
	patience = 10 * time.Second // with a signer, when a pod waits for its first certificate; it is asked on afterwards
	glance   = 2 * time.Second  // with a signer that renews

	maxJitter = 5 * time.Minute  // after the time to renew, so that not all renew at once
	overdue   = 10 * time.Minute // after the time to renew, when its pod is told
)

// API is what an issuer needs of the API server, and of the disk for when that is away.
type API interface {
	objects.Getter
	RequestCertificate(ctx context.Context, r *certificatesv1beta1.PodCertificateRequest) (*certificatesv1beta1.PodCertificateRequest, error)
	KeepCertificate(uid types.UID, name string, value any)
	KeptCertificate(uid types.UID, name string, into any) bool
}

// Config is what an Issuer is made of. All of it is required.
type Config struct {
	API   API
	Node  func() *v1.Node
	Event func(p *v1.Pod, container, typ, reason, message string)
	Now   func() time.Time
}

// Issuer holds the certificates of this node's pods. It is safe for concurrent use, but for two calls about one source of
// one volume of one pod.
type Issuer struct {
	cfg   Config
	mu    sync.Mutex
	known map[place]credential
}

// New returns an issuer.
func New(cfg Config) *Issuer { return &Issuer{cfg: cfg, known: map[place]credential{}} }

// place is where a certificate goes: a source of a volume of a pod.
type place struct {
	pod    types.UID
	volume string
	source int
}

func (w place) name() string { return w.volume + "." + strconv.Itoa(w.source) }

// credential is what is held, and kept on disk, of one place.
type credential struct {
	Key, Chain []byte // PEM; none: not issued yet
	Renew, End time.Time
	Pending    string // the request that waits for its signer, and its key
	PendingKey []byte
	Refused    string // why there will be no other

	told string // to the pod: the reason of the last event
}

// Bundle returns the key and the certificate chain of a source, in PEM. The first time it asks for them and waits; later
// it renews them when they are due, and what there is serves until the new ones are there.
func (i *Issuer) Bundle(ctx context.Context, p *v1.Pod, volume string, source int, from *v1.PodCertificateProjection) (key, chain []byte, err error) {
	at := place{p.UID, volume, source}
	c := i.find(at)
	had := len(c.Chain) > 0
	if had && i.cfg.Now().Before(c.Renew) {
		return c.Key, c.Chain, nil
	}
	err = i.advance(ctx, p, at, &c, from)
	if err != nil && had {
		i.late(p, &c, err)
		err = nil
	}
	i.mu.Lock()
	i.known[at] = c
	i.mu.Unlock()
	return c.Key, c.Chain, err
}

// Forget drops what is held of a pod; what is kept on disk goes with the pod's tokens.
func (i *Issuer) Forget(uid types.UID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.known, func(at place, _ credential) bool { return at.pod == uid })
}

func (i *Issuer) find(at place) credential {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.known[at]
	if !ok {
		i.cfg.API.KeptCertificate(at.pod, at.name(), &c)
	}
	return c
}

// advance asks for a certificate, unless that was done, and waits for it.
func (i *Issuer) advance(ctx context.Context, p *v1.Pod, at place, c *credential, from *v1.PodCertificateProjection) error {
	wait := patience
	if len(c.Chain) > 0 {
		wait = glance
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if c.Refused != "" {
		return errors.New(c.Refused)
	}
	if c.Pending == "" {
		if err := i.ask(ctx, p, c, from); err != nil {
			return err
		}
		i.cfg.API.KeepCertificate(at.pod, at.name(), c)
	}
	what := fmt.Sprintf("PodCertificateRequest %s/%s", p.Namespace, c.Pending)
	err := i.await(ctx, p.Namespace, what, c)
	switch {
	case apierrors.IsNotFound(err):
		c.Pending, c.PendingKey = "", nil
		err = fmt.Errorf("%s was deleted before it was answered: another one is made", what)
	case err != nil && c.Pending != "" && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s has not been answered yet: see that its signer, %s, runs", what, from.SignerName)
	}
	if c.Pending == "" {
		i.cfg.API.KeepCertificate(at.pod, at.name(), c)
	}
	return err
}

// ask makes a key and a request for it.
func (i *Issuer) ask(ctx context.Context, p *v1.Pod, c *credential, from *v1.PodCertificateProjection) error {
	account, err := objects.Get[v1.ServiceAccount](ctx, i.cfg.API, p.Namespace, p.Spec.ServiceAccountName)
	if err != nil {
		return fmt.Errorf("cannot get service account %s/%s: %w", p.Namespace, p.Spec.ServiceAccountName, err)
	}
	key, proof, err := newKey(from.KeyType)
	if err != nil {
		return fmt.Errorf("cannot make a key: %w", err)
	}
	node := i.cfg.Node()
	r, err := i.cfg.API.RequestCertificate(ctx, &certificatesv1beta1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}},
		},
		Spec: certificatesv1beta1.PodCertificateRequestSpec{
			SignerName: from.SignerName, PodName: p.Name, PodUID: p.UID,
			ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
			NodeName: types.NodeName(node.Name), NodeUID: node.UID,
			MaxExpirationSeconds: from.MaxExpirationSeconds, StubPKCS10Request: proof, UnverifiedUserAnnotations: from.UserAnnotations,
		},
	})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the API server serves no PodCertificateRequests: it needs --feature-gates=PodCertificateRequest=true and --runtime-config=certificates.k8s.io/v1beta1/podcertificaterequests=true: %w", err)
	case err != nil:
		return fmt.Errorf("cannot request a certificate of signer %s: %w", from.SignerName, err)
	}
	c.Pending, c.PendingKey = r.Name, key
	return nil
}

// await looks at a request until its signer has answered it.
func (i *Issuer) await(ctx context.Context, namespace, what string, c *credential) error {
	for retry := kube.Backoff(50*time.Millisecond, time.Second); ; {
		r, err := objects.Get[certificatesv1beta1.PodCertificateRequest](ctx, i.cfg.API, namespace, c.Pending)
		switch {
		case err == nil:
			if answered(what, r, c) {
				if c.Refused != "" {
					return errors.New(c.Refused)
				}
				return nil
			}
		case !apierrors.IsForbidden(err): // which a node is for a moment: the authorizer has yet to hear of its request
			return err
		}
		if kube.Sleep(ctx, retry.Step()); ctx.Err() != nil {
			return cmp.Or(err, ctx.Err())
		}
	}
}

// answered takes the signer's answer up, if there is one.
func answered(what string, r *certificatesv1beta1.PodCertificateRequest, c *credential) bool {
	for _, cond := range r.Status.Conditions {
		switch cond.Type {
		case certificatesv1beta1.PodCertificateRequestConditionTypeIssued:
			*c = credential{Key: c.PendingKey, Chain: clean(r.Status.CertificateChain)}
			if at := r.Status.BeginRefreshAt; at != nil {
				c.Renew = at.Add(rand.N(maxJitter))
			}
			if at := r.Status.NotAfter; at != nil {
				c.End = at.Time
			}
			return true
		case certificatesv1beta1.PodCertificateRequestConditionTypeDenied, certificatesv1beta1.PodCertificateRequestConditionTypeFailed:
			done := map[string]string{
				certificatesv1beta1.PodCertificateRequestConditionTypeDenied: "was denied", certificatesv1beta1.PodCertificateRequestConditionTypeFailed: "failed",
			}[cond.Type]
			c.Pending, c.PendingKey = "", nil
			c.Refused = fmt.Sprintf("%s %s for good, reason=%q, message=%q: make the pod anew when that is mended", what, done, cond.Reason, cond.Message)
			return true
		}
	}
	return false
}

// late tells, once each, that a certificate was not renewed in time. The pod keeps the one that it has.
func (i *Issuer) late(p *v1.Pod, c *credential, err error) {
	reason, now := "", i.cfg.Now()
	switch {
	case now.After(c.End):
		reason = "CertificateExpired"
	case c.Refused != "":
		reason = "CertificateRefused"
	case now.After(c.Renew.Add(overdue)):
		reason = "CertificateOverdueForRefresh"
	}
	if reason == "" || reason == c.told {
		slog.Debug("cannot renew a pod's certificate yet", "pod", p.Namespace+"/"+p.Name, "uid", p.UID, "err", err)
		return
	}
	c.told = reason
	i.cfg.Event(p, "", v1.EventTypeWarning, reason, "The pod's certificate of "+c.End.UTC().Format(time.RFC3339)+" is not renewed: "+err.Error())
}
