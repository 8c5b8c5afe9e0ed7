package kube

import (
	"context"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

type managed = metav1.ManagedFieldsEntry

func (r Resource) plural() string { return string(r)[strings.LastIndexByte(string(r), '/')+1:] }

// ConfigMap returns a ConfigMap; an error that apierrors.IsNotFound knows when there is none. The value is shared: read only.
func (o *Objects) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	k := Key{Resource: ConfigMaps, Namespace: namespace, Name: name}
	got, ok, err := o.find(ctx, k)
	if err != nil {
		return nil, err
	}
	if c, is := got.(*v1.ConfigMap); ok && is {
		return c, nil
	}
	c := &v1.ConfigMap{}
	return c, o.read(ctx, k, c)
}

// Secret returns a Secret; an error that apierrors.IsNotFound knows when there is none. The value is shared: read only.
func (o *Objects) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	k := Key{Resource: Secrets, Namespace: namespace, Name: name}
	got, ok, err := o.find(ctx, k)
	if err != nil {
		return nil, err
	}
	if s, is := got.(*v1.Secret); ok && is {
		return s, nil
	}
	s := &v1.Secret{}
	return s, o.read(ctx, k, s)
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

// PersistentVolumeClaim reads a claim from the API server.
func (o *Objects) PersistentVolumeClaim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	c := &v1.PersistentVolumeClaim{}
	return c, o.client.Get(ctx, Key{Resource: PersistentVolumeClaims, Namespace: namespace, Name: name}, c)
}

// PersistentVolume reads a volume from the API server.
func (o *Objects) PersistentVolume(ctx context.Context, name string) (*v1.PersistentVolume, error) {
	p := &v1.PersistentVolume{}
	return p, o.client.Get(ctx, Key{Resource: PersistentVolumes, Name: name}, p)
}

// ServiceAccount reads a service account from the API server.
func (o *Objects) ServiceAccount(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	s := &v1.ServiceAccount{}
	return s, o.client.Get(ctx, Key{Resource: ServiceAccounts, Namespace: namespace, Name: name}, s)
}

// VolumeAttachment reads an attachment from the API server.
func (o *Objects) VolumeAttachment(ctx context.Context, name string) (*storagev1.VolumeAttachment, error) {
	a := &storagev1.VolumeAttachment{}
	return a, o.client.Get(ctx, Key{Resource: VolumeAttachments, Name: name}, a)
}

// RuntimeClass reads a runtime class from the API server.
func (o *Objects) RuntimeClass(ctx context.Context, name string) (*nodev1.RuntimeClass, error) {
	c := &nodev1.RuntimeClass{}
	return c, o.client.Get(ctx, Key{Resource: RuntimeClasses, Name: name}, c)
}

// CSIDriver reads the object that describes a CSI driver from the API server.
func (o *Objects) CSIDriver(ctx context.Context, name string) (*storagev1.CSIDriver, error) {
	d := &storagev1.CSIDriver{}
	return d, o.client.Get(ctx, Key{Resource: CSIDrivers, Name: name}, d)
}

// ClusterTrustBundle reads the certificates of a bundle from the API server, in PEM.
func (o *Objects) ClusterTrustBundle(ctx context.Context, name string) (string, error) {
	b := &certificatesv1beta1.ClusterTrustBundle{}
	err := o.client.Get(ctx, Key{Resource: ClusterTrustBundles, Name: name}, b)
	return b.Spec.TrustBundle, err
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

// CertificateRequest reads a request for a pod's certificate from the API server.
func (o *Objects) CertificateRequest(ctx context.Context, namespace, name string) (*certificatesv1beta1.PodCertificateRequest, error) {
	r := &certificatesv1beta1.PodCertificateRequest{}
	return r, o.client.Get(ctx, Key{Resource: CertificateRequests, Namespace: namespace, Name: name}, r)
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
