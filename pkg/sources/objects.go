package sources

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// Objects are the ConfigMaps, Secrets, PersistentVolumes, PersistentVolumeClaims and RuntimeClasses of files. The zero value is empty.
// Its getters never fail but with a NotFound that says which file to add; what they return is shared and never changed.
type Objects struct {
	ConfigMaps map[types.NamespacedName]*v1.ConfigMap
	Secrets    map[types.NamespacedName]*v1.Secret
	Claims     map[types.NamespacedName]*v1.PersistentVolumeClaim
	Volumes    map[string]*v1.PersistentVolume
	Classes    map[string]*nodev1.RuntimeClass
}

// equal reports whether two sets hold the same objects. It is cheap where both share them, as successive sets do.
func (o Objects) equal(p Objects) bool { return equality.Semantic.DeepEqual(o, p) }

func newObjects() Objects {
	return Objects{
		ConfigMaps: map[types.NamespacedName]*v1.ConfigMap{}, Secrets: map[types.NamespacedName]*v1.Secret{},
		Claims: map[types.NamespacedName]*v1.PersistentVolumeClaim{}, Volumes: map[string]*v1.PersistentVolume{},
		Classes: map[string]*nodev1.RuntimeClass{},
	}
}

// add takes in what is not known yet: files come before the URL, the only other source of objects.
func (o Objects) add(u Update) (problems []manifest.Problem) {
	note := func(taken bool, kind, namespace, name string) {
		if taken {
			key := manifest.Key{Kind: kind, Namespace: namespace, Name: name}
			problems = append(problems, second(u.Source, key.String(), pod.SourceFile))
		}
	}
	for _, m := range u.ConfigMaps {
		note(taken(o.ConfigMaps, types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, m), "ConfigMap", m.Namespace, m.Name)
	}
	for _, s := range u.Secrets {
		note(taken(o.Secrets, types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, s), "Secret", s.Namespace, s.Name)
	}
	for _, c := range u.VolumeClaims {
		note(taken(o.Claims, types.NamespacedName{Namespace: c.Namespace, Name: c.Name}, c), "PersistentVolumeClaim", c.Namespace, c.Name)
	}
	for _, v := range u.Volumes {
		note(taken(o.Volumes, v.Name, v), "PersistentVolume", "", v.Name)
	}
	for _, c := range u.RuntimeClasses {
		note(taken(o.Classes, c.Name, c), "RuntimeClass", "", c.Name)
	}
	return problems
}

// taken reports whether the map has the key already, and adds the value when it has not.
func taken[K comparable, V any](m map[K]V, k K, v V) bool {
	_, ok := m[k]
	if !ok {
		m[k] = v
	}
	return ok
}

// bind does what the volume controller of a cluster does for claims and volumes that name each other: a claim names its
// volume, or a volume names its claim. It never chooses.
func (o Objects) bind() {
	for _, key := range slices.SortedFunc(maps.Keys(o.Claims), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		c := o.Claims[key]
		name := c.Spec.VolumeName
		if name == "" {
			name = o.claimed(key)
		}
		v := o.Volumes[name]
		if v == nil || v.Spec.ClaimRef != nil && (v.Spec.ClaimRef.Namespace != key.Namespace || v.Spec.ClaimRef.Name != key.Name) {
			continue
		}
		c, v = c.DeepCopy(), v.DeepCopy()
		c.Spec.VolumeName = name
		c.Status = v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Capacity: v.Spec.Capacity, AccessModes: v.Spec.AccessModes}
		v.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: key.Namespace, Name: key.Name, UID: c.UID}
		v.Status.Phase = v1.VolumeBound
		o.Claims[key], o.Volumes[name] = c, v
	}
}

func (o Objects) claimed(key types.NamespacedName) string {
	for _, name := range slices.Sorted(maps.Keys(o.Volumes)) {
		v := o.Volumes[name]
		if r := v.Spec.ClaimRef; r != nil && r.Namespace == key.Namespace && r.Name == key.Name {
			return v.Name
		}
	}
	return ""
}

// ConfigMap returns a ConfigMap of the files.
func (o Objects) ConfigMap(_ context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return find(o.ConfigMaps, namespace, name, "ConfigMap", "configmaps")
}

// Secret returns a Secret of the files.
func (o Objects) Secret(_ context.Context, namespace, name string) (*v1.Secret, error) {
	return find(o.Secrets, namespace, name, "Secret", "secrets")
}

// PersistentVolumeClaim returns a claim of the files, bound when it and a volume name each other.
func (o Objects) PersistentVolumeClaim(_ context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	return find(o.Claims, namespace, name, "PersistentVolumeClaim", "persistentvolumeclaims")
}

// PersistentVolume returns a volume of the files.
func (o Objects) PersistentVolume(_ context.Context, name string) (*v1.PersistentVolume, error) {
	if v := o.Volumes[name]; v != nil {
		return v, nil
	}
	return nil, missing("PersistentVolume", "persistentvolumes", "", name)
}

// runtimeClass returns a runtime class of the files.
func (o Objects) runtimeClass(_ context.Context, name string) (*nodev1.RuntimeClass, error) {
	if c := o.Classes[name]; c != nil {
		return c, nil
	}
	return nil, missing("RuntimeClass", "runtimeclasses", "", name)
}

func find[T any](m map[types.NamespacedName]*T, namespace, name, kind, resource string) (*T, error) {
	if v := m[types.NamespacedName{Namespace: namespace, Name: name}]; v != nil {
		return v, nil
	}
	return nil, missing(kind, resource, namespace, name)
}

func missing(kind, resource, namespace, name string) error {
	err := errors.NewNotFound(v1.Resource(resource), name)
	err.ErrStatus.Message = fmt.Sprintf("%s %q not found: add a file with kind: %s, name: %s", kind, name, kind, name)
	if namespace != "" {
		err.ErrStatus.Message += ", namespace: " + namespace
	}
	err.ErrStatus.Message += " to the manifest directory"
	return err
}
