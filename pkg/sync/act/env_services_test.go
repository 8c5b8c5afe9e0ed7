package act

import (
	"context"
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

var errNotTold = errors.New("the API server has not told them")

// keptServices are known from an earlier life of an agent whose API server is away.
type keptServices struct{}

func (keptServices) In(context.Context, ...string) ([]v1.Service, error) { return nil, errNotTold }
func (keptServices) Known(...string) []v1.Service                        { return make([]v1.Service, 1) }

func TestServices_OfAStaticPodAreThoseThatAreKnown(t *testing.T) {
	e := New(Config{Services: keptServices{}})
	static := &v1.Pod{}
	static.Annotations = map[string]string{pod.AnnotationSource: string(pod.SourceFile)}
	if got, err := e.services(t.Context(), static); len(got) != 1 || err != nil {
		t.Errorf("of a static pod: %v, %v", got, err)
	}
	if _, err := e.services(t.Context(), &v1.Pod{}); !errors.Is(err, errNotTold) {
		t.Errorf("a pod of the API does not wait for them: %v", err)
	}
	if got, err := New(Config{}).services(t.Context(), static); got != nil || err != nil {
		t.Errorf("without an API server: %v, %v", got, err)
	}
}
