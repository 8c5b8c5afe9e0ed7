package act

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// variables is an environment in the making: later values replace earlier ones in their place.
type variables struct {
	names  []string
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

// lookup is for downward.Expand.
func (v *variables) lookup(name string) (string, bool) {
	s, ok := v.values[name]
	return s, ok
}

// self is what a container may learn of its pod.
type self struct {
	pod      *v1.Pod
	podIPs   []string
	node     downward.Node
	services []v1.Service
	volumes  string // the directory of the pod's emptyDirs
}

// environment tells of services and resolves envFrom and then env, in spec order; later ones replace earlier ones. Skipped are the keys of envFrom that are no variable names.
func environment(ctx context.Context, o objects.Getter, s self, c *v1.Container) (env *variables, skipped []string, err error) {
	env = &variables{values: map[string]string{}}
	setServices(env, s.pod, s.services)
	for i := range c.EnvFrom {
		bad, err := fromSource(ctx, o, s.pod.Namespace, &c.EnvFrom[i], env)
		if err != nil {
			return nil, nil, err
		}
		skipped = append(skipped, bad...)
	}
	for i := range c.Env {
		e := &c.Env[i]
		value, ok, err := s.value(ctx, o, c, e, env)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot set variable %s of container %s: %w", e.Name, c.Name, err)
		}
		if ok {
			env.set(e.Name, value)
		}
	}
	return env, skipped, nil
}

func fromSource(ctx context.Context, o objects.Getter, namespace string, from *v1.EnvFromSource, env *variables) (skipped []string, err error) {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		cm, err := objects.Get[v1.ConfigMap](ctx, o, namespace, from.ConfigMapRef.Name)
		if err != nil {
			return nil, unless(from.ConfigMapRef.Optional, err)
		}
		data = cm.Data
	case from.SecretRef != nil:
		secret, err := objects.Get[v1.Secret](ctx, o, namespace, from.SecretRef.Name)
		if err != nil {
			return nil, unless(from.SecretRef.Optional, err)
		}
		for k, v := range secret.Data {
			data[k] = string(v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		name := from.Prefix + k
		if len(validation.IsRelaxedEnvVarName(name)) > 0 {
			skipped = append(skipped, name)
			continue
		}
		env.set(name, data[k])
	}
	return skipped, nil
}

// unless forgives that an optional object does not exist.
func unless(optional *bool, err error) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// value is that of one variable; not ok: the variable is not set, because what it refers to is optional and absent.
func (s self) value(ctx context.Context, o objects.Getter, c *v1.Container, e *v1.EnvVar, env *variables) (value string, ok bool, err error) {
	from := e.ValueFrom
	switch {
	case from == nil:
		return downward.Expand(e.Value, env.lookup), true, nil
	case from.FieldRef != nil:
		value, err = downward.Field(s.pod, from.FieldRef.FieldPath, s.podIPs, s.node)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(s.pod, from.ResourceFieldRef, c.Name, s.node)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm, err := objects.Get[v1.ConfigMap](ctx, o, s.pod.Namespace, ref.Name)
		if err != nil {
			return "", false, unless(ref.Optional, err)
		}
		value, ok = cm.Data[ref.Key]
		return value, ok, missing(ok, ref.Optional, "ConfigMap "+s.pod.Namespace+"/"+ref.Name, ref.Key)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		secret, err := objects.Get[v1.Secret](ctx, o, s.pod.Namespace, ref.Name)
		if err != nil {
			return "", false, unless(ref.Optional, err)
		}
		b, ok := secret.Data[ref.Key]
		return string(b), ok, missing(ok, ref.Optional, "Secret "+s.pod.Namespace+"/"+ref.Name, ref.Key)
	}
	return s.fromFile(from.FileKeyRef)
}

// maxEnvFile is how much of a file is read for variables, in bytes.
const maxEnvFile = 64 << 10

// fromFile is the value that an init container left in a file of an emptyDir (KEP-3721). Nothing outside the volume is read,
// wherever links in it lead. A key without a value counts as one that is not there.
func (s self) fromFile(ref *v1.FileKeySelector) (value string, ok bool, err error) {
	if ref == nil {
		return "", false, errors.New("its valueFrom is of a kind that this agent does not support: " +
			"use fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef or fileKeyRef")
	}
	optional := ref.Optional != nil && *ref.Optional
	name := fmt.Sprintf("file %s of volume %s", ref.Path, ref.VolumeName)
	text, err := s.readFile(ref.VolumeName, ref.Path)
	switch {
	case errors.Is(err, os.ErrNotExist) && optional:
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("cannot read %s: %w", name, err)
	}
	value, ok, err = downward.EnvFile(text, ref.Key)
	if err != nil {
		return "", false, fmt.Errorf("cannot read %s: %w", name, err)
	}
	if ok && value == "" && !optional {
		return "", false, fmt.Errorf("key %s in %s has no value: give it one, or mark the reference optional", ref.Key, name)
	}
	return value, value != "", missing(ok, ref.Optional, name, ref.Key)
}

func (s self) readFile(volume, path string) (string, error) {
	dir, err := os.OpenRoot(filepath.Join(s.volumes, volume))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	info, err := dir.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEnvFile {
		return "", fmt.Errorf("it must be a regular file of at most %d KiB", maxEnvFile>>10)
	}
	f, err := dir.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // never wait for a pipe that took its place
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvFile))
	return string(b), err
}

func missing(ok bool, optional *bool, object, key string) error {
	if ok || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("couldn't find key %s in %s: add the key, or mark the reference optional", key, object)
}

// expandAll expands the references of a command line.
func expandAll(words []string, env *variables) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = downward.Expand(w, env.lookup)
	}
	return out
}

func skippedText(names []string) string {
	return "Keys [" + strings.Join(names, ", ") + "] were skipped since they are considered invalid environment variable names."
}
