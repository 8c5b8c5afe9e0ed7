package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWriteFiles_RefusesPathsThatLeaveTheVolume(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b"} {
		dir := t.TempDir()
		err := WriteFiles(dir, Shown{Files: Files{name: {Mode: 0o644}}}, time.Now(), func(string) error { return nil })
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
	if err := WriteFiles(dir, Shown{Files: Files{"a": {Data: []byte("1"), Mode: 0o644}}}, time.Now(), ok); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("no space left on device")
	err := WriteFiles(dir, Shown{Files: Files{"a": {Data: []byte("2"), Mode: 0o644}}}, time.Now(), func(string) error { return boom })
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

func TestWriteFiles_GivesALinkTheOwnerOfItsFile(t *testing.T) {
	dir, uid := t.TempDir(), int64(os.Getuid()+1000)
	if os.Getuid() != 0 {
		uid = int64(os.Getuid()) // no other can be given
	}
	files := Files{"a": {Mode: 0o600, UID: &uid}, "conf.d/b": {Mode: 0o600, UID: &uid}}
	if err := WriteFiles(dir, Shown{Files: files}, time.Now(), func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "conf.d"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int64(st.Uid) != uid {
			t.Errorf("the link %s is user %d's, want %d", name, st.Uid, uid)
		}
	}
}

func TestFiles_TakePathsAsTheAPITakesThem(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "./conf.d/a.ini": "conf.d/a.ini", "conf.d//b.ini": "conf.d/b.ini", "a/./b": "a/b", "a/": "a", "a..b/..c": "a..b/..c", "./..data": "..data",
		"": "", ".": "", "./": "", "/a": "", "..": "", "../a": "", "a/../b": "", "./..": "", "..data": "", "..a/b": "",
	} {
		f := Files{}
		err := f.Add(name, File{Data: []byte("x")})
		if _, there := f[want]; (err == nil) != (want != "") || err == nil && !there || len(f) > 1 {
			t.Errorf("Add(%q) = %v, %v; want %q", name, f, err, want)
		}
	}
}

// shown is what readers find in a directory, links followed.
func shown(t *testing.T, dir string, names ...string) (content []string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			content = append(content, "-")
			continue
		}
		content = append(content, string(b))
	}
	return content
}

func TestWriteFiles_KeepsTheWritersOwnNamesFromFilesOfTheSameName(t *testing.T) {
	dir := t.TempDir()
	write := func(data string) {
		t.Helper()
		f := File{Data: []byte(data), Mode: 0o644}
		s := Shown{Files: Files{"a": f, "..data/x": f, "..data_next": f, "..2026_01_02_03_04_05.6": f, "..hidden": f}, Points: []string{"..data/x/y", "..data"}}
		if err := WriteFiles(dir, s, time.Now(), func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{"1", "2"} {
		write(data)
		want := []string{data, data, data, "-"}
		if got := shown(t, dir, "a", "..hidden", "..data/..data/x", "..data_next"); !slices.Equal(got, want) {
			t.Errorf("files show %q, want %q", got, want)
		}
	}
	for _, name := range []string{"..data", "..data/x"} {
		if err := MakePoint(dir, Point{Path: name, Dir: true}, []string{name}); err == nil || !strings.Contains(err.Error(), "belong to the volume itself") {
			t.Errorf("MakePoint(%s) = %v", name, err)
		}
	}
	write("3")
}

func TestMakePoint_LeavesAPointThatAnotherContainerUses(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []Point{{Path: "d", Dir: true}, {Path: "f"}} {
		if err := MakePoint(dir, p, nil); err != nil {
			t.Fatal(err)
		}
		p.Dir, p.Shared = !p.Dir, true
		if err := MakePoint(dir, p, nil); err == nil || !strings.Contains(err.Error(), "one container mounts a file there, another a directory") {
			t.Errorf("MakePoint(%+v) = %v", p, err)
		}
		p.Shared = false
		if err := MakePoint(dir, p, nil); err != nil {
			t.Errorf("MakePoint(%+v) = %v", p, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "d"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakePoint(dir, Point{Path: "d/below", Dir: true}, nil); err == nil {
		t.Error("a mount point below a file is no error")
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
		_ = WriteFiles(dir, Shown{Files: Files{first: {Data: []byte("x"), Mode: 0o644}, second: {Mode: 0o600}}, Points: []string{first + "/" + second}}, time.Now(), func(string) error { return nil })
		_ = MakePoint(dir, Point{Path: first + "/" + second}, []string{first + "/" + second})
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("%q, %q left the volume: %v", first, second, entries)
		}
	})
}
