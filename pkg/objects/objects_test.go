package objects_test

import (
	"context"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

func configMap(name, value string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Data: map[string]string{"k": value}}
}

// server forbids what it does not have, as the Node authorizer does for what no pod of the node names.
type server struct {
	objects.Set
	err error
}

func (s server) Get(ctx context.Context, k objects.Key) (objects.Object, error) {
	o, err := s.Set.Get(ctx, k)
	if err != nil {
		return nil, s.err
	}
	return o, nil
}

// A file must not stand in for a Secret of the API server that its pod names.
func TestStore_ServesEachPodFromItsLayers(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "x", nil)
	notFound := apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "x")
	away := apierrors.NewTimeoutError("away", 1)
	ofFile := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{pod.AnnotationSource: string(pod.SourceFile)}}}
	for name, tt := range map[string]struct {
		pod       *v1.Pod
		files     objects.Set
		api       objects.Getter
		want, err string
	}{
		"a file's, of both":                   {pod: ofFile, files: objects.SetOf(configMap("x", "file")), api: server{objects.SetOf(configMap("x", "api")), nil}, want: "file"},
		"an API server's, of both":            {pod: &v1.Pod{}, files: objects.SetOf(configMap("x", "file")), api: server{objects.SetOf(configMap("x", "api")), nil}, want: "api"},
		"a file's of the API server":          {pod: ofFile, api: server{objects.SetOf(configMap("x", "api")), nil}, want: "api"},
		"none for the API server's":           {pod: &v1.Pod{}, files: objects.SetOf(configMap("x", "file")), api: server{nil, notFound}, err: notFound.Error()},
		"what a file's may not read":          {pod: ofFile, api: server{nil, forbidden}, err: `ConfigMap "x" not found: add a file with kind: ConfigMap, name: x, namespace: ns to the manifest directory`},
		"an API server that is away":          {pod: ofFile, api: server{nil, away}, err: away.Error()},
		"a standalone node":                   {pod: ofFile, files: objects.SetOf(configMap("x", "file")), want: "file"},
		"a pod of before on a standalone one": {pod: &v1.Pod{}, files: objects.SetOf(configMap("x", "file")), want: "file"},
	} {
		s := objects.NewStore(tt.api)
		s.Swap(tt.files)
		got, err := objects.Get[v1.ConfigMap](context.Background(), s.For(tt.pod), "ns", "x")
		switch {
		case tt.err != "":
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: error %v, want %s", name, err, tt.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case got.Data["k"] != tt.want:
			t.Errorf("%s: that of %s, want %s", name, got.Data["k"], tt.want)
		}
	}
}

func TestStore_TellsWhetherFilesChange(t *testing.T) {
	s := objects.NewStore(nil)
	for i, tt := range []struct {
		set  objects.Set
		want bool
	}{
		{objects.Set{}, false}, {objects.SetOf(configMap("a", "1")), true}, {objects.SetOf(configMap("a", "1")), false},
		{objects.SetOf(configMap("a", "2")), true}, {nil, true}, {objects.Set{}, false},
	} {
		if got := s.Swap(tt.set); got != tt.want {
			t.Errorf("step %d: changed %t, want %t", i, got, tt.want)
		}
	}
}
