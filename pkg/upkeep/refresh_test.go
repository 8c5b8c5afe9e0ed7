package upkeep

import (
	"context"
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type lackingVolumes struct{}

func (lackingVolumes) Refresh(context.Context, *v1.Pod) error {
	return errors.New("key a is not there")
}

func TestRefresh_TellsThePodWhyItsVolumesKeepTheirContent(t *testing.T) {
	var said []string
	r := NewRefresher(nil, lackingVolumes{}, func(_ *v1.Pod, _, typ, reason, message string) { said = append(said, typ+" "+reason+" "+message) })
	r.refresh(t.Context(), &v1.Pod{})
	if len(said) != 1 || said[0] != "Warning FailedMount key a is not there" {
		t.Errorf("events: %q", said)
	}
	deleted := &v1.Pod{}
	deleted.DeletionTimestamp = &metav1.Time{}
	r.refresh(t.Context(), &v1.Pod{Status: v1.PodStatus{Phase: v1.PodFailed}})
	if r.refresh(t.Context(), deleted); len(said) != 1 {
		t.Errorf("of a pod that is over or on its way out: %q", said[1:])
	}
}
