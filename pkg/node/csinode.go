package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/kube"
)

// csiNode brings the CSINode up to the registered drivers: there is none before the first driver, and afterwards the list
// follows them. It asks the API server only when the drivers or the Node have changed.
func (a *Agent) csiNode(ctx context.Context) error {
	if a.with.Drivers == nil {
		return nil
	}
	drivers := slices.SortedFunc(slices.Values(a.with.Drivers()), func(x, y storagev1.CSINodeDriver) int {
		return strings.Compare(x.Name, y.Name)
	})
	raw, err := json.Marshal(drivers)
	if err != nil {
		return fmt.Errorf("cannot encode the CSI drivers: %w", err)
	}
	n := a.Node()
	want := string(n.UID) + string(raw)
	if want == a.csiWanted || len(drivers) == 0 && a.csiWanted == "" {
		return nil
	}
	at := kube.Key{Resource: kube.CSINodes, Name: n.Name}
	c := &storagev1.CSINode{}
	switch err := a.cfg.API.Get(ctx, at, c); {
	case apierrors.IsNotFound(err):
		c = &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: n.Name, OwnerReferences: []metav1.OwnerReference{owner(n)}}}
		c.Spec.Drivers = drivers
		at.Name = ""
		err = a.cfg.API.Create(ctx, at, c, nil)
		if err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		c.Spec.Drivers = drivers
		c.OwnerReferences = []metav1.OwnerReference{owner(n)}
		if err := a.cfg.API.Update(ctx, at, c, nil); err != nil {
			return err
		}
	}
	a.csiWanted = want
	return nil
}
