package sources

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

func uidPod(uid, name string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Name: name, Namespace: "default"}}
	for _, c := range change {
		c(p)
	}
	return p
}

func TestMerge_KeepsPodsOfOneNameFromTwoSourcesApart(t *testing.T) {
	set := Merge(Update{Source: pod.SourceFile, Pods: []*v1.Pod{uidPod("1", "p")}}, Update{Source: pod.SourceAPI, Pods: []*v1.Pod{uidPod("2", "p")}})
	if len(set.Pods) != 2 {
		t.Errorf("%v", set.Pods)
	}
}

func TestMerge_PrefersFilesWhateverTheOrder(t *testing.T) {
	file, url := Update{Source: pod.SourceFile, Pods: []*v1.Pod{uidPod("1", "file")}}, Update{Source: pod.SourceHTTP, Pods: []*v1.Pod{uidPod("1", "url")}}
	for _, latest := range [][]Update{{file, url}, {url, file}} {
		if got := Merge(latest...).Pods["1"].Pod.Name; got != "file" {
			t.Errorf("the pod of the %s", got)
		}
	}
}

func TestMerge_TellsWhatDoesNotCount(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "m"}
	set := Merge(Update{Source: pod.SourceAPI, Pods: []*v1.Pod{uidPod("7", "a")}},
		Update{Source: pod.SourceFile, Pods: []*v1.Pod{uidPod("1", "a"), uidPod("1", "b")}, Objects: []objects.Object{&v1.ConfigMap{ObjectMeta: meta}}},
		Update{Source: pod.SourceHTTP, Pods: []*v1.Pod{uidPod("2", "a"), uidPod("3", "c")}, Objects: []objects.Object{&v1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}}}})
	var got []string
	for _, p := range set.Problems {
		got = append(got, p.String())
	}
	want := []string{
		"metadata.uid: pod default/b has the UID of pod a, which is used: give it another one, or none",
		"metadata.name: ConfigMap default/m of the URL is also in the manifest directory, which is used: remove or rename one of them",
		"metadata.name: Pod default/a of the URL is also in the manifest directory, which is used: remove or rename one of them",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(set.Pods) != 3 || set.Pods["1"].Pod.Name != "a" || set.Pods["3"].Pod.Name != "c" || set.Pods["7"].Pod == nil {
		t.Errorf("pods %v", set.Pods)
	}
}

func TestMerge_DoesNotRunMirrorPods(t *testing.T) {
	mirror := uidPod("9", "p", func(p *v1.Pod) { p.Annotations = map[string]string{pod.AnnotationMirror: "x"} })
	set := Merge(Update{Source: pod.SourceAPI, Pods: []*v1.Pod{mirror}})
	if len(set.Pods) != 0 || set.Mirrors[types.NamespacedName{Namespace: "default", Name: "p"}] != mirror {
		t.Errorf("%+v", set)
	}
}

func TestMerge_StopsAPodUnderDeletion(t *testing.T) {
	end := time.Unix(1000, 0)
	p := uidPod("1", "p", func(p *v1.Pod) {
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: end}, new(int64(10))
	})
	got := Merge(Update{Source: pod.SourceAPI, Pods: []*v1.Pod{p}}).Pods["1"].Stop
	if d := cmp.Diff(&pod.Stop{By: "api", Grace: 10 * time.Second, At: end.Add(-10 * time.Second), Remove: true}, got); d != "" {
		t.Error(d)
	}
}

func TestMerge_KeepsStrangersUntilTheSourceIsComplete(t *testing.T) {
	set := Merge(Update{Source: pod.SourceFile, Partial: true}, Update{Source: pod.SourceAPI})
	if d := cmp.Diff(map[pod.Source]bool{pod.SourceFile: false, pod.SourceAPI: true}, set.Complete); d != "" {
		t.Errorf("complete (-want +got):\n%s", d)
	}
}

func TestObjects_SaysWhichFileToAdd(t *testing.T) {
	_, err := objects.Get[v1.ConfigMap](t.Context(), Merge().Objects, "default", "x")
	if !errors.IsNotFound(err) || err.Error() != `ConfigMap "x" not found: add a file with kind: ConfigMap, name: x, namespace: default to the manifest directory` {
		t.Error(err)
	}
}

func TestObjects_BindsClaimsAndVolumesThatNameEachOther(t *testing.T) {
	claim := func(name, volume string) *v1.PersistentVolumeClaim {
		return &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: v1.PersistentVolumeClaimSpec{VolumeName: volume}}
	}
	volume := func(name, claim string) *v1.PersistentVolume {
		v := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if claim != "" {
			v.Spec.ClaimRef = &v1.ObjectReference{Namespace: "default", Name: claim}
		}
		return v
	}
	o := Merge(Update{Objects: []objects.Object{
		claim("a", "va"), claim("b", ""), claim("c", "vb"), claim("d", ""), volume("va", ""), volume("vb", "b"),
	}}).Objects
	for name, want := range map[string]string{"a": "va Bound", "b": "vb Bound", "c": "vb ", "d": " "} {
		c, err := objects.Get[v1.PersistentVolumeClaim](t.Context(), o, "default", name)
		if err != nil || c.Spec.VolumeName+" "+string(c.Status.Phase) != want {
			t.Errorf("%s: %v %v", name, c, err)
		}
	}
	if v, err := objects.Get[v1.PersistentVolume](t.Context(), o, "", "va"); err != nil || v.Spec.ClaimRef.Name != "a" {
		t.Errorf("%v %v", v, err)
	}
}

// An API server's own sum of now and the grace period may overflow, and its deletionTimestamp then lies centuries off.
func TestMerge_ADeletionWithAHugeGracePeriodIsNotOver(t *testing.T) {
	made := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	for seconds, stamp := range map[int64]time.Time{
		30:          made.Add(40 * time.Second),                                      // begun 10 s after it was made
		4000000000:  made.Add(time.Minute + 4000000000*time.Second),                  // 127 years
		10000000000: made.Add(time.Minute - 267*365*24*time.Hour),                    // overflowed to the past
		20000000000: made.Add(time.Minute + 49*365*24*time.Hour), 1 << 62: made.Time, // and to the future
	} {
		p := uidPod("1", "p", func(p *v1.Pod) {
			p.CreationTimestamp, p.DeletionTimestamp, p.DeletionGracePeriodSeconds = made, &metav1.Time{Time: stamp}, &seconds
		})
		stop := Merge(Update{Source: pod.SourceAPI, Pods: []*v1.Pod{p}}).Pods["1"].Stop
		if stop == nil || stop.Grace != pod.Seconds(seconds) || stop.At.Before(made.Time) || stop.Deadline().Before(made.Add(pod.Seconds(seconds))) {
			t.Errorf("%d s until %v: the order is %+v", seconds, stamp, stop)
		}
	}
}
