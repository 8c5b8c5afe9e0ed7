package volumes

import (
	"context"
	"fmt"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

func hostPath(source *v1.HostPathVolumeSource, readOnly bool) setup {
	e := entry{Kind: kindHostPath, ReadOnly: readOnly, Path: filepath.Clean(source.Path)}
	return setup{entry: e, run: func(context.Context) error {
		t := v1.HostPathUnset
		if source.Type != nil {
			t = *source.Type
		}
		if err := local.Check(e.Path, t); err != nil {
			return onNode(fmt.Errorf("hostPath type check failed: %w", err))
		}
		return nil
	}}
}
