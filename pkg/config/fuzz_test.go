package config

import (
	"os"
	"testing"
)

// FuzzLoad reads any two files, one laid over the other: it may refuse them, but what it takes it can show, and what it
// shows means the same.
func FuzzLoad(f *testing.F) {
	f.Add(header+"maxPods: 3\nevictionHard: {memory.available: 1Gi}\n", header+"evictionHard: null\nclusterDNS: [10.0.0.1]\n")
	f.Add(header+"logging: {verbosity: 3}\nregisterWithTaints: [{key: a, effect: NoSchedule}]\n", "kind: MinikubeletConfiguration\napiVersion: minikubelet.dev/v1alpha1\nstartLimit: 2\n")
	f.Add(header+"evictionHard: {}\nenforceNodeAllocatable: []\nclusterDNS: []\nfeatureGates: {}\n", header)
	f.Add("{", "- a")
	f.Fuzz(func(t *testing.T, base, over string) {
		read := func(texts map[string]string, args ...string) (*Loaded, error) {
			flags := NewFlags()
			if err := flags.Parse(args); err != nil {
				t.Fatal(err)
			}
			return Load(flags, Files{
				Read: func(name string) ([]byte, error) {
					if s, ok := texts[name]; ok {
						return []byte(s), nil
					}
					return nil, os.ErrNotExist
				},
				Drops: func(string) ([]string, error) { return []string{"d/a.conf"}, nil },
			})
		}
		l, err := read(map[string]string{"c": base, "d/a.conf": over}, "--config=c", "--config-dir=d")
		if err != nil {
			return
		}
		text, err := l.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if len(l.kubelet.StaticPodURLHeader) > 0 {
			return // is masked
		}
		again, err := read(map[string]string{"c": string(text)}, "--config=c")
		if err != nil {
			t.Fatalf("what it shows is refused: %v\n%s", err, text)
		}
		changes, err := l.Changes(again)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Path != "--config-dir" {
				t.Errorf("%+v\n%s", c, text)
			}
		}
	})
}
