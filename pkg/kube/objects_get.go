package kube

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

type managed = metav1.ManagedFieldsEntry

func (r Resource) plural() string { return string(r)[strings.LastIndexByte(string(r), '/')+1:] }

// kinds are those of objects that can be got.
var kinds = map[string]struct {
	resource Resource
	empty    func() objects.Object
}{
	"ConfigMap":             {ConfigMaps, func() objects.Object { return &v1.ConfigMap{} }},
	"Secret":                {Secrets, func() objects.Object { return &v1.Secret{} }},
	"ServiceAccount":        {ServiceAccounts, func() objects.Object { return &v1.ServiceAccount{} }},
	"PersistentVolume":      {PersistentVolumes, func() objects.Object { return &v1.PersistentVolume{} }},
	"PersistentVolumeClaim": {PersistentVolumeClaims, func() objects.Object { return &v1.PersistentVolumeClaim{} }},
	"VolumeAttachment":      {VolumeAttachments, func() objects.Object { return &storagev1.VolumeAttachment{} }},
	"CSIDriver":             {CSIDrivers, func() objects.Object { return &storagev1.CSIDriver{} }},
	"RuntimeClass":          {RuntimeClasses, func() objects.Object { return &nodev1.RuntimeClass{} }},
	"ClusterTrustBundle":    {ClusterTrustBundles, func() objects.Object { return &certificatesv1beta1.ClusterTrustBundle{} }},
	"PodCertificateRequest": {CertificateRequests, func() objects.Object { return &certificatesv1beta1.PodCertificateRequest{} }},
}

// Get gets an object: what is held, else what the server says. The value is shared: read only.
func (o *Objects) Get(ctx context.Context, k objects.Key) (objects.Object, error) {
	kind, ok := kinds[k.Kind]
	if !ok {
		return nil, fmt.Errorf("cannot ask the API server for %s: the kind is not known here", k)
	}
	key := Key{Resource: kind.resource, Namespace: k.Namespace, Name: k.Name}
	held, ok, err := o.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if got, is := held.(objects.Object); ok && is {
		return got, nil
	}
	got := kind.empty()
	return got, o.read(ctx, key, got)
}

// read asks the server, and takes what is kept when it cannot be asked.
func (o *Objects) read(ctx context.Context, k Key, into runtime.Object) error {
	if !o.keep.has(k) {
		return o.client.Get(ctx, k, into)
	}
	short, cancel := context.WithTimeout(ctx, o.client.Patience(quickAnswer))
	defer cancel()
	err := o.client.Get(short, k, into)
	if err == nil || ctx.Err() != nil || !unreachable(err) || !o.keep.get(k, into) {
		return err
	}
	o.log.Debug("the API server is away: an object is as it was", "object", k.String(), "err", err)
	return nil
}

// SignersTrustBundles reads the certificates of a signer's bundles that a label selector picks.
func (o *Objects) SignersTrustBundles(ctx context.Context, signer, selector string) ([]string, error) {
	list := &certificatesv1beta1.ClusterTrustBundleList{}
	err := o.client.List(ctx, Key{Resource: ClusterTrustBundles}, metav1.ListOptions{LabelSelector: selector, FieldSelector: "spec.signerName=" + signer}, list)
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Spec.TrustBundle)
	}
	return out, err
}

// RequestCertificate asks a signer for a pod's certificate.
func (o *Objects) RequestCertificate(ctx context.Context, r *certificatesv1beta1.PodCertificateRequest) (*certificatesv1beta1.PodCertificateRequest, error) {
	got := &certificatesv1beta1.PodCertificateRequest{}
	return got, o.client.Create(ctx, Key{Resource: CertificateRequests, Namespace: r.Namespace}, r, got)
}

// KeepCertificate holds a certificate of a pod on disk, with the pod's tokens and for as long as these.
func (o *Objects) KeepCertificate(uid types.UID, name string, value any) {
	o.keep.putOf(uid, "certificate-"+name+".json", value)
}

// KeptCertificate reads what KeepCertificate holds, if it holds that.
func (o *Objects) KeptCertificate(uid types.UID, name string, into any) bool {
	return o.keep.getOf(uid, "certificate-"+name+".json", into)
}

// Token asks for a token of a service account (TokenRequest). NodeRestriction demands that it is bound to a pod of this
// node. When the server cannot be asked, the pod gets the one that it had before, which may be over: see its expiration.
func (o *Objects) Token(ctx context.Context, namespace, account string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	k := Key{Resource: ServiceAccounts, Namespace: namespace, Name: account, Sub: "token"}
	var uid types.UID
	if ref := r.Spec.BoundObjectRef; ref != nil {
		uid = ref.UID
	}
	asked := r.Spec
	old, had := o.keep.getToken(uid, account, asked)
	short := ctx
	if had {
		var cancel context.CancelFunc
		short, cancel = context.WithTimeout(ctx, o.client.Patience(quickAnswer))
		defer cancel()
	}
	got := &authenticationv1.TokenRequest{}
	err := o.client.Create(short, k, r, got)
	switch {
	case err == nil:
		o.keep.putToken(uid, account, asked, got)
	case had && ctx.Err() == nil && unreachable(err):
		return old, nil
	}
	return got, err
}
