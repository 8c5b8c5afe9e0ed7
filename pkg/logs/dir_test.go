package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMakeDir_MakesWhatOthersMayRead(t *testing.T) {
	real := t.TempDir()
	root := filepath.Join(t.TempDir(), "pods") // an administrator may have moved it
	if err := os.Symlink(real, root); err != nil {
		t.Fatal(err)
	}
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for range 2 {
		if err := MakeDir(root, "ns_p_uid", "c"); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"ns_p_uid", "ns_p_uid/c"} {
		info, err := os.Lstat(filepath.Join(real, dir))
		if err != nil || info.Mode() != os.ModeDir|0o755 {
			t.Errorf("%s is %v, %v; want drwxr-xr-x", dir, info.Mode(), err)
		}
	}
}

func TestMakeDir_FollowsNothingThatAPodHasPlanted(t *testing.T) {
	for name, plant := range map[string]func(root, path string) error{
		"a link out of the logs":     func(root, path string) error { return os.Symlink(filepath.Dir(root), path) },
		"a link to another pod's":    func(_, path string) error { return os.Symlink("victim", path) },
		"a link that leads nowhere":  func(_, path string) error { return os.Symlink("none", path) },
		"a file":                     func(_, path string) error { return os.WriteFile(path, nil, 0o600) },
		"a pipe that nobody writes ": func(_, path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "pods")
			if err := os.MkdirAll(filepath.Join(root, "victim"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := plant(root, filepath.Join(root, "pod")); err != nil {
				t.Fatal(err)
			}
			err := MakeDir(root, "pod", "c")
			if err == nil || !strings.Contains(err.Error(), filepath.Join(root, "pod")+": there is a file or a link in its place: remove it") {
				t.Errorf("MakeDir() = %v", err)
			}
			for _, path := range []string{filepath.Join(root, "victim", "c"), filepath.Join(root, "none"), filepath.Join(filepath.Dir(root), "c")} {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s was made", path)
				}
			}
		})
	}
}

func TestMakeDir_TakesNamesAlone(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"", ".", "..", "a/b", "../x", "/x"} {
		if err := MakeDir(root, name); err == nil {
			t.Errorf("MakeDir(%q) made something", name)
		}
	}
}
