package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWriteFiles_RefusesPathsThatLeaveTheVolume(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "..data", "..x/y", "a/./b"} {
		dir := t.TempDir()
		err := WriteFiles(dir, Files{name: {Mode: 0o644}}, time.Now(), func(string) error { return nil })
		if err == nil {
			t.Errorf("write of %q is no error", name)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("write of %q left %v", name, entries)
		}
	}
}

func TestWriteFiles_ShowsNothingOfAVersionThatFailed(t *testing.T) {
	dir := t.TempDir()
	ok := func(string) error { return nil }
	if err := WriteFiles(dir, Files{"a": {Data: []byte("1"), Mode: 0o644}}, time.Now(), ok); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("no space left on device")
	err := WriteFiles(dir, Files{"a": {Data: []byte("2"), Mode: 0o644}}, time.Now(), func(string) error { return boom })
	if !errors.Is(err, boom) {
		t.Errorf("error is %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a")); string(got) != "1" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("the version that failed is left: %v", entries)
	}
}

func FuzzWriteFiles(f *testing.F) {
	f.Add("a/b", "a")
	f.Add("..data/x", "..data_next")
	f.Fuzz(func(t *testing.T, first, second string) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "volume")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = WriteFiles(dir, Files{first: {Data: []byte("x"), Mode: 0o644}, second: {Mode: 0o600}}, time.Now(), func(string) error { return nil })
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("%q, %q left the volume: %v", first, second, entries)
		}
	})
}
