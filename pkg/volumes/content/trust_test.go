package content

import (
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

func certificate(der string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(der)}))
}

// bundles are those of a cluster: by name, and by signer and selector.
type bundles map[string][]string

func (b bundles) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	if b[k.Name] == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "clustertrustbundles"}, k.Name)
	}
	return &certificatesv1beta1.ClusterTrustBundle{Spec: certificatesv1beta1.ClusterTrustBundleSpec{TrustBundle: b[k.Name][0]}}, nil
}

func (b bundles) SignersTrustBundles(_ context.Context, signer, selector string) ([]string, error) {
	if signer == "down" {
		return nil, errors.New("no answer")
	}
	return b[signer+"?"+selector], nil
}

func TestClusterTrustBundle_WritesEachCertificateOnce(t *testing.T) {
	a, b := certificate("a"), certificate("b")
	all := bundles{"one": {"words\n" + b + a}, "s?": {b, a + b}, "s?x=y": {a}}
	selector := func(labels map[string]string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: labels}
	}
	for name, tt := range map[string]struct {
		from v1.ClusterTrustBundleProjection
		want string
		err  string
	}{
		"by name":               {from: v1.ClusterTrustBundleProjection{Name: new("one")}, want: a + b},
		"missing":               {from: v1.ClusterTrustBundleProjection{Name: new("none")}, err: "ClusterTrustBundle none not found"},
		"missing and optional":  {from: v1.ClusterTrustBundleProjection{Name: new("none"), Optional: new(true)}},
		"all of a signer":       {from: v1.ClusterTrustBundleProjection{SignerName: new("s"), LabelSelector: selector(nil)}, want: a + b},
		"some of a signer":      {from: v1.ClusterTrustBundleProjection{SignerName: new("s"), LabelSelector: selector(map[string]string{"x": "y"})}, want: a},
		"no selector":           {from: v1.ClusterTrustBundleProjection{SignerName: new("s")}, err: "a ClusterTrustBundle of signer s not found"},
		"the server fails":      {from: v1.ClusterTrustBundleProjection{SignerName: new("down"), LabelSelector: selector(nil), Optional: new(true)}, err: "no answer"},
		"neither of both names": {from: v1.ClusterTrustBundleProjection{}, err: "neither name nor signerName"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.from.Path = "ca.pem"
			vol := &v1.Volume{Name: "v"}
			vol.Projected = &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ClusterTrustBundle: &tt.from}}}
			got, err := New(Config{Trust: all, Now: time.Now}).Files(t.Context(), &v1.Pod{}, vol)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if want := (hostfs.File{Data: []byte(tt.want), Mode: 0o644}); err != nil || string(got["ca.pem"].Data) != tt.want || got["ca.pem"].Mode != want.Mode {
				t.Errorf("files %v, %v", got, err)
			}
		})
	}
}
