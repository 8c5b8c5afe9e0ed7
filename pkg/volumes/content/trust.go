package content

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// clusterTrustBundle writes the certificates of one bundle, or of a signer's bundles, to one file.
func (s *Source) clusterTrustBundle(ctx context.Context, from *v1.ClusterTrustBundleProjection, def *int32, out hostfs.Files) error {
	if s.cfg.Trust == nil {
		return errors.New("cannot project a ClusterTrustBundle: this node has no API server to ask for one")
	}
	what, bundles, err := s.bundles(ctx, from)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cannot get %s: %w", what, err)
	}
	optional := from.Optional != nil && *from.Optional
	if len(bundles) == 0 && !optional {
		return fmt.Errorf("%s not found: create it, or set optional; the API server must serve certificates.k8s.io/v1beta1", what)
	}
	return out.Add(from.Path, hostfs.File{Data: anchors(bundles), Mode: mode(nil, def)})
}

func (s *Source) bundles(ctx context.Context, from *v1.ClusterTrustBundleProjection) (what string, bundles []string, err error) {
	if from.Name != nil {
		what = "ClusterTrustBundle " + *from.Name
		b, err := objects.Get[certificatesv1beta1.ClusterTrustBundle](ctx, s.cfg.Trust, "", *from.Name)
		if err != nil {
			return what, nil, err
		}
		return what, []string{b.Spec.TrustBundle}, nil
	}
	if from.SignerName == nil {
		return "a ClusterTrustBundle", nil, errors.New("it has neither name nor signerName")
	}
	what = "a ClusterTrustBundle of signer " + *from.SignerName
	selector, err := metav1.LabelSelectorAsSelector(from.LabelSelector)
	if err != nil || from.LabelSelector == nil { // none matches nothing; an empty one everything
		return what, nil, err
	}
	bundles, err = s.cfg.Trust.SignersTrustBundles(ctx, *from.SignerName, selector.String())
	return what, bundles, err
}

// anchors joins the certificates of bundles, each once, in an order that stays: an order of the server's would rewrite the
// file without need.
func anchors(bundles []string) []byte {
	var found [][]byte
	for _, b := range bundles {
		for block, rest := pem.Decode([]byte(b)); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" {
				found = append(found, block.Bytes)
			}
		}
	}
	slices.SortFunc(found, bytes.Compare)
	var out []byte
	for _, der := range slices.CompactFunc(found, bytes.Equal) {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}
