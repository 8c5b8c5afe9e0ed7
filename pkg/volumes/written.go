package volumes

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
	"github.com/minikubelet/minikubelet/pkg/volumes/subpath"
)

// written is a volume whose files the agent writes: configMap, secret, downwardAPI, projected. All but configMap are in
// memory.
func (v *Volumes) written(p *v1.Pod, vol *v1.Volume) setup {
	kind := content.SourceName(vol.VolumeSource)
	e := v.made(p, kind, vol.Name)
	e.Memory = kind != kindConfigMap
	e.Mounted, e.ReadOnly = e.Memory, true
	return setup{entry: e, run: func(ctx context.Context) error {
		files, err := v.content.Files(ctx, p, vol)
		if err != nil {
			return err
		}
		if err := hostfs.MakeDir(e.Path, 0o777); err != nil {
			return onNode(err)
		}
		if e.Memory {
			if err := local.Memory(e.Path, 0, 0o1777); err != nil {
				return onNode(err)
			}
		}
		return onNode(v.writeContent(ctx, p, vol.Name, e, files))
	}}
}

// writeContent also gives the group the volume's own directory, as a kubelet does.
func (v *Volumes) writeContent(ctx context.Context, p *v1.Pod, name string, e entry, files hostfs.Files) error {
	bound, err := subpath.Sources(v.podDir(p.UID), name)
	if err != nil {
		return err
	}
	shown := hostfs.Shown{Files: files, Points: slices.Sorted(maps.Keys(pointsIn(p, name)))}
	for _, source := range bound {
		shown.Keep = append(shown.Keep, hostfs.VersionIn(source))
	}
	group := ownership(p, true)
	group.OnMismatch = false // the files are the agent's own and new
	return hostfs.WriteFiles(e.Path, shown, v.cfg.Now(), func(string) error { return v.own(ctx, p, name, e.Path, group) })
}
