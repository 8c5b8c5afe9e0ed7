package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

func (w *walk) volumes(ctx context.Context) {
	for i := range w.pod.Spec.Volumes {
		v, at := &w.pod.Spec.Volumes[i], fmt.Sprintf("spec.volumes[%d]", i)
		switch {
		case v.ConfigMap != nil:
			w.configMap(ctx, at+".configMap", v.ConfigMap.Name, optional(v.ConfigMap.Optional), keys(v.ConfigMap.Items)...)
		case v.Secret != nil:
			w.secret(ctx, at+".secret", v.Secret.SecretName, optional(v.Secret.Optional), keys(v.Secret.Items)...)
		case v.Projected != nil:
			for j, s := range v.Projected.Sources {
				w.projected(ctx, fmt.Sprintf("%s.projected.sources[%d]", at, j), &s)
			}
		case v.PersistentVolumeClaim != nil:
			w.claim(ctx, at+".persistentVolumeClaim.claimName", v.PersistentVolumeClaim.ClaimName)
		case v.HostPath != nil:
			w.hostPath(at+".hostPath", v.HostPath)
		}
	}
}

func (w *walk) projected(ctx context.Context, at string, s *v1.VolumeProjection) {
	if c := s.ConfigMap; c != nil {
		w.configMap(ctx, at+".configMap", c.Name, optional(c.Optional), keys(c.Items)...)
	}
	if c := s.Secret; c != nil {
		w.secret(ctx, at+".secret", c.Name, optional(c.Optional), keys(c.Items)...)
	}
}

func keys(items []v1.KeyToPath) []string {
	var out []string
	for _, i := range items {
		out = append(out, i.Key)
	}
	return out
}

func (w *walk) claim(ctx context.Context, field, name string) {
	if _, err := objects.Get[v1.PersistentVolumeClaim](ctx, w.from, w.pod.Namespace, name); err != nil {
		w.missing(field, "PersistentVolumeClaim", name, err)
	}
}

// hostPath looks for a path that must be there, as what its type says. Types that make it, and none, need nothing but a
// directory to make a file in.
func (w *walk) hostPath(at string, h *v1.HostPathVolumeSource) {
	if h.Type == nil {
		return
	}
	if *h.Type == v1.HostPathFileOrCreate {
		if i, err := os.Stat(filepath.Dir(h.Path)); err != nil || !i.IsDir() {
			w.lack(at+".path", "there is no directory %s to make the file in", filepath.Dir(h.Path))
		}
		return
	}
	is, known := map[v1.HostPathType]func(fs.FileMode) bool{
		v1.HostPathDirectory: fs.FileMode.IsDir,
		v1.HostPathFile:      fs.FileMode.IsRegular,
		v1.HostPathSocket:    func(m fs.FileMode) bool { return m.Type() == fs.ModeSocket },
		v1.HostPathCharDev:   func(m fs.FileMode) bool { return m.Type() == fs.ModeDevice|fs.ModeCharDevice },
		v1.HostPathBlockDev:  func(m fs.FileMode) bool { return m.Type() == fs.ModeDevice },
	}[*h.Type]
	if !known {
		return
	}
	i, err := os.Stat(h.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.lack(at+".path", "there is no %s on this node", h.Path)
	case err != nil:
		w.lack(at+".path", "cannot look at %s: %v", h.Path, err)
	case !is(i.Mode()):
		w.lack(at+".type", "%s is not of type %s on this node", h.Path, *h.Type)
	}
}
