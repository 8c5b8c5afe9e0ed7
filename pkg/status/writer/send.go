package writer

import (
	"context"
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/kube"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

// send brings the API server up to a copy of an entry. What was learned is left in the copy.
func (w *Writer) send(ctx context.Context, e *entry) error {
	if pod.IsStatic(e.pod) {
		return w.sendStatic(ctx, e)
	}
	if e.status.Phase == "" { // nothing was ever reported
		e.status = e.base
	}
	if e.finished && !terminal(e.status.Phase) && !terminal(e.base.Phase) {
		e.status.Phase, e.dirty = v1.PodFailed, true // a deleted pod reaches a terminal phase before it goes
	}
	if e.dirty && !e.gone {
		if err := w.patch(ctx, e, e.pod); err != nil {
			return err
		}
	}
	if !e.finished || e.gone || e.pod.DeletionTimestamp == nil {
		return nil
	}
	return w.remove(ctx, e.pod.Namespace, e.pod.Name, e.pod.UID)
}

// patch writes the status of an entry to an object: the pod itself or its mirror.
func (w *Writer) patch(ctx context.Context, e *entry, to *v1.Pod) error {
	base := e.base
	if pod.IsStatic(e.pod) {
		base.Phase = "" // that of the mirror, which ends nothing
	}
	patch, err := kube.StatusPatch(to.UID, e.base, Merge(base, e.status))
	if err != nil || patch == nil {
		return err
	}
	got := &v1.Pod{}
	err = w.cfg.API.Patch(ctx, kube.Key{Resource: kube.Pods, Namespace: to.Namespace, Name: to.Name, Sub: "status"}, patch, got)
	switch {
	case apierrors.IsNotFound(err), another(err):
		e.gone = true
		return nil
	case err != nil:
		return err
	}
	e.base, e.baseVersion = got.Status, got.ResourceVersion
	return nil
}

// remove deletes an object for good, unless another has its name.
func (w *Writer) remove(ctx context.Context, namespace, name string, id types.UID) error {
	err := w.cfg.API.Delete(ctx, kube.Key{Resource: kube.Pods, Namespace: namespace, Name: name}, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &id},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// refused reports whether the same request would fail again: the API server has judged it, not the circumstances.
func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)
}

// another reports whether a patch met an object of the same name and another UID: the API server calls the UID in the
// patch an invalid change of it.
func another(err error) bool {
	var s *apierrors.StatusError
	if !apierrors.IsInvalid(err) || !errors.As(err, &s) || s.ErrStatus.Details == nil {
		return false
	}
	return slices.ContainsFunc(s.ErrStatus.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

func terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }
