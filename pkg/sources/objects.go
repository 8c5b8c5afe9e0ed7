package sources

import (
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// add takes in what is not known yet: files come before the URL, the only other source of objects.
func add(set objects.Set, u Update) (problems []manifest.Problem) {
	for _, o := range u.Objects {
		k := objects.KeyOf(o)
		if set[k] != nil {
			problems = append(problems, second(u.Source, k.String(), pod.SourceFile))
			continue
		}
		set[k] = o
	}
	return problems
}

// bind does what the volume controller of a cluster does for claims and volumes that name each other: a claim names its
// volume, or a volume names its claim. It never chooses.
func bind(set objects.Set) {
	keys := slices.SortedFunc(maps.Keys(set), func(a, b objects.Key) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		c, ok := set[key].(*v1.PersistentVolumeClaim)
		if !ok {
			continue
		}
		name := c.Spec.VolumeName
		for i := 0; i < len(keys) && name == ""; i++ {
			if v, is := set[keys[i]].(*v1.PersistentVolume); is && v.Spec.ClaimRef != nil && names(v.Spec.ClaimRef, c) {
				name = v.Name
			}
		}
		v, ok := set[objects.Key{Kind: "PersistentVolume", Name: name}].(*v1.PersistentVolume)
		if !ok || v.Spec.ClaimRef != nil && !names(v.Spec.ClaimRef, c) {
			continue
		}
		c, v = c.DeepCopy(), v.DeepCopy()
		c.Spec.VolumeName = name
		c.Status = v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound, Capacity: v.Spec.Capacity, AccessModes: v.Spec.AccessModes}
		v.Spec.ClaimRef = &v1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
		v.Status.Phase = v1.VolumeBound
		set[key], set[objects.KeyOf(v)] = c, v
	}
}

func names(r *v1.ObjectReference, c *v1.PersistentVolumeClaim) bool {
	return r.Namespace == c.Namespace && r.Name == c.Name
}
