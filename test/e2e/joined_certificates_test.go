package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const certified = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: minikubelet.dev/web:1
    volumeMounts: [{name: certs, mountPath: /certs}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
  volumes:
  - name: certs
    projected:
      sources:
      - configMap: {name: beside}
      - podCertificate:
          signerName: example.com/%[2]s
          keyType: ECDSAP256
          credentialBundlePath: bundle.pem
          keyPath: key.pem
          certificateChainPath: chain.pem
          userAnnotations: {example.com/hint: of the pod}
`

// TestJoined_Certificates has a pod certified by a signer that works through the API: it waits for the signer, keeps its
// certificate over a crash of the agent, and has it renewed.
func TestJoined_Certificates(t *testing.T) {
	t.Parallel()
	j := join(t, nil, "--feature-gates=PodCertificateRequest=true", "--runtime-config=certificates.k8s.io/v1beta1/podcertificaterequests=true")
	j.kubectl("create", "configmap", "beside", "--from-literal=version=one")
	j.Apply(fmt.Sprintf(certified, "certified", "good"))
	j.waitEvents("certified", `FailedMount: MountVolume.SetUp failed for volume "certs" : cannot get a certificate for the pod: PodCertificateRequest default/req-`)
	newSigner(t, j.admin)
	p := j.waitReady("certified")
	j.Apply(fmt.Sprintf(certified, "denied", "bad"))

	first := j.bundle(p, "one")
	list := j.certificateRequests("certified")
	if len(list) != 1 {
		t.Fatalf("%d requests, want the one that was waited for", len(list))
	}
	if s := list[0].Spec; s.PodUID != p.UID || s.NodeUID != j.node().UID || s.UnverifiedUserAnnotations["example.com/hint"] != "of the pod" || s.MaxExpirationSeconds == nil || *s.MaxExpirationSeconds != 86400 {
		t.Errorf("the request %+v", s)
	}

	j.agent.Restart()
	j.kubectl("patch", "configmap", "beside", "-p", `{"data":{"version":"two"}}`)
	if again := j.bundle(p, "two"); again != first || len(j.certificateRequests("certified")) != 1 {
		t.Errorf("after a crash of the agent there are %d requests, and the certificate is the same: %v", len(j.certificateRequests("certified")), again == first)
	}

	j.agent.Kill()
	j.due(p)
	j.agent.Start()
	j.kubectl("patch", "configmap", "beside", "-p", `{"data":{"version":"three"}}`)
	if next := j.bundle(p, "three"); next == first || len(j.certificateRequests("certified")) != 2 {
		t.Errorf("after it was due there are %d requests, and the certificate is the same: %v", len(j.certificateRequests("certified")), next == first)
	}

	j.waitEvents("denied", `FailedMount: MountVolume.SetUp failed for volume "certs" : cannot get a certificate for the pod: PodCertificateRequest default/req-`)
	j.eventually("the event says who denied it", func() error {
		have, err := j.events("denied")
		if err == nil && !strings.Contains(strings.Join(have, "\n"), `was denied for good, reason="UnknownSigner", message="not here"`) {
			err = fmt.Errorf("%q", have)
		}
		return err
	})
	j.kubectl("delete", "pods", "--all", "--timeout=30s")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
	if left, err := filepath.Glob(filepath.Join(j.agent.RootDir, "minikubelet", "objects", "tokens", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("keys are left: %v, %v", left, err)
	}
}

// bundle is the pod's credential bundle, once the file beside it has a version. Key and chain belong together.
func (j *joined) bundle(p *v1.Pod, version string) string {
	j.t.Helper()
	file := func(name string) string {
		out, err := j.web(p.Status.PodIP, "/file?path=/certs/"+name)
		if err != nil {
			out = err.Error()
		}
		return out
	}
	j.eventually("the volume is refreshed", func() error {
		if v := file("version"); v != version {
			return errors.New(v)
		}
		return nil
	})
	bundle := file("bundle.pem")
	if pair, err := tls.X509KeyPair([]byte(bundle), []byte(bundle)); err != nil || pair.Leaf.Subject.CommonName != string(p.UID) {
		j.t.Errorf("the bundle is no pair of the pod's: %v", err)
	}
	if _, err := tls.X509KeyPair([]byte(file("chain.pem")), []byte(file("key.pem"))); err != nil {
		j.t.Errorf("key and chain do not belong together: %v", err)
	}
	return bundle
}

func (j *joined) certificateRequests(pod string) (out []certificatesv1beta1.PodCertificateRequest) {
	j.t.Helper()
	list, err := j.admin.CertificatesV1beta1().PodCertificateRequests("default").List(j.t.Context(), metav1.ListOptions{})
	if err != nil {
		j.t.Fatal(err)
	}
	for _, r := range list.Items {
		if r.Spec.PodName == pod {
			out = append(out, r)
		}
	}
	return out
}

// due makes a certificate due for renewal where the agent keeps it: an API server takes none that is due within minutes.
func (j *joined) due(p *v1.Pod) {
	j.t.Helper()
	path := filepath.Join(j.agent.RootDir, "minikubelet", "objects", "tokens", string(p.UID), "certificate-certs.1.json")
	kept := map[string]any{}
	b, err := os.ReadFile(path)
	err = errors.Join(err, json.Unmarshal(b, &kept))
	if i, statErr := os.Stat(path); statErr != nil || i.Mode().Perm() != 0o600 {
		j.t.Errorf("the kept key: %v, %v; it must be root's alone", i, statErr)
	}
	kept["Renew"] = time.Now().Add(-time.Minute)
	b, err2 := json.Marshal(kept)
	if err := errors.Join(err, err2, os.WriteFile(path, b, 0o600)); err != nil {
		j.t.Fatal(err)
	}
}

// signer issues certificates that are asked for of example.com/good, and denies those of example.com/bad.
type signer struct {
	t     *testing.T
	admin kubernetes.Interface
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newSigner(t *testing.T, admin kubernetes.Interface) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{t: t, admin: admin, key: key, ca: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	w, err := admin.CertificatesV1beta1().PodCertificateRequests("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range w.ResultChan() {
			r, ok := e.Object.(*certificatesv1beta1.PodCertificateRequest)
			if !ok || len(r.Status.Conditions) > 0 || e.Type == "DELETED" {
				continue
			}
			if err := s.answer(r); err != nil && t.Context().Err() == nil {
				t.Errorf("the signer: %v", err)
			}
		}
	})
	t.Cleanup(func() { w.Stop(); wg.Wait() })
}

func (s signer) answer(r *certificatesv1beta1.PodCertificateRequest) error {
	r = r.DeepCopy()
	if r.Spec.SignerName == "example.com/good" {
		if err := s.issue(r); err != nil {
			return err
		}
	} else {
		r.Status.Conditions = []metav1.Condition{{Type: "Denied", Status: "True", Reason: "UnknownSigner", Message: "not here", LastTransitionTime: metav1.Now()}}
	}
	_, err := s.admin.CertificatesV1beta1().PodCertificateRequests(r.Namespace).UpdateStatus(s.t.Context(), r, metav1.UpdateOptions{})
	return err
}

func (s signer) issue(r *certificatesv1beta1.PodCertificateRequest) error {
	csr, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		return err
	}
	from := time.Now().Truncate(time.Second)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: string(r.Spec.PodUID)},
		NotBefore: from, NotAfter: from.Add(2 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.ca, csr.PublicKey, s.key)
	if err != nil {
		return err
	}
	at := func(t time.Time) *metav1.Time { return new(metav1.NewTime(t)) }
	r.Status = certificatesv1beta1.PodCertificateRequestStatus{
		CertificateChain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		NotBefore:        at(from), BeginRefreshAt: at(from.Add(time.Hour)), NotAfter: at(from.Add(2 * time.Hour)),
		Conditions: []metav1.Condition{{Type: "Issued", Status: "True", Reason: "Issued", LastTransitionTime: metav1.Now()}},
	}
	return nil
}
