package sources

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// Lookup finds what pods name: in the files of this node first, then at the API server.
type Lookup struct {
	files atomic.Pointer[Objects]
	api   *kube.Objects // nil: standalone
}

// NewLookup has no files yet; api is nil on a standalone node.
func NewLookup(api *kube.Objects) *Lookup {
	l := &Lookup{api: api}
	l.files.Store(&Objects{})
	return l
}

// Swap makes these the objects of files. It reports whether they differ from those before.
func (l *Lookup) Swap(o Objects) (changed bool) { return !l.files.Swap(&o).equal(o) }

// either returns what the files have, else what the API server has. When neither has it, the error is the API server's
// where there is one that may be asked, else the files' own, which says what to add.
func either[T any](l *Lookup, file func(*Objects) (*T, error), api func(*kube.Objects) (*T, error)) (*T, error) {
	v, err := file(l.files.Load())
	if err == nil || !apierrors.IsNotFound(err) || l.api == nil {
		return v, err
	}
	v, apiErr := api(l.api)
	if apiErr == nil {
		return v, nil
	}
	if apierrors.IsForbidden(apiErr) { // no pod of the API server names it: a file pod does
		return nil, err
	}
	return nil, apiErr
}

// ConfigMap and the other getters return shared values, which are never changed.
func (l *Lookup) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return either(l,
		func(f *Objects) (*v1.ConfigMap, error) { return f.ConfigMap(ctx, namespace, name) },
		func(a *kube.Objects) (*v1.ConfigMap, error) { return a.ConfigMap(ctx, namespace, name) })
}

func (l *Lookup) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return either(l,
		func(f *Objects) (*v1.Secret, error) { return f.Secret(ctx, namespace, name) },
		func(a *kube.Objects) (*v1.Secret, error) { return a.Secret(ctx, namespace, name) })
}

func (l *Lookup) PersistentVolumeClaim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	return either(l,
		func(f *Objects) (*v1.PersistentVolumeClaim, error) {
			return f.PersistentVolumeClaim(ctx, namespace, name)
		},
		func(a *kube.Objects) (*v1.PersistentVolumeClaim, error) {
			return a.PersistentVolumeClaim(ctx, namespace, name)
		})
}

func (l *Lookup) PersistentVolume(ctx context.Context, name string) (*v1.PersistentVolume, error) {
	return either(l,
		func(f *Objects) (*v1.PersistentVolume, error) { return f.PersistentVolume(ctx, name) },
		func(a *kube.Objects) (*v1.PersistentVolume, error) { return a.PersistentVolume(ctx, name) })
}

func (l *Lookup) RuntimeClass(ctx context.Context, name string) (*nodev1.RuntimeClass, error) {
	return either(l,
		func(f *Objects) (*nodev1.RuntimeClass, error) { return f.runtimeClass(ctx, name) },
		func(a *kube.Objects) (*nodev1.RuntimeClass, error) { return a.RuntimeClass(ctx, name) })
}

// CSIDriver is the API server's alone.
func (l *Lookup) CSIDriver(ctx context.Context, name string) (*storagev1.CSIDriver, error) {
	if l.api == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: "storage.k8s.io", Resource: "csidrivers"}, name)
	}
	return l.api.CSIDriver(ctx, name)
}

// Attaching takes a moment after a pod was bound. It is waited for about two seconds before it is a failure that a person
// is told of; a node may not watch VolumeAttachments.
const (
	firstAttachWait = 30 * time.Millisecond
	lastAttachWait  = time.Second
)

// Attached reads a VolumeAttachment: what the driver's controller left for the node, once it is attached.
func (l *Lookup) Attached(ctx context.Context, _ *v1.PersistentVolume, name string) (map[string]string, bool, error) {
	for wait := firstAttachWait; ; wait *= 2 {
		va, err := l.api.VolumeAttachment(ctx, name)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // the Node authorizer forbids what does not exist
		case err != nil:
			return nil, false, err
		case va.Status.Attached:
			return va.Status.AttachmentMetadata, true, nil
		case va.Status.AttachError != nil:
			return nil, false, errors.New(va.Status.AttachError.Message)
		}
		if wait > lastAttachWait {
			return nil, false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(wait):
		}
	}
}
