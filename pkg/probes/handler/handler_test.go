package handler

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPort_IsANumberOrTheNameOfOne(t *testing.T) {
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}, {Name: "web", ContainerPort: 9}, {Name: "80", ContainerPort: 81}}}
	for _, tc := range []struct {
		port intstr.IntOrString
		want int
		err  string
	}{
		{intstr.FromInt32(80), 80, ""},
		{intstr.FromString("web"), 8080, ""},
		{intstr.FromString("80"), 81, ""},
		{intstr.FromString("81"), 81, ""},
		{intstr.FromString("none"), 0, `cannot find a port named "none" in container "c": name one of its ports so`},
		{intstr.FromString("-1"), 0, "invalid port number: -1"},
		{intstr.FromInt32(70000), 0, "invalid port number: 70000"},
		{intstr.FromInt32(0), 0, "invalid port number: 0"},
	} {
		got, err := Port(tc.port, c)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("Port(%s) = %d, %v, want %d, %s", tc.port.String(), got, err, tc.want, tc.err)
		}
	}
}

// Whatever stands in a path or a header, the request goes to the host of the probe or nowhere.
func FuzzNewRequest(f *testing.F) {
	for _, path := range []string{"", "/", "healthz?x=1#y", "//other/x", "http://u:p@other:1/x", "mailto:a", "/a%zz", ":", "\x7f", "/é"} {
		f.Add(path, "Host", "other")
	}
	f.Fuzz(func(t *testing.T, path, name, value string) {
		get := &v1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080), HTTPHeaders: []v1.HTTPHeader{{Name: name, Value: value}}}
		r, err := NewRequest(get, &v1.Container{}, "10.0.0.1", "agent")
		if err == nil && r.URL.Host != "10.0.0.1:8080" && r.URL.Host != "" {
			t.Errorf("path %q goes to %q", path, r.URL.Host)
		}
	})
}
