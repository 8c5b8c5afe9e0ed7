package rules

import (
	"path"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateVolumes returns the volumes by name.
func validateVolumes(volumes []v1.Volume, at *field.Path) (map[string]*v1.Volume, field.ErrorList) {
	byName := map[string]*v1.Volume{}
	var errs field.ErrorList
	for i := range volumes {
		v, here := &volumes[i], at.Index(i)
		if v.Name == "" {
			errs = append(errs, field.Required(here.Child("name"), ""))
		} else {
			errs = append(errs, messages(here.Child("name"), v.Name, validation.IsDNS1123Label(v.Name))...)
		}
		if byName[v.Name] != nil {
			errs = append(errs, field.Duplicate(here.Child("name"), v.Name))
		}
		byName[v.Name] = v
		if set := setFields(v.VolumeSource); len(set) > 1 {
			errs = append(errs, field.Forbidden(here, "a volume has one source: it has "+strings.Join(set, " and ")))
			continue
		}
		errs = append(errs, validateVolumeSource(&v.VolumeSource, here)...)
	}
	return byName, errs
}

// setFields are the JSON names of a struct's pointers that are set.
func setFields(s any) []string {
	var out []string
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, name)
		}
	}
	return out
}

func validateVolumeSource(s *v1.VolumeSource, at *field.Path) field.ErrorList {
	switch {
	case s.HostPath != nil:
		return validateHostPath(s.HostPath, at.Child("hostPath"))
	case s.EmptyDir != nil:
		return validateEmptyDir(s.EmptyDir, at.Child("emptyDir"))
	case s.ConfigMap != nil:
		here := at.Child("configMap")
		return slices.Concat(validateRef(here.Child("name"), s.ConfigMap.Name), validateMode(here.Child("defaultMode"), s.ConfigMap.DefaultMode),
			validateItems(s.ConfigMap.Items, here.Child("items")))
	case s.Secret != nil:
		here := at.Child("secret")
		return slices.Concat(validateRef(here.Child("secretName"), s.Secret.SecretName), validateMode(here.Child("defaultMode"), s.Secret.DefaultMode),
			validateItems(s.Secret.Items, here.Child("items")))
	case s.DownwardAPI != nil:
		here := at.Child("downwardAPI")
		return append(validateMode(here.Child("defaultMode"), s.DownwardAPI.DefaultMode), validateDownward(s.DownwardAPI.Items, here.Child("items"))...)
	case s.Projected != nil:
		return validateProjected(s.Projected, at.Child("projected"))
	case s.PersistentVolumeClaim != nil:
		return validateRef(at.Child("persistentVolumeClaim", "claimName"), s.PersistentVolumeClaim.ClaimName)
	case s.CSI != nil:
		errs := validateDriver(at.Child("csi", "driver"), s.CSI.Driver)
		if r := s.CSI.NodePublishSecretRef; r != nil {
			errs = append(errs, validateRef(at.Child("csi", "nodePublishSecretRef", "name"), r.Name)...)
		}
		return errs
	case s.Image != nil:
		return validateImage(s.Image, at.Child("image"))
	case s.NFS != nil:
		return validateNFS(s.NFS, at.Child("nfs"))
	case s.GitRepo != nil:
		return field.ErrorList{field.Forbidden(at.Child("gitRepo"), "removed from Kubernetes: clone in an init container into an emptyDir")}
	}
	return nil
}

func validateImage(v *v1.ImageVolumeSource, at *field.Path) field.ErrorList {
	errs := oneOf(at.Child("pullPolicy"), v.PullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	if v.Reference == "" {
		errs = append(errs, field.Required(at.Child("reference"), ""))
	}
	return errs
}

func validateNFS(v *v1.NFSVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if v.Server == "" {
		errs = append(errs, field.Required(at.Child("server"), ""))
	}
	if !strings.HasPrefix(v.Path, "/") {
		errs = append(errs, field.Invalid(at.Child("path"), v.Path, "must be an absolute path"))
	}
	return errs
}

func validateHostPath(h *v1.HostPathVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if h.Path == "" {
		errs = append(errs, field.Required(at.Child("path"), ""))
	} else if slices.Contains(strings.Split(h.Path, "/"), "..") {
		errs = append(errs, field.Invalid(at.Child("path"), h.Path, "must not contain '..'"))
	}
	if h.Type != nil {
		errs = append(errs, oneOf(at.Child("type"), *h.Type, v1.HostPathUnset, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory,
			v1.HostPathFileOrCreate, v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)...)
	}
	return errs
}

func validateEmptyDir(e *v1.EmptyDirVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		errs = append(errs, field.Invalid(at.Child("sizeLimit"), e.SizeLimit.String(), "must not be negative"))
	}
	if e.Medium != v1.StorageMediumDefault && e.Medium != v1.StorageMediumMemory && !strings.HasPrefix(string(e.Medium), string(v1.StorageMediumHugePages)) {
		errs = append(errs, field.NotSupported(at.Child("medium"), e.Medium,
			[]v1.StorageMedium{v1.StorageMediumDefault, v1.StorageMediumMemory, v1.StorageMediumHugePages}))
	}
	return errs
}

func validateProjected(p *v1.ProjectedVolumeSource, at *field.Path) field.ErrorList {
	errs := validateMode(at.Child("defaultMode"), p.DefaultMode)
	paths := map[string]bool{}
	file := func(here *field.Path, path string) {
		if paths[path] {
			errs = append(errs, field.Invalid(here, path, "two sources of the volume write this file"))
		}
		paths[path] = true
	}
	for i, s := range p.Sources {
		here := at.Child("sources").Index(i)
		if set := setFields(s); len(set) > 1 {
			errs = append(errs, field.Forbidden(here, "one source each: it has "+strings.Join(set, " and ")))
			continue
		}
		switch {
		case s.ConfigMap != nil:
			errs = append(errs, validateRef(here.Child("configMap", "name"), s.ConfigMap.Name)...)
			errs = append(errs, validateItems(s.ConfigMap.Items, here.Child("configMap", "items"))...)
			for j, item := range s.ConfigMap.Items {
				file(here.Child("configMap", "items").Index(j).Child("path"), item.Path)
			}
		case s.Secret != nil:
			errs = append(errs, validateRef(here.Child("secret", "name"), s.Secret.Name)...)
			errs = append(errs, validateItems(s.Secret.Items, here.Child("secret", "items"))...)
			for j, item := range s.Secret.Items {
				file(here.Child("secret", "items").Index(j).Child("path"), item.Path)
			}
		case s.DownwardAPI != nil:
			errs = append(errs, validateDownward(s.DownwardAPI.Items, here.Child("downwardAPI", "items"))...)
			for j, item := range s.DownwardAPI.Items {
				file(here.Child("downwardAPI", "items").Index(j).Child("path"), item.Path)
			}
		case s.ServiceAccountToken != nil:
			errs = append(errs, validateFile(here.Child("serviceAccountToken", "path"), s.ServiceAccountToken.Path)...)
			file(here.Child("serviceAccountToken", "path"), s.ServiceAccountToken.Path)
		}
	}
	return errs
}

func validateDownward(items []v1.DownwardAPIVolumeFile, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		here := at.Index(i)
		errs = append(errs, validateFile(here.Child("path"), item.Path)...)
		errs = append(errs, validateMode(here.Child("mode"), item.Mode)...)
		switch {
		case (item.FieldRef != nil) == (item.ResourceFieldRef != nil):
			errs = append(errs, field.Required(here, "exactly one of fieldRef and resourceFieldRef"))
		case item.FieldRef != nil:
			errs = append(errs, validateFieldRef(item.FieldRef, fileFields(), here.Child("fieldRef", "fieldPath"))...)
		default:
			if item.ResourceFieldRef.ContainerName == "" {
				errs = append(errs, field.Required(here.Child("resourceFieldRef", "containerName"), ""))
			}
			errs = append(errs, validateResourceField(item.ResourceFieldRef, here.Child("resourceFieldRef"))...)
		}
	}
	return errs
}

func validateItems(items []v1.KeyToPath, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		if item.Key == "" {
			errs = append(errs, field.Required(at.Index(i).Child("key"), ""))
		}
		errs = append(errs, validateFile(at.Index(i).Child("path"), item.Path)...)
		errs = append(errs, validateMode(at.Index(i).Child("mode"), item.Mode)...)
	}
	return errs
}

// validateFile takes paths that stay in the volume; names that begin with ".." belong to the atomic writer.
func validateFile(at *field.Path, file string) field.ErrorList {
	switch {
	case file == "":
		return field.ErrorList{field.Required(at, "")}
	case !beneath(file) || strings.HasPrefix(file, ".."):
		return field.ErrorList{field.Invalid(at, file, "must be a relative path without '..'")}
	case path.Clean(file) == ".":
		return field.ErrorList{field.Invalid(at, file, "must name a file in the volume, not the volume itself")}
	}
	return nil
}

func validateRef(at *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return messages(at, name, validation.IsDNS1123Subdomain(name))
}

func validateMode(at *field.Path, mode *int32) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return field.ErrorList{field.Invalid(at, *mode, "must be between 0 and 0777 (octal): begin an octal number with 0 in YAML, write it decimal in JSON")}
	}
	return nil
}

// validateDriver: the name becomes part of paths (CSI specification, GetPluginInfo).
func validateDriver(at *field.Path, name string) field.ErrorList {
	switch {
	case name == "":
		return field.ErrorList{field.Required(at, "")}
	case len(name) > 63:
		return field.ErrorList{field.TooLong(at, name, 63)}
	}
	return messages(at, name, validation.IsDNS1123Subdomain(strings.ToLower(name)))
}
