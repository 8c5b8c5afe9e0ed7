package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// patience is how long one request may wait for its approval before it is looked at again from the start.
const patience = 15 * time.Minute

// errDenied is wrapped by the error of a request that was denied or that the signer failed.
var errDenied = errors.New("the signing request was denied")

// API is what requests need of an API client.
type API interface {
	Get(ctx context.Context, k kube.Key, into runtime.Object) error
	Create(ctx context.Context, k kube.Key, obj, into runtime.Object) error
	Watch(ctx context.Context, k kube.Key, o metav1.ListOptions) (watch.Interface, error)
}

// Subject is what a certificate is asked for.
type Subject struct {
	Signer   string
	Node     string
	DNSNames []string
	IPs      []net.IP
	Usages   []certificatesv1.KeyUsage
}

// Client is the subject of a node's client certificate.
func Client(node string) Subject {
	return Subject{
		Signer: certificatesv1.KubeAPIServerClientKubeletSignerName, Node: node,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
	}
}

// Serving is the subject of a node's serving certificate: the addresses that its Node has. Without any, the API server's
// approvers and signer want nothing of it: ok is false.
func Serving(node string, addresses []v1.NodeAddress) (s Subject, ok bool) {
	s = Subject{
		Signer: certificatesv1.KubeletServingSignerName, Node: node,
		Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
	}
	for _, a := range addresses {
		switch a.Type {
		case v1.NodeInternalIP, v1.NodeExternalIP:
			if ip := net.ParseIP(a.Address); ip != nil {
				s.IPs = append(s.IPs, ip)
			}
		case v1.NodeHostName, v1.NodeInternalDNS, v1.NodeExternalDNS:
			s.DNSNames = append(s.DNSNames, a.Address)
		}
	}
	slices.Sort(s.DNSNames)
	s.DNSNames = slices.Compact(s.DNSNames)
	slices.SortFunc(s.IPs, func(a, b net.IP) int { return strings.Compare(a.String(), b.String()) })
	return s, len(s.DNSNames)+len(s.IPs) > 0
}

// covers reports whether a certificate is valid for all that the subject names.
func (s Subject) covers(c *x509.Certificate) bool {
	if c.Subject.CommonName != s.commonName() || !slices.Equal(c.Subject.Organization, []string{"system:nodes"}) {
		return false
	}
	for _, n := range s.DNSNames {
		if !slices.Contains(c.DNSNames, n) {
			return false
		}
	}
	for _, ip := range s.IPs {
		if !slices.ContainsFunc(c.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

func (s Subject) commonName() string { return "system:node:" + s.Node }

// request has a certificate (PEM) signed for a key. The name of the request follows from the key and the subject, so that
// the same one is found again after a crash. It waits for the approval, at most patience or until ctx ends.
func request(ctx context.Context, api API, s Subject, key *ecdsa.PrivateKey) ([]byte, error) {
	csr, err := s.encode(key)
	if err != nil {
		return nil, err
	}
	name, err := s.name(key)
	if err != nil {
		return nil, err
	}
	object := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: csr, SignerName: s.Signer, Usages: s.Usages},
	}
	if err := api.Create(ctx, kube.Key{Resource: kube.SigningRequests}, object, nil); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("cannot ask for a certificate: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return await(ctx, api, name)
}

// await returns the certificate of a request once it is issued.
func await(ctx context.Context, api API, name string) ([]byte, error) {
	w, err := api.Watch(ctx, kube.Key{Resource: kube.SigningRequests}, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil, fmt.Errorf("cannot wait for the certificate %s: %w", name, err)
	}
	defer w.Stop()
	got := &certificatesv1.CertificateSigningRequest{}
	if err := api.Get(ctx, kube.Key{Resource: kube.SigningRequests, Name: name}, got); err != nil {
		return nil, fmt.Errorf("cannot wait for the certificate %s: %w", name, err)
	}
	for {
		if c, err := outcome(got); c != nil || err != nil {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot get a certificate: nobody approved the signing request %s: kubectl certificate approve %s: %w", name, name, ctx.Err())
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil, fmt.Errorf("cannot wait for the certificate %s: the watch ended", name)
			}
			switch o := e.Object.(type) {
			case *certificatesv1.CertificateSigningRequest:
				if got = o; e.Type == watch.Deleted {
					return nil, fmt.Errorf("cannot get a certificate: the signing request %s was deleted: %w", name, errDenied)
				}
			case *metav1.Status:
				return nil, fmt.Errorf("cannot wait for the certificate %s: %w", name, apierrors.FromObject(o))
			}
		}
	}
}

// outcome is what became of a request: neither a certificate nor an error while it waits.
func outcome(r *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	for _, c := range r.Status.Conditions {
		if c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed {
			return nil, fmt.Errorf("%w: %s: %s: %s", errDenied, r.Name, c.Reason, c.Message)
		}
	}
	if len(r.Status.Certificate) == 0 {
		return nil, nil
	}
	return r.Status.Certificate, nil
}

func (s Subject) encode(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: s.commonName(), Organization: []string{"system:nodes"}},
		DNSNames: s.DNSNames, IPAddresses: s.IPs,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("cannot make a signing request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// name is the same for the same key and subject, and fit for an object.
func (s Subject) name(key *ecdsa.PrivateKey) (string, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("cannot encode a key: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%q\n%v\n", s.Signer, s.Node, s.DNSNames, s.IPs)
	h.Write(public)
	return fmt.Sprintf("node-csr-%x", h.Sum(nil)[:20]), nil
}
