package act

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestFromFile_StaysInTheVolume(t *testing.T) {
	dir := t.TempDir()
	vol := filepath.Join(dir, "vol")
	for _, err := range []error{
		os.Mkdir(vol, 0o700), os.WriteFile(filepath.Join(dir, "secret"), []byte("A='stolen'"), 0o600),
		os.WriteFile(filepath.Join(vol, "good"), []byte("A='one'\nEMPTY=''\n"), 0o600),
		os.WriteFile(filepath.Join(vol, "bad"), []byte("A\n"), 0o600),
		os.WriteFile(filepath.Join(vol, "large"), make([]byte, maxEnvFile+1), 0o600),
		os.Symlink("good", filepath.Join(vol, "link")), os.Symlink("../secret", filepath.Join(vol, "out")),
		os.Symlink(filepath.Join(dir, "secret"), filepath.Join(vol, "absolute")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		ref    v1.FileKeySelector
		want   string
		set    bool
		errHas string
	}{
		"a key":                      {ref: v1.FileKeySelector{Path: "good", Key: "A"}, want: "one", set: true},
		"through a link inside":      {ref: v1.FileKeySelector{Path: "link", Key: "A"}, want: "one", set: true},
		"no such key":                {ref: v1.FileKeySelector{Path: "good", Key: "B"}, errHas: "couldn't find key B in file good of volume vol"},
		"no such key, optional":      {ref: v1.FileKeySelector{Path: "good", Key: "B", Optional: new(true)}},
		"an empty value":             {ref: v1.FileKeySelector{Path: "good", Key: "EMPTY"}, errHas: "EMPTY in file good of volume vol has no value"},
		"an empty value, optional":   {ref: v1.FileKeySelector{Path: "good", Key: "EMPTY", Optional: new(true)}},
		"no such file":               {ref: v1.FileKeySelector{Path: "none", Key: "A"}, errHas: "cannot read file none of volume vol"},
		"no such file, optional":     {ref: v1.FileKeySelector{Path: "none", Key: "A", Optional: new(true)}},
		"a line that is none":        {ref: v1.FileKeySelector{Path: "bad", Key: "B", Optional: new(true)}, errHas: "line 1 of the file"},
		"too large":                  {ref: v1.FileKeySelector{Path: "large", Key: "A"}, errHas: "at most 64 KiB"},
		"a directory":                {ref: v1.FileKeySelector{Path: ".", Key: "A"}, errHas: "regular file"},
		"a link that leads out":      {ref: v1.FileKeySelector{Path: "out", Key: "A"}, errHas: "escapes"},
		"an absolute link":           {ref: v1.FileKeySelector{Path: "absolute", Key: "A"}, errHas: "escapes"},
		"a path that leads out":      {ref: v1.FileKeySelector{Path: "../secret", Key: "A"}, errHas: "escapes"},
		"out of it, though optional": {ref: v1.FileKeySelector{Path: "../secret", Key: "A", Optional: new(true)}, errHas: "escapes"},
	} {
		t.Run(name, func(t *testing.T) {
			c.ref.VolumeName = "vol"
			got, set, err := self{volumes: dir}.fromFile(&c.ref)
			if got != c.want || set != c.set || (err == nil) != (c.errHas == "") || err != nil && !strings.Contains(err.Error(), c.errHas) {
				t.Errorf("fromFile() = %q, %v, %v; want %q, %v, an error with %q", got, set, err, c.want, c.set, c.errHas)
			}
		})
	}
}
