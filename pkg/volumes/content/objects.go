package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// Files collects what a volume of a kind that Has knows is to hold.
func (s *Source) Files(ctx context.Context, p *v1.Pod, vol *v1.Volume) (hostfs.Files, error) {
	out := hostfs.Files{}
	var err error
	switch {
	case vol.ConfigMap != nil:
		c := vol.ConfigMap
		err = s.configMap(ctx, p, out, keyed{c.Name, c.Items, c.Optional, c.DefaultMode})
	case vol.Secret != nil:
		c := vol.Secret
		err = s.secret(ctx, p, out, keyed{c.SecretName, c.Items, c.Optional, c.DefaultMode})
	case vol.DownwardAPI != nil:
		err = s.downwardAPI(p, out, vol.DownwardAPI.Items, vol.DownwardAPI.DefaultMode)
	case vol.Projected != nil:
		err = s.projected(ctx, p, vol, out)
	}
	return out, err
}

// keyed is what a configMap and a secret volume have in common.
type keyed struct {
	name     string
	items    []v1.KeyToPath
	optional *bool
	mode     *int32
}

func (k keyed) isOptional() bool { return k.optional != nil && *k.optional }

func (s *Source) configMap(ctx context.Context, p *v1.Pod, out hostfs.Files, k keyed) error {
	data := map[string][]byte{}
	cm, err := objects.Get[v1.ConfigMap](ctx, s.cfg.Objects.For(p), p.Namespace, k.name)
	switch {
	case err == nil:
		for key, value := range cm.Data {
			data[key] = []byte(value)
		}
		for key, value := range cm.BinaryData {
			data[key] = value
		}
	case !apierrors.IsNotFound(err) || !k.isOptional():
		return Missing(p, err, "ConfigMap", FullName(p, k.name))
	}
	return k.pick(out, data, "ConfigMap "+FullName(p, k.name))
}

func (s *Source) secret(ctx context.Context, p *v1.Pod, out hostfs.Files, k keyed) error {
	var data map[string][]byte
	o, err := objects.Get[v1.Secret](ctx, s.cfg.Objects.For(p), p.Namespace, k.name)
	switch {
	case err == nil:
		data = o.Data
	case !apierrors.IsNotFound(err) || !k.isOptional():
		return Missing(p, err, "Secret", FullName(p, k.name))
	}
	return k.pick(out, data, "Secret "+FullName(p, k.name))
}

// pick adds the keys that the items name, or all.
func (k keyed) pick(out hostfs.Files, data map[string][]byte, object string) error {
	if len(k.items) == 0 {
		for key, value := range data {
			if err := out.Add(key, hostfs.File{Data: value, Mode: mode(nil, k.mode)}); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range k.items {
		value, ok := data[item.Key]
		if !ok {
			if k.isOptional() {
				continue
			}
			return fmt.Errorf("references non-existent key: %s (add it to the %s)", item.Key, object)
		}
		if err := out.Add(item.Path, hostfs.File{Data: value, Mode: mode(item.Mode, k.mode)}); err != nil {
			return err
		}
	}
	return nil
}

// mode is an item's own mode, else the volume's, else 0644.
func mode(own, def *int32) fs.FileMode {
	switch {
	case own != nil:
		return fs.FileMode(*own) & fs.ModePerm
	case def != nil:
		return fs.FileMode(*def) & fs.ModePerm
	}
	return 0o644
}

func (s *Source) downwardAPI(p *v1.Pod, out hostfs.Files, items []v1.DownwardAPIVolumeFile, def *int32) error {
	node := s.cfg.Node()
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = downward.Field(p, item.FieldRef.FieldPath, nil, node)
		case item.ResourceFieldRef != nil:
			value, err = downward.Resource(p, item.ResourceFieldRef, "", node)
		default:
			err = errors.New("it has neither fieldRef nor resourceFieldRef")
		}
		if err != nil {
			return fmt.Errorf("cannot fill the file %s: %w", item.Path, err)
		}
		if err := out.Add(item.Path, hostfs.File{Data: []byte(value), Mode: mode(item.Mode, def)}); err != nil {
			return err
		}
	}
	return nil
}

// FullName is namespace/name of an object of a pod's.
func FullName(p *v1.Pod, name string) string {
	return types.NamespacedName{Namespace: p.Namespace, Name: name}.String()
}
