package manifest

import (
	"cmp"
	"maps"

	v1 "k8s.io/api/core/v1"
)

func defaultVolumeSource(s *v1.VolumeSource) {
	if *s == (v1.VolumeSource{}) {
		s.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	mode := func(m **int32) { *m = cmp.Or(*m, new(int32(0o644))) }
	switch {
	case s.ConfigMap != nil:
		mode(&s.ConfigMap.DefaultMode)
	case s.Secret != nil:
		mode(&s.Secret.DefaultMode)
	case s.DownwardAPI != nil:
		mode(&s.DownwardAPI.DefaultMode)
		defaultDownward(s.DownwardAPI.Items)
	case s.Projected != nil:
		mode(&s.Projected.DefaultMode)
		for i := range s.Projected.Sources {
			from := &s.Projected.Sources[i]
			if from.DownwardAPI != nil {
				defaultDownward(from.DownwardAPI.Items)
			}
			if t := from.ServiceAccountToken; t != nil {
				t.ExpirationSeconds = cmp.Or(t.ExpirationSeconds, new(int64(60*60)))
			}
		}
	case s.HostPath != nil:
		s.HostPath.Type = cmp.Or(s.HostPath.Type, new(v1.HostPathUnset))
	case s.ISCSI != nil:
		s.ISCSI.ISCSIInterface = cmp.Or(s.ISCSI.ISCSIInterface, "default")
	case s.Image != nil:
		s.Image.PullPolicy = cmp.Or(s.Image.PullPolicy, pullPolicy(s.Image.Reference))
	case s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil:
		spec := &s.Ephemeral.VolumeClaimTemplate.Spec
		spec.VolumeMode = cmp.Or(spec.VolumeMode, new(v1.PersistentVolumeFilesystem))
	}
}

func defaultDownward(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			items[i].FieldRef.APIVersion = cmp.Or(items[i].FieldRef.APIVersion, "v1")
		}
	}
}

// defaultSecret folds stringData into data, as an API server does.
func defaultSecret(s *v1.Secret) {
	s.Type = cmp.Or(s.Type, v1.SecretTypeOpaque)
	if len(s.StringData) == 0 {
		return
	}
	data := make(map[string][]byte, len(s.Data)+len(s.StringData))
	maps.Copy(data, s.Data)
	for k, v := range s.StringData {
		data[k] = []byte(v)
	}
	s.Data, s.StringData = data, nil
}

func defaultVolume(v *v1.PersistentVolume) {
	v.Namespace = ""
	v.Spec.PersistentVolumeReclaimPolicy = cmp.Or(v.Spec.PersistentVolumeReclaimPolicy, v1.PersistentVolumeReclaimRetain)
	v.Spec.VolumeMode = cmp.Or(v.Spec.VolumeMode, new(v1.PersistentVolumeFilesystem))
	if v.Spec.HostPath != nil {
		v.Spec.HostPath.Type = cmp.Or(v.Spec.HostPath.Type, new(v1.HostPathUnset))
	}
	v.Status.Phase = cmp.Or(v.Status.Phase, v1.VolumeAvailable)
}

func defaultClaim(c *v1.PersistentVolumeClaim) {
	c.Spec.VolumeMode = cmp.Or(c.Spec.VolumeMode, new(v1.PersistentVolumeFilesystem))
	if from := c.Spec.DataSource; from != nil && c.Spec.DataSourceRef == nil {
		c.Spec.DataSourceRef = &v1.TypedObjectReference{APIGroup: from.APIGroup, Kind: from.Kind, Name: from.Name}
	}
	roundUp(c.Spec.Resources.Requests)
	c.Status.Phase = cmp.Or(c.Status.Phase, v1.ClaimPending)
}
