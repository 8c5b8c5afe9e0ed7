package kube

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Resource names a kind of object by group, version and plural: "v1/pods", "storage.k8s.io/v1/csinodes".
type Resource string

// The resources that a node agent touches.
const (
	Pods                   Resource = "v1/pods"
	Nodes                  Resource = "v1/nodes"
	Events                 Resource = "v1/events"
	ConfigMaps             Resource = "v1/configmaps"
	Secrets                Resource = "v1/secrets"
	ServiceAccounts        Resource = "v1/serviceaccounts"
	Services               Resource = "v1/services"
	PersistentVolumes      Resource = "v1/persistentvolumes"
	PersistentVolumeClaims Resource = "v1/persistentvolumeclaims"
	Leases                 Resource = "coordination.k8s.io/v1/leases"
	CSINodes               Resource = "storage.k8s.io/v1/csinodes"
	CSIDrivers             Resource = "storage.k8s.io/v1/csidrivers"
	VolumeAttachments      Resource = "storage.k8s.io/v1/volumeattachments"
	TokenReviews           Resource = "authentication.k8s.io/v1/tokenreviews"
	SubjectAccessReviews   Resource = "authorization.k8s.io/v1/subjectaccessreviews"
	ClusterTrustBundles    Resource = "certificates.k8s.io/v1beta1/clustertrustbundles"
	CertificateRequests    Resource = "certificates.k8s.io/v1beta1/podcertificaterequests"
	RuntimeClasses         Resource = "node.k8s.io/v1/runtimeclasses"
	SigningRequests        Resource = "certificates.k8s.io/v1/certificatesigningrequests"
)

// Key addresses one object, one of its subresources or, without a name, a collection.
type Key struct {
	Resource  Resource
	Namespace string // empty for what has none, or for all namespaces
	Name      string // empty for a collection
	Sub       string // status, token, ...; empty for the object itself
}

func (k Key) String() string {
	parts := []string{string(k.Resource)}
	for _, s := range []string{k.Namespace, k.Name, k.Sub} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "/")
}

// segments is the URL path of the key. Names that would leave their place in a path are refused.
func (k Key) segments() ([]string, error) {
	parts := strings.Split(string(k.Resource), "/")
	out := []string{"apis"}
	switch len(parts) {
	case 2:
		out[0] = "api"
	case 3:
	default:
		return nil, fmt.Errorf("cannot address %q: a resource is [group/]version/plural", k.Resource)
	}
	plural := parts[len(parts)-1]
	out = append(out, parts[:len(parts)-1]...)
	if k.Namespace != "" {
		out = append(out, "namespaces", k.Namespace)
	}
	out = append(out, plural)
	for _, s := range []string{k.Name, k.Sub} {
		if s != "" {
			out = append(out, s)
		}
	}
	for _, s := range []string{k.Namespace, k.Name, k.Sub} {
		if bad := content.IsPathSegmentName(s); len(bad) > 0 {
			return nil, fmt.Errorf("cannot address %s: name %q %s", k.Resource, s, strings.Join(bad, ", "))
		}
	}
	return out, nil
}
