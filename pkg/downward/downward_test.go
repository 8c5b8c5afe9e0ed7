package downward

import (
	"regexp"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "one", "EMPTY": "", "B": "$(A)"}
	for in, want := range map[string]string{
		"":            "",
		"plain":       "plain",
		"$(A)":        "one",
		"x$(A)y$(A)z": "xoneyonez",
		"$(EMPTY)":    "",
		"$(NONE)":     "$(NONE)",
		"$$(A)":       "$(A)",
		"$$$(A)":      "$one",
		"$A $ $":      "$A $ $",
		"$(A":         "$(A",
		"$(B)":        "$(A)",
		"$((A))":      "$((A))",
		"end$":        "end$",
	} {
		if got := Expand(in, func(n string) (string, bool) { v, ok := vars[n]; return v, ok }); got != want {
			t.Errorf("Expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$(A)$$(", "", "$", "$$", "$$$(A)", "$(A", "$()", "a$(B)c", "$($(A))", "$x$(AB)", "$(A)$(BB)$$$", "\xff$(\xff)", "$(é)"} {
		f.Add(seed)
	}
	// The same rules as one regular expression: an escaped $, or a name in parentheses, whichever comes first.
	token := regexp.MustCompile(`(?s)\$\$|\$\([^)]*\)`)
	lookup := func(n string) (string, bool) { return "$(" + n + "$$", len(n)%2 == 0 }
	f.Fuzz(func(t *testing.T, s string) {
		want := token.ReplaceAllStringFunc(s, func(m string) string {
			if m == "$$" {
				return "$"
			}
			if v, ok := lookup(m[2 : len(m)-1]); ok {
				return v
			}
			return m
		})
		if got := Expand(s, lookup); got != want {
			t.Errorf("Expand(%q) = %q, want %q", s, got, want)
		}
	})
}

func testPod() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "shop", UID: "u1",
			Labels: map[string]string{"b": "2", "a": "say \"hi\"\n"}, Annotations: map[string]string{"k/x": "v"},
		},
		Spec: v1.PodSpec{NodeName: "n1", ServiceAccountName: "sa", Containers: []v1.Container{{
			Name: "c", Resources: v1.ResourceRequirements{
				Requests: v1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("1Mi")},
				Limits:   v1.ResourceList{"memory": resource.MustParse("1500Ki")},
			},
		}}},
	}
}

func TestField(t *testing.T) {
	n := Node{IPs: []string{"192.0.2.1", "2001:db8::1"}}
	for path, want := range map[string]string{
		"metadata.name": "web", "metadata.namespace": "shop", "metadata.uid": "u1", "spec.nodeName": "n1",
		"spec.serviceAccountName": "sa", "status.hostIP": "192.0.2.1", "status.hostIPs": "192.0.2.1,2001:db8::1",
		"status.podIP": "10.1.0.2", "status.podIPs": "10.1.0.2", "metadata.labels['b']": "2", "metadata.labels['none']": "",
		"metadata.annotations['k/x']": "v", "metadata.labels": "a=\"say \\\"hi\\\"\\n\"\nb=\"2\"",
	} {
		got, err := Field(testPod(), path, []string{"10.1.0.2"}, n)
		if err != nil || got != want {
			t.Errorf("Field(%s) = %q, %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"", "spec", "metadata.labels['b'", "status.phase"} {
		if got, err := Field(testPod(), path, nil, n); err == nil {
			t.Errorf("Field(%q) = %q, want an error", path, got)
		}
	}
}

func TestResource(t *testing.T) {
	n := Node{Allocatable: v1.ResourceList{"cpu": resource.MustParse("1900m")}}
	for _, c := range []struct{ res, divisor, want string }{
		{"requests.cpu", "0", "1"}, {"requests.cpu", "1m", "250"}, {"limits.cpu", "0", "2"}, {"limits.cpu", "1m", "1900"},
		{"limits.memory", "0", "1536000"}, {"limits.memory", "1Mi", "2"}, {"requests.memory", "1Ki", "1024"},
		{"requests.ephemeral-storage", "0", "0"},
	} {
		got, err := Resource(testPod(), &v1.ResourceFieldSelector{Resource: c.res, Divisor: resource.MustParse(c.divisor)}, "c", n)
		if err != nil || got != c.want {
			t.Errorf("Resource(%s / %s) = %q, %v, want %q", c.res, c.divisor, got, err, c.want)
		}
	}
	whole := testPod()
	whole.Spec.Resources = &v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1500m")}}
	for res, want := range map[string]string{"limits.cpu": "2", "limits.memory": "1536000", "limits.ephemeral-storage": "0"} {
		if got, err := Resource(whole, &v1.ResourceFieldSelector{Resource: res}, "c", n); err != nil || got != want {
			t.Errorf("with the pod's own limit, Resource(%s) = %q, %v, want %q", res, got, err, want)
		}
	}
	for _, sel := range []v1.ResourceFieldSelector{{Resource: "cpu"}, {Resource: "limits.gpu"}, {Resource: "limits.cpu", ContainerName: "none"}} {
		if got, err := Resource(testPod(), &sel, "c", n); err == nil {
			t.Errorf("Resource(%+v) = %q, want an error", sel, got)
		}
	}
}
