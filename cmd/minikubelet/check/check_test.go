package check

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/server"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// told are the objects of a node: by kind and name alone.
type told map[string]map[string]string

func (o told) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	if k.Name == "secretive" {
		return nil, errors.New("the API server does not answer")
	}
	data, ok := o[k.Kind+" "+k.Name]
	switch {
	case !ok:
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: k.Kind}, k.Name)
	case k.Kind == "ConfigMap":
		return &v1.ConfigMap{Data: data}, nil
	case k.Kind == "Secret":
		return &v1.Secret{StringData: data}, nil
	}
	return &v1.PersistentVolumeClaim{}, nil
}

// proposal reads manifests.
func proposal(t *testing.T, text string) server.Proposal {
	t.Helper()
	var p server.Proposal
	found, problems := manifest.Decode([]byte(text), manifest.Origin{Source: pod.SourceFile, Name: "f", Node: "n"})
	for _, x := range problems {
		t.Fatal(x)
	}
	for _, o := range found {
		switch o := o.Object.(type) {
		case *v1.Pod:
			p.Pods = append(p.Pods, *o)
		case *v1.ConfigMap:
			p.ConfigMaps = append(p.ConfigMaps, *o)
		}
	}
	return p
}

func node() Node {
	return Node{
		Pods: func() []*v1.Pod { return nil }, Admit: func([]*v1.Pod, *v1.Pod) *pod.Verdict { return nil },
		HasImage: func(_ context.Context, name string) (bool, error) { return name == "here", nil },
		Objects:  objects.NewStore(told{"ConfigMap page": {"text": "x"}, "Secret key": {"a": "x"}, "PersistentVolumeClaim disk": nil}),
	}
}

func TestLacks_NamesWhatAPodNeedsAndTheNodeHasNot(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := `
apiVersion: v1
kind: ConfigMap
metadata: {name: beside}
data: {colour: red}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers:
  - {name: i, image: absent, imagePullPolicy: Never}
  containers:
  - name: c
    image: here
    imagePullPolicy: Never
    envFrom:
    - configMapRef: {name: none}
    - configMapRef: {name: none, optional: true}
    - secretRef: {name: secretive}
    env:
    - {name: A, valueFrom: {configMapKeyRef: {name: page, key: text}}}
    - {name: B, valueFrom: {configMapKeyRef: {name: page, key: nokey}}}
    - {name: C, valueFrom: {secretKeyRef: {name: key, key: nokey}}}
    - {name: D, valueFrom: {configMapKeyRef: {name: beside, key: colour}}}
    - {name: E, value: plain}
  - {name: pulled, image: absent}
  volumes:
  - {name: a, configMap: {name: page, items: [{key: text, path: p}, {key: gone, path: q}]}}
  - {name: b, secret: {secretName: none}}
  - {name: c, projected: {sources: [{secret: {name: key}}, {configMap: {name: none}}]}}
  - {name: d, persistentVolumeClaim: {claimName: disk}}
  - {name: e, persistentVolumeClaim: {claimName: none}}
  - {name: f, hostPath: {path: DIR, type: Directory}}
  - {name: g, hostPath: {path: DIR/none, type: Directory}}
  - {name: h, hostPath: {path: DIR/file, type: Directory}}
  - {name: i, hostPath: {path: DIR/none/file, type: FileOrCreate}}
  - {name: j, hostPath: {path: DIR/new, type: DirectoryOrCreate}}
  - {name: k, hostPath: {path: DIR/none}}
  - {name: l, hostPath: {path: /dev/null, type: CharDevice}}
  - {name: m, hostPath: {path: /dev/null, type: Socket}}
`
	var got []string
	for _, l := range node().Lacks(t.Context(), proposal(t, strings.ReplaceAll(text, "DIR", dir))) {
		got = append(got, strings.ReplaceAll(l.Field+": "+l.Text, dir, "DIR"))
	}
	want := []string{
		`spec.initContainers[0].image: image "absent" is not on this node and imagePullPolicy is Never: import it, as with an archive in images/ of the root directory`,
		`spec.containers[0].envFrom[0].configMapRef.name: there is no ConfigMap default/none: put it into a file beside the pod, or make it at the API server`,
		`spec.containers[0].envFrom[2].secretRef.name: cannot find Secret default/secretive: the API server does not answer`,
		`spec.containers[0].env[1].valueFrom.configMapKeyRef: ConfigMap default/page has no key "nokey": add it, or say that it is optional`,
		`spec.containers[0].env[2].valueFrom.secretKeyRef: Secret default/key has no key "nokey": add it, or say that it is optional`,
		`spec.volumes[0].configMap: ConfigMap default/page has no key "gone": add it, or say that it is optional`,
		`spec.volumes[1].secret: there is no Secret default/none: put it into a file beside the pod, or make it at the API server`,
		`spec.volumes[2].projected.sources[1].configMap: there is no ConfigMap default/none: put it into a file beside the pod, or make it at the API server`,
		`spec.volumes[4].persistentVolumeClaim.claimName: there is no PersistentVolumeClaim default/none: put it into a file beside the pod, or make it at the API server`,
		`spec.volumes[6].hostPath.path: there is no DIR/none on this node`,
		`spec.volumes[7].hostPath.type: DIR/file is not of type Directory on this node`,
		`spec.volumes[8].hostPath.path: there is no directory DIR/none to make the file in`,
		`spec.volumes[12].hostPath.type: /dev/null is not of type Socket on this node`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("checking has made a directory")
	}
}

func TestLacks_FitsPodsBesideEachOtherAndInTheirOwnPlace(t *testing.T) {
	named := func(name string, phase v1.PodPhase) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.PodStatus{Phase: phase}}
	}
	n := node()
	n.Pods = func() []*v1.Pod {
		return []*v1.Pod{named("a", "Running"), named("b", "Running"), named("ended", "Failed")}
	}
	n.Admit = func(running []*v1.Pod, _ *v1.Pod) *pod.Verdict {
		if len(running) < 3 {
			return nil
		}
		return &pod.Verdict{Reason: "OutOfpods", Message: "there are 3"}
	}
	// a is replaced, c is new; e is one too many.
	got := n.Lacks(t.Context(), server.Proposal{Pods: []v1.Pod{*named("a", ""), *named("c", ""), *named("e", "")}})
	if d := cmp.Diff([]server.Lack{{Pod: 2, Text: "OutOfpods: there are 3"}}, got); d != "" {
		t.Error(d)
	}
}
