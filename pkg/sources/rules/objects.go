package rules

import (
	"encoding/json"
	"maps"
	"path"
	"slices"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxObject is what an API server takes as the data of one ConfigMap or Secret, in bytes.
const maxObject = 1 << 20

// ConfigMap reports what an API server would refuse in one.
func ConfigMap(c *v1.ConfigMap) field.ErrorList {
	errs := validateMeta(&c.ObjectMeta, true)
	size := 0
	for _, k := range slices.Sorted(maps.Keys(c.Data)) {
		size += len(c.Data[k])
		errs = append(errs, messages(field.NewPath("data").Key(k), k, validation.IsConfigMapKey(k))...)
		if _, twice := c.BinaryData[k]; twice {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(k), k, "is also in binaryData"))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.BinaryData)) {
		size += len(c.BinaryData[k])
		errs = append(errs, messages(field.NewPath("binaryData").Key(k), k, validation.IsConfigMapKey(k))...)
	}
	if size > maxObject {
		errs = append(errs, field.TooLong(field.NewPath("data"), "", maxObject))
	}
	return errs
}

// Secret reports what an API server would refuse in one; its errors never have a value.
func Secret(s *v1.Secret) field.ErrorList {
	errs := validateMeta(&s.ObjectMeta, true)
	size := 0
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		size += len(s.Data[k])
		errs = append(errs, messages(field.NewPath("data").Key(k), k, validation.IsConfigMapKey(k))...)
	}
	if size > maxObject {
		errs = append(errs, field.TooLong(field.NewPath("data"), "", maxObject))
	}
	need := map[v1.SecretType][]string{
		v1.SecretTypeDockerConfigJson: {v1.DockerConfigJsonKey},
		v1.SecretTypeDockercfg:        {v1.DockerConfigKey},
		v1.SecretTypeTLS:              {v1.TLSCertKey, v1.TLSPrivateKeyKey},
		v1.SecretTypeSSHAuth:          {v1.SSHAuthPrivateKey},
	}
	for _, k := range need[s.Type] {
		at, why := field.NewPath("data").Key(k), "a secret of type "+string(s.Type)+" has it"
		switch value, ok := s.Data[k]; {
		case !ok, s.Type == v1.SecretTypeSSHAuth && len(value) == 0:
			errs = append(errs, field.Required(at, why))
		case k == v1.DockerConfigKey || k == v1.DockerConfigJsonKey:
			if json.Unmarshal(value, &map[string]any{}) != nil {
				errs = append(errs, field.Invalid(at, "<not shown>", "must be a JSON object, as docker login writes it"))
			}
		}
	}
	switch s.Type {
	case v1.SecretTypeBasicAuth:
		_, user := s.Data[v1.BasicAuthUsernameKey]
		_, password := s.Data[v1.BasicAuthPasswordKey]
		if !user && !password {
			errs = append(errs, field.Required(field.NewPath("data").Key(v1.BasicAuthUsernameKey), "this or a password"),
				field.Required(field.NewPath("data").Key(v1.BasicAuthPasswordKey), "this or a username"))
		}
	case v1.SecretTypeServiceAccountToken:
		if s.Annotations[v1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(field.NewPath("metadata", "annotations").Key(v1.ServiceAccountNameKey), ""))
		}
	}
	return errs
}

// RuntimeClass reports what an API server would refuse in one.
func RuntimeClass(c *nodev1.RuntimeClass) field.ErrorList {
	errs := validateMeta(&c.ObjectMeta, false)
	errs = append(errs, messages(field.NewPath("handler"), c.Handler, validation.IsDNS1123Label(c.Handler))...)
	if c.Overhead != nil {
		errs = append(errs, validateAmounts(c.Overhead.PodFixed, field.NewPath("overhead", "podFixed"))...)
	}
	return errs
}

// PersistentVolume reports what an API server would refuse in one.
func PersistentVolume(v *v1.PersistentVolume) field.ErrorList {
	errs := validateMeta(&v.ObjectMeta, false)
	spec := field.NewPath("spec")
	switch set := setFields(v.Spec.PersistentVolumeSource); {
	case len(set) == 0:
		errs = append(errs, field.Required(spec, "a volume needs a source, such as csi or hostPath"))
	case len(set) > 1:
		errs = append(errs, field.Forbidden(spec.Child(set[1]), "a volume has one source"))
	}
	if q, ok := v.Spec.Capacity[v1.ResourceStorage]; !ok || q.Sign() <= 0 {
		errs = append(errs, field.Required(spec.Child("capacity").Key("storage"), "must be more than 0"))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Spec.Capacity)) {
		errs = append(errs, oneOf(spec.Child("capacity").Key(string(name)), name, v1.ResourceStorage)...)
	}
	errs = append(errs, validateAccess(v.Spec.AccessModes, v.Spec.VolumeMode, spec)...)
	errs = append(errs, validateClass(v.Spec.StorageClassName, spec)...)
	reclaim := spec.Child("persistentVolumeReclaimPolicy")
	errs = append(errs, oneOf(reclaim, v.Spec.PersistentVolumeReclaimPolicy, v1.PersistentVolumeReclaimRetain,
		v1.PersistentVolumeReclaimDelete, v1.PersistentVolumeReclaimRecycle)...)
	if v.Spec.HostPath != nil && path.Clean(v.Spec.HostPath.Path) == "/" && v.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(reclaim, "Recycle would empty the host's root"))
	}
	if v.Spec.NodeAffinity != nil && v.Spec.NodeAffinity.Required != nil {
		errs = append(errs, validateNodeSelector(v.Spec.NodeAffinity.Required, spec.Child("nodeAffinity", "required"))...)
	} else if v.Spec.Local != nil {
		errs = append(errs, field.Required(spec.Child("nodeAffinity"), "a local volume says on which node it is"))
	}
	if c := v.Spec.CSI; c != nil {
		errs = append(errs, validateDriver(spec.Child("csi", "driver"), c.Driver)...)
		if c.VolumeHandle == "" {
			errs = append(errs, field.Required(spec.Child("csi", "volumeHandle"), ""))
		}
	}
	if v.Spec.HostPath != nil {
		errs = append(errs, validateHostPath(v.Spec.HostPath, spec.Child("hostPath"))...)
	}
	return errs
}

// PersistentVolumeClaim reports what an API server would refuse in one.
func PersistentVolumeClaim(c *v1.PersistentVolumeClaim) field.ErrorList {
	errs := validateMeta(&c.ObjectMeta, true)
	spec := field.NewPath("spec")
	errs = append(errs, validateAccess(c.Spec.AccessModes, c.Spec.VolumeMode, spec)...)
	if q, ok := c.Spec.Resources.Requests[v1.ResourceStorage]; !ok || q.Sign() <= 0 {
		errs = append(errs, field.Required(spec.Child("resources", "requests").Key("storage"), "must be more than 0"))
	}
	if c.Spec.StorageClassName != nil {
		errs = append(errs, validateClass(*c.Spec.StorageClassName, spec)...)
	}
	errs = append(errs, validateSelector(c.Spec.Selector, spec.Child("selector"))...)
	if c.Spec.VolumeName != "" {
		errs = append(errs, messages(spec.Child("volumeName"), c.Spec.VolumeName, validation.IsDNS1123Subdomain(c.Spec.VolumeName))...)
	}
	return errs
}

func validateClass(name string, spec *field.Path) field.ErrorList {
	if name == "" {
		return nil
	}
	return messages(spec.Child("storageClassName"), name, validation.IsDNS1123Subdomain(name))
}

func validateAccess(modes []v1.PersistentVolumeAccessMode, mode *v1.PersistentVolumeMode, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(modes) == 0 {
		errs = append(errs, field.Required(spec.Child("accessModes"), "at least one, such as ReadWriteOnce"))
	}
	for i, m := range modes {
		errs = append(errs, oneOf(spec.Child("accessModes").Index(i), m, v1.ReadWriteOnce, v1.ReadOnlyMany, v1.ReadWriteMany, v1.ReadWriteOncePod)...)
	}
	if len(modes) > 1 && slices.Contains(modes, v1.ReadWriteOncePod) {
		errs = append(errs, field.Forbidden(spec.Child("accessModes"), "ReadWriteOncePod excludes the others"))
	}
	if mode != nil {
		errs = append(errs, oneOf(spec.Child("volumeMode"), *mode, v1.PersistentVolumeBlock, v1.PersistentVolumeFilesystem)...)
	}
	return errs
}
