package images

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/images/pause"
)

func TestNamed_NeedsFullNames(t *testing.T) {
	tests := map[string]struct {
		annotations, want, err string
	}{
		"containerd's annotation": {annotations: `"io.containerd.image.name":"docker.io/library/web:1","org.opencontainers.image.ref.name":"1"`, want: "docker.io/library/web:1"},
		"the OCI annotation":      {annotations: `"org.opencontainers.image.ref.name":"example.com/web:1"`, want: "example.com/web:1"},
		"a short name":            {annotations: `"org.opencontainers.image.ref.name":"team/web"`, want: "docker.io/team/web:latest"},
		"a tag alone":             {annotations: `"org.opencontainers.image.ref.name":"latest"`, err: "has no full name"},
		"none":                    {err: "has no full name"},
		"a bad one":               {annotations: `"io.containerd.image.name":"example.com/Web:1"`, err: "lowercase"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := named([]byte(`{"manifests":[{"digest":"sha256:1","annotations":{` + tt.annotations + `}}]}`))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0].name != tt.want {
				t.Errorf("named() = %v, %v; want %s", got, err, tt.want)
			}
		})
	}
	for _, garbled := range []string{"", "x", "{}"} {
		if got, err := named([]byte(garbled)); err == nil {
			t.Errorf("named(%q) = %v, want an error", garbled, got)
		}
	}
}

func TestIndexOf_FindsTheIndexOfAnArchive(t *testing.T) {
	b, err := pause.Archive("example.com/pause:1", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	got, err := named(indexOf(bytes.NewReader(b)))
	if err != nil || len(got) != 1 || got[0].name != "example.com/pause:1" {
		t.Errorf("index names %v, %v", got, err)
	}
	var other bytes.Buffer
	if err := tar.NewWriter(&other).Close(); err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"half an archive": b[:700], "another tar": other.Bytes(), "no tar": []byte("hello")} {
		if got := indexOf(bytes.NewReader(b)); got != nil {
			t.Errorf("index of %s: %q", what, got)
		}
	}
}

func TestSandboxImages_AreThoseThatTheRuntimeNames(t *testing.T) {
	tests := map[string]struct {
		info       map[string]string
		configured string
		want       []string
	}{
		"containerd 1.6":            {info: map[string]string{"config": `{"sandboxImage":"example.com/pause:9"}`}, configured: "x", want: []string{"example.com/pause:9"}},
		"containerd 2, configured":  {info: map[string]string{"config": `{"cni":{}}`}, configured: "example.com/pause:8", want: []string{"example.com/pause:8"}},
		"containerd 2, its default": {info: map[string]string{"config": `{"cni":{}}`}, want: defaultSandboxImages},
		"garbled":                   {info: map[string]string{"config": `{`}, want: defaultSandboxImages},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, SandboxImages(tt.info, tt.configured)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
