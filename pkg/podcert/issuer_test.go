package podcert

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

// cluster is an API server with a signer, and the disk.
type cluster struct {
	requests []*certificatesv1beta1.PodCertificateRequest
	answer   func(r *certificatesv1beta1.PodCertificateRequest) // nil: none
	create   error
	disk     map[string][]byte
}

func (c *cluster) RequestCertificate(_ context.Context, r *certificatesv1beta1.PodCertificateRequest) (*certificatesv1beta1.PodCertificateRequest, error) {
	if c.create != nil {
		return nil, c.create
	}
	made := r.DeepCopy()
	made.Name = fmt.Sprintf("req-%d", len(c.requests))
	c.requests = append(c.requests, made)
	return made, nil
}

func (c *cluster) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	if k.Kind == "ServiceAccount" {
		return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: "account-uid"}}, nil
	}
	for _, r := range c.requests {
		if r != nil && r.Name == k.Name {
			if c.answer != nil {
				c.answer(r)
			}
			return r, nil
		}
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "podcertificaterequests"}, k.Name)
}

func (c *cluster) KeepCertificate(uid types.UID, name string, value any) {
	c.disk[string(uid)+"/"+name], _ = json.Marshal(value)
}

func (c *cluster) KeptCertificate(uid types.UID, name string, into any) bool {
	return json.Unmarshal(c.disk[string(uid)+"/"+name], into) == nil
}

// condition answers a request.
func condition(typ, reason string) func(*certificatesv1beta1.PodCertificateRequest) {
	return func(r *certificatesv1beta1.PodCertificateRequest) {
		if len(r.Status.Conditions) > 0 {
			return
		}
		r.Status.Conditions = []metav1.Condition{{Type: typ, Reason: reason, Message: "so it is"}}
		if typ == certificatesv1beta1.PodCertificateRequestConditionTypeIssued {
			r.Status.CertificateChain = "words\n" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: []byte(r.Name)}))
			r.Status.BeginRefreshAt, r.Status.NotAfter = new(metav1.NewTime(time.Now().Add(time.Hour))), new(metav1.NewTime(time.Now().Add(2*time.Hour)))
		}
	}
}

// bench is an issuer, and what it told of a pod.
type bench struct {
	*cluster
	t      *testing.T
	issuer *Issuer
	pod    *v1.Pod
	from   *v1.PodCertificateProjection
	told   []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, cluster: &cluster{disk: map[string][]byte{}}}
	b.pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "pod-uid"}, Spec: v1.PodSpec{ServiceAccountName: "sa"}}
	b.from = &v1.PodCertificateProjection{SignerName: "example.com/s", KeyType: "ED25519", UserAnnotations: map[string]string{"example.com/a": "b"}}
	b.restart()
	return b
}

// restart is the agent's: what was in memory is gone.
func (b *bench) restart() {
	b.issuer = New(Config{
		API: b.cluster, Now: time.Now, Node: func() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-uid"}} },
		Event: func(_ *v1.Pod, _, _, reason, _ string) { b.told = append(b.told, reason) },
	})
}

// chain is the name of the request whose certificate is given, or the error.
func (b *bench) chain() string {
	key, chain, err := b.issuer.Bundle(b.t.Context(), b.pod, "v", 1, b.from)
	if err != nil {
		return err.Error()
	}
	if block, rest := pem.Decode(key); block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		b.t.Errorf("the key is %q", key)
	}
	block, rest := pem.Decode(chain)
	if block == nil || len(block.Headers) > 0 || len(rest) > 0 {
		b.t.Errorf("the chain is %q", chain)
		return ""
	}
	return string(block.Bytes)
}

func (b *bench) want(what, want string) {
	b.t.Helper()
	if got := b.chain(); !strings.Contains(got, want) {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestIssuer_AsksWaitsKeepsAndRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.want("no signer", "PodCertificateRequest ns/req-0 has not been answered yet: see that its signer, example.com/s, runs")
		b.restart()
		b.answer = condition(certificatesv1beta1.PodCertificateRequestConditionTypeIssued, "")
		b.want("issued after a restart, by the same request", "req-0")
		spec := b.requests[0].Spec
		csr, err := x509.ParseCertificateRequest(spec.StubPKCS10Request)
		if err != nil || csr.CheckSignature() != nil {
			t.Errorf("the proof: %v", err)
		}
		spec.StubPKCS10Request = nil
		if d := cmp.Diff(certificatesv1beta1.PodCertificateRequestSpec{
			SignerName: "example.com/s", PodName: "p", PodUID: "pod-uid", ServiceAccountName: "sa", ServiceAccountUID: "account-uid",
			NodeName: "n", NodeUID: "node-uid", UnverifiedUserAnnotations: map[string]string{"example.com/a": "b"},
		}, spec); d != "" {
			t.Error(d)
		}
		time.Sleep(59 * time.Minute)
		b.restart()
		b.want("before it is due", "req-0")
		b.answer = nil
		time.Sleep(7 * time.Minute) // the jitter is over
		b.want("while the signer that renews is away", "req-0")
		time.Sleep(10 * time.Minute)
		b.want("long after it was due", "req-0")
		b.want("again", "req-0")
		b.answer = condition(certificatesv1beta1.PodCertificateRequestConditionTypeIssued, "")
		b.want("renewed", "req-1")
		b.want("and kept", "req-1")
		b.create = errors.New("the API server is away")
		time.Sleep(3 * time.Hour)
		b.want("over, and the API server is away", "req-1")
		b.issuer.Forget("pod-uid")
		if len(b.issuer.known) > 0 || len(b.requests) != 2 {
			t.Errorf("%d known, %d requests, want 0 and 2", len(b.issuer.known), len(b.requests))
		}
		if d := cmp.Diff([]string{"CertificateOverdueForRefresh", "CertificateExpired"}, b.told); d != "" {
			t.Error(d)
		}
	})
}

func TestIssuer_SaysWhyThereIsNoCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for typ, want := range map[string]string{
			certificatesv1beta1.PodCertificateRequestConditionTypeDenied: `ns/req-0 was denied for good, reason="Policy", message="so it is"`,
			certificatesv1beta1.PodCertificateRequestConditionTypeFailed: `ns/req-0 failed for good, reason="Policy", message="so it is"`,
		} {
			b := newBench(t)
			b.answer = condition(typ, "Policy")
			b.want(typ, want)
			b.restart()
			b.want(typ+" stays", want)
			if len(b.requests) != 1 {
				t.Errorf("%s: asked %d times", typ, len(b.requests))
			}
		}
		b := newBench(t)
		b.create = apierrors.NewNotFound(schema.GroupResource{}, "")
		b.want("not served", "the API server serves no PodCertificateRequests")
		b.create = nil
		b.want("no answer", "has not been answered")
		b.requests[0] = nil
		b.want("deleted", "was deleted before it was answered")
		b.answer = condition(certificatesv1beta1.PodCertificateRequestConditionTypeIssued, "")
		b.want("asked again", "req-1")
		b.answer = condition(certificatesv1beta1.PodCertificateRequestConditionTypeDenied, "Policy")
		time.Sleep(66 * time.Minute)
		b.want("a renewal that is denied", "req-1")
		if d := cmp.Diff([]string{"CertificateRefused"}, b.told); d != "" {
			t.Error(d)
		}
		b = newBench(t)
		b.from.KeyType = "DSA"
		b.want("an unknown key", `makes no keys of type "DSA"`)
	})
}

func TestNewKey_OfEveryType(t *testing.T) {
	for _, typ := range []string{"RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"} {
		key, request, err := newKey(typ)
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		block, _ := pem.Decode(key)
		if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if csr, err := x509.ParseCertificateRequest(request); err != nil || csr.CheckSignature() != nil {
			t.Errorf("%s: the proof: %v", typ, err)
		}
	}
}
