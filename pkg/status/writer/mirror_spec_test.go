package writer_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/status/writer"
)

// NodeRestriction refuses a mirror pod that names an object of the API server, which a pod from a file may.
func TestMirror_NamesNoObjects(t *testing.T) {
	ref := v1.LocalObjectReference{Name: "x"}
	p := &v1.Pod{Spec: v1.PodSpec{
		ServiceAccountName: "robot", ImagePullSecrets: []v1.LocalObjectReference{ref},
		Volumes: []v1.Volume{
			{Name: "c", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: ref}}},
			{Name: "d", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "h", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/srv"}}},
		},
		Containers: []v1.Container{{
			Name: "main", EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref}}},
			Env: []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "b"}}}},
		}},
	}}
	node := &v1.Node{}
	node.Name = "n1"
	m := writer.Mirror(p, node)
	empty := v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}
	want := v1.PodSpec{
		NodeName:   "n1",
		Volumes:    []v1.Volume{{Name: "c", VolumeSource: empty}, {Name: "d", VolumeSource: empty}, p.Spec.Volumes[2]},
		Containers: []v1.Container{{Name: "main", Env: []v1.EnvVar{{Name: "A", Value: "1"}}}},
	}
	if d := cmp.Diff(want, m.Spec); d != "" {
		t.Errorf("specification (-want +got):\n%s", d)
	}
	if got, want := m.Annotations[writer.AnnotationHidden], "secret/x, configmap/x, persistentvolumeclaim/data, serviceaccount/robot"; got != want {
		t.Errorf("hidden: %q, want %q", got, want)
	}
	if p.Spec.ServiceAccountName != "robot" || p.Spec.Volumes[0].ConfigMap == nil || len(p.Spec.Containers[0].Env) != 2 {
		t.Error("the static pod itself was changed")
	}
}
