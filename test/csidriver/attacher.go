package main

import (
	"context"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// attachVolumes does what the external-attacher sidecar does: it answers the VolumeAttachments that name this driver, with
// the publish context that a stage must bring. It ends with ctx; an API server that is away is asked again.
func (d *driver) attachVolumes(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read the attacher's kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make the attacher's client: %w", err)
	}
	for ctx.Err() == nil {
		if err := d.watchAttachments(ctx, client); err != nil && ctx.Err() == nil {
			d.log.Warn("cannot watch VolumeAttachments", "error", err)
			_ = wait(ctx, "500ms")
		}
	}
	return nil
}

func (d *driver) watchAttachments(ctx context.Context, client kubernetes.Interface) error {
	timeout := int64(time.Minute / time.Second)
	list, err := client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		d.attach(ctx, client, &list.Items[i])
	}
	w, err := client.StorageV1().VolumeAttachments().Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: &timeout})
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if va, ok := event.Object.(*storagev1.VolumeAttachment); ok && event.Type != "DELETED" {
			d.attach(ctx, client, va)
		}
	}
	return nil
}

func (d *driver) attach(ctx context.Context, client kubernetes.Interface, va *storagev1.VolumeAttachment) {
	if va.Spec.Attacher != d.name || va.Status.Attached || va.DeletionTimestamp != nil {
		return
	}
	va = va.DeepCopy()
	va.Status.Attached = true
	va.Status.AttachmentMetadata = map[string]string{attachedNode: d.nodeID}
	_, err := client.StorageV1().VolumeAttachments().UpdateStatus(ctx, va, metav1.UpdateOptions{})
	if err != nil && !errors.IsConflict(err) {
		d.log.Warn("cannot answer a VolumeAttachment", "name", va.Name, "error", err)
		return
	}
	d.log.Info("attached", "volumeattachment", va.Name, "volume", va.Spec.Source.PersistentVolumeName)
}
