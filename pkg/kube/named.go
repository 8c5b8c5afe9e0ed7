package kube

import (
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Named returns the ConfigMaps and Secrets that a pod names, each once.
func Named(p *v1.Pod) []Key {
	seen := map[Key]bool{}
	out := []Key{}
	add := func(r Resource, name string) {
		k := Key{Resource: r, Namespace: p.Namespace, Name: name}
		if name != "" && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	for _, s := range p.Spec.ImagePullSecrets {
		add(Secrets, s.Name)
	}
	for i := range p.Spec.Volumes {
		volume(&p.Spec.Volumes[i].VolumeSource, add)
	}
	for _, c := range pod.Spec(p) {
		for _, f := range c.EnvFrom {
			if f.ConfigMapRef != nil {
				add(ConfigMaps, f.ConfigMapRef.Name)
			}
			if f.SecretRef != nil {
				add(Secrets, f.SecretRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				add(ConfigMaps, r.Name)
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				add(Secrets, r.Name)
			}
		}
	}
	return out
}

func volume(v *v1.VolumeSource, add func(Resource, string)) {
	switch {
	case v.ConfigMap != nil:
		add(ConfigMaps, v.ConfigMap.Name)
	case v.Secret != nil:
		add(Secrets, v.Secret.SecretName)
	case v.CSI != nil && v.CSI.NodePublishSecretRef != nil:
		add(Secrets, v.CSI.NodePublishSecretRef.Name)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				add(ConfigMaps, s.ConfigMap.Name)
			}
			if s.Secret != nil {
				add(Secrets, s.Secret.Name)
			}
		}
	}
}
