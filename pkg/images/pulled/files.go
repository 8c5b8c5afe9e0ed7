package pulled

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/images/credentials"
)

// group is the API group of the files; the kubelet has written several versions of it, which read the same.
const group = "kubelet.config.k8s.io"

func meta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: group + "/v1beta1", Kind: kind}
}

// fileName is free of what an image's name may hold and a file's may not.
func fileName(s string) string { return fmt.Sprintf("sha256-%x", sha256.Sum256([]byte(s))) }

// isA is the check of both books.
func isA(kind string, is metav1.TypeMeta) error {
	if gvk := is.GroupVersionKind(); gvk.Group != group || gvk.Kind != kind {
		return fmt.Errorf("it is a %q of %q", is.Kind, is.APIVersion)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// credentialsOf is who may use what was pulled with a login: everybody, when none was needed or it is the node's.
func credentialsOf(l *credentials.Login) *kubelet.ImagePullCredentials {
	switch {
	case l == nil || l.Secret == nil && l.Account == nil:
		return &kubelet.ImagePullCredentials{NodePodsAccessible: true}
	case l.Secret != nil:
		return &kubelet.ImagePullCredentials{KubernetesSecrets: []kubelet.ImagePullSecret{secretOf(*l)}}
	}
	return &kubelet.ImagePullCredentials{KubernetesServiceAccounts: []kubelet.ImagePullServiceAccount{accountOf(*l)}}
}

func secretOf(l credentials.Login) kubelet.ImagePullSecret {
	return kubelet.ImagePullSecret{UID: l.Secret.UID, Namespace: l.Secret.Namespace, Name: l.Secret.Name, CredentialHash: l.Hash()}
}

func accountOf(l credentials.Login) kubelet.ImagePullServiceAccount {
	return kubelet.ImagePullServiceAccount{UID: l.Account.UID, Namespace: l.Account.Namespace, Name: l.Account.Name}
}

func sameSecret(a, b kubelet.ImagePullSecret) bool {
	return a.UID == b.UID && a.Namespace == b.Namespace && a.Name == b.Name
}

// merge adds credentials to those that are known, sorted, one entry for each secret and account.
func merge(known, more kubelet.ImagePullCredentials) (out kubelet.ImagePullCredentials, changed bool) {
	switch {
	case known.NodePodsAccessible:
		return known, false
	case more.NodePodsAccessible:
		return more, true
	}
	out = kubelet.ImagePullCredentials{
		KubernetesSecrets: slices.Clone(known.KubernetesSecrets), KubernetesServiceAccounts: slices.Clone(known.KubernetesServiceAccounts),
	}
	for _, s := range more.KubernetesSecrets {
		i := slices.IndexFunc(out.KubernetesSecrets, func(o kubelet.ImagePullSecret) bool { return sameSecret(o, s) })
		switch {
		case i < 0:
			out.KubernetesSecrets, changed = append(out.KubernetesSecrets, s), true
		case out.KubernetesSecrets[i] != s:
			out.KubernetesSecrets[i], changed = s, true
		}
	}
	for _, a := range more.KubernetesServiceAccounts {
		if !slices.Contains(out.KubernetesServiceAccounts, a) {
			out.KubernetesServiceAccounts, changed = append(out.KubernetesServiceAccounts, a), true
		}
	}
	slices.SortFunc(out.KubernetesSecrets, func(a, b kubelet.ImagePullSecret) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	slices.SortFunc(out.KubernetesServiceAccounts, func(a, b kubelet.ImagePullServiceAccount) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return out, changed
}
