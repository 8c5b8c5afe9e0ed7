package rules

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *containers) validateEnv(in *v1.Container, at *field.Path) {
	for i, e := range in.Env {
		here := at.Child("env").Index(i)
		if e.Name == "" {
			c.add(field.Required(here.Child("name"), ""))
		} else {
			c.add(messages(here.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))...)
		}
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			c.add(field.Invalid(here.Child("valueFrom"), "", "value and valueFrom exclude each other"))
		}
		c.validateEnvSource(e.ValueFrom, here.Child("valueFrom"))
	}
	for i, e := range in.EnvFrom {
		here := at.Child("envFrom").Index(i)
		if e.Prefix != "" {
			c.add(messages(here.Child("prefix"), e.Prefix, validation.IsRelaxedEnvVarName(e.Prefix))...)
		}
		switch {
		case (e.ConfigMapRef != nil) == (e.SecretRef != nil):
			c.add(field.Invalid(here, "", "exactly one of configMapRef and secretRef must be set"))
		case e.ConfigMapRef != nil:
			c.add(messages(here.Child("configMapRef", "name"), e.ConfigMapRef.Name, validation.IsDNS1123Subdomain(e.ConfigMapRef.Name))...)
		default:
			c.add(messages(here.Child("secretRef", "name"), e.SecretRef.Name, validation.IsDNS1123Subdomain(e.SecretRef.Name))...)
		}
	}
}

func (c *containers) validateEnvSource(s *v1.EnvVarSource, at *field.Path) {
	n := 0
	if s.FieldRef != nil {
		n++
		c.add(validateFieldRef(s.FieldRef, envFields(), at.Child("fieldRef", "fieldPath"))...)
	}
	if s.ResourceFieldRef != nil {
		n++
		c.add(validateResourceField(s.ResourceFieldRef, at.Child("resourceFieldRef"))...)
	}
	if s.ConfigMapKeyRef != nil {
		n++
		c.add(validateKeyRef(s.ConfigMapKeyRef.Name, s.ConfigMapKeyRef.Key, at.Child("configMapKeyRef"))...)
	}
	if s.SecretKeyRef != nil {
		n++
		c.add(validateKeyRef(s.SecretKeyRef.Name, s.SecretKeyRef.Key, at.Child("secretKeyRef"))...)
	}
	if f := s.FileKeyRef; f != nil {
		n++
		if v := c.volumes[f.VolumeName]; v == nil || v.EmptyDir == nil {
			c.add(field.Invalid(at.Child("fileKeyRef", "volumeName"), f.VolumeName, "must be an emptyDir volume of the pod"))
		}
		if !beneath(f.Path) {
			c.add(field.Invalid(at.Child("fileKeyRef", "path"), f.Path, "must be a relative path without '..'"))
		}
		if f.Key == "" {
			c.add(field.Required(at.Child("fileKeyRef", "key"), ""))
		} else {
			c.add(messages(at.Child("fileKeyRef", "key"), f.Key, validation.IsRelaxedEnvVarName(f.Key))...)
		}
	}
	if n != 1 {
		c.add(field.Invalid(at, "", fmt.Sprintf("exactly one source must be set, not %d", n)))
	}
}

func validateKeyRef(name, key string, at *field.Path) field.ErrorList {
	errs := messages(at.Child("name"), name, validation.IsDNS1123Subdomain(name))
	if key == "" {
		return append(errs, field.Required(at.Child("key"), ""))
	}
	return append(errs, messages(at.Child("key"), key, validation.IsConfigMapKey(key))...)
}

// envFields are the fields of a pod that an environment variable may take, beside one label or annotation.
func envFields() []string {
	return []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
}

// fileFields are those that a file of a downwardAPI volume may hold.
func fileFields() []string {
	return []string{"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
}

func validateFieldRef(ref *v1.ObjectFieldSelector, allowed []string, at *field.Path) field.ErrorList {
	path := ref.FieldPath
	switch {
	case path == "":
		return field.ErrorList{field.Required(at, "")}
	case ref.APIVersion != "v1":
		return field.ErrorList{field.Invalid(at, path, "apiVersion must be v1, not "+ref.APIVersion)}
	}
	for _, prefix := range []string{"metadata.labels['", "metadata.annotations['"} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			if key, ok = strings.CutSuffix(key, "']"); ok {
				return messages(at, path, validation.IsQualifiedName(strings.ToLower(key)))
			}
		}
	}
	if !slices.Contains(allowed, path) {
		return field.ErrorList{field.NotSupported(at, path, allowed)}
	}
	return nil
}

func validateResourceField(r *v1.ResourceFieldSelector, at *field.Path) field.ErrorList {
	part, name, _ := strings.Cut(r.Resource, ".")
	if (part != "limits" && part != "requests") || !knownResource(v1.ResourceName(name)) {
		return field.ErrorList{field.Invalid(at.Child("resource"), r.Resource, "must be limits. or requests. and cpu, memory, ephemeral-storage or hugepages-<size>")}
	}
	units := []string{"0", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
	if name == string(v1.ResourceCPU) {
		units = []string{"0", "1", "1m"}
	}
	return oneOf(at.Child("divisor"), r.Divisor.String(), units...)
}
