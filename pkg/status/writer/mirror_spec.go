package writer

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// AnnotationHidden of a mirror pod names what its static pod uses and the mirror may not name.
const AnnotationHidden = "minikubelet.dev/mirror-hides"

// hideReferences takes out of a mirror's specification what NodeRestriction forbids a node to name: ConfigMaps, Secrets,
// claims, service accounts and resource claims. A static pod takes these from files of its node, or without the API
// server's leave. Volumes become empty directories, so that their mounts still make sense. It returns what was hidden.
func hideReferences(p *v1.Pod) []string {
	var hidden []string
	hide := func(what string) {
		if !slices.Contains(hidden, what) {
			hidden = append(hidden, what)
		}
	}
	for _, k := range kube.Named(p) {
		hide(strings.TrimSuffix(strings.TrimPrefix(string(k.Resource), "v1/"), "s") + "/" + k.Name)
	}
	s := &p.Spec
	s.ImagePullSecrets = nil
	for i := range s.Volumes {
		hideVolume(&s.Volumes[i], hide)
	}
	for i := range s.InitContainers {
		hideEnvironment(&s.InitContainers[i])
	}
	for i := range s.Containers {
		hideEnvironment(&s.Containers[i])
	}
	if s.ServiceAccountName != "" {
		hide("serviceaccount/" + s.ServiceAccountName)
		s.ServiceAccountName, s.DeprecatedServiceAccount = "", ""
	}
	for _, c := range s.ResourceClaims {
		hide("resourceclaim/" + c.Name)
	}
	s.ResourceClaims = nil
	return hidden
}

func hideVolume(v *v1.Volume, hide func(string)) {
	switch {
	case v.PersistentVolumeClaim != nil:
		hide("persistentvolumeclaim/" + v.PersistentVolumeClaim.ClaimName)
	case v.Ephemeral != nil:
		hide("persistentvolumeclaim of volume " + v.Name)
	case v.ConfigMap != nil, v.Secret != nil, v.Projected != nil, v.CSI != nil && v.CSI.NodePublishSecretRef != nil:
	default:
		return
	}
	v.VolumeSource = v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}
}

func hideEnvironment(c *v1.Container) {
	c.EnvFrom = nil
	c.Env = slices.DeleteFunc(c.Env, func(e v1.EnvVar) bool {
		return e.ValueFrom != nil && (e.ValueFrom.ConfigMapKeyRef != nil || e.ValueFrom.SecretKeyRef != nil)
	})
	c.Resources.Claims = nil
}
