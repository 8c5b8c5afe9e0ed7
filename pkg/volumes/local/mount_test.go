package local

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

func targets(t *testing.T, names ...string) []string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := hostfs.UnmountBelow(dir); err != nil {
			t.Error(err)
		}
	})
	var out []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o750); err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

// loopDevice is a real block device on a file, without a file system.
func loopDevice(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 16<<20)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup needs root: %v %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	return device
}

func TestDo_MountsADeviceForSeveralAndKeepsItsContent(t *testing.T) {
	device := loopDevice(t)
	at := targets(t, "first", "second")
	if !IsBlock(device) || IsBlock(at[0]) {
		t.Error("a device and a directory are taken for each other")
	}
	if err := Do(Mount{Source: device, Target: at[0], Options: []string{"noexec", "data=journal"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at[0], "f"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be repeated
		if err := Do(Mount{Source: device, Target: at[1], ReadOnly: true, Options: []string{"data=journal"}}); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(at[1], "f")); string(b) != "kept" {
		t.Errorf("the second sees %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(at[1], "g"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("the second may write: %v", err)
	}
	if err := os.WriteFile(filepath.Join(at[0], "g"), nil, 0o600); err != nil {
		t.Errorf("the first may no longer write: %v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at[0], &st); err != nil || st.Flags&unix.ST_NOEXEC == 0 {
		t.Errorf("noexec is lost: %x, %v", st.Flags, err)
	}
	if err := hostfs.UnmountBelow(filepath.Dir(at[0])); err != nil {
		t.Fatal(err)
	}
	if err := Do(Mount{Source: device, Target: at[1], FSType: "ext4"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(at[1], "f")); string(b) != "kept" {
		t.Errorf("mounted again it holds %q, %v", b, err)
	}
}

func TestDo_SaysWhatIsWrongAndLeavesNothingMounted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := targets(t, "at")[0]
	for name, c := range map[string]struct {
		m    Mount
		want string
	}{
		"gone":                   {Mount{Source: filepath.Join(dir, "none")}, "no such file"},
		"a file":                 {Mount{Source: file}, "neither a directory nor a block device"},
		"options of a device":    {Mount{Source: dir, Options: []string{"ro", "data=journal"}}, "with the options data=journal"},
		"two options in one":     {Mount{Source: dir, Options: []string{"ro,noexec"}}, `mount option "ro,noexec" is none`},
		"another file system":    {Mount{Source: loopDevice(t), FSType: "nosuchfs"}, "cannot mount /dev/loop"},
		"an option of no system": {Mount{Source: loopDevice(t), Options: []string{"nosuchoption"}}, "cannot mount /dev/loop"},
	} {
		c.m.Target = at
		if err := Do(c.m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", name, err, c.want)
		}
		if mounted, err := hostfs.Mounted(at); mounted || err != nil {
			t.Errorf("%s: it is mounted, %v", name, err)
		}
	}
}

func TestMemory_HasItsSizeAndHugePagesTheirs(t *testing.T) {
	at := targets(t, "memory", "huge", "odd")
	for range 2 { // it may be repeated
		if err := Memory(at[0], 1<<20, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := HugePages(at[1], 2<<20); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at[0], &st); err != nil || int64(st.Blocks)*st.Bsize != 1<<20 {
		t.Errorf("the tmpfs has %d blocks of %d, %v", st.Blocks, st.Bsize, err)
	}
	if err := unix.Statfs(at[1], &st); err != nil || st.Type != unix.HUGETLBFS_MAGIC || st.Bsize != 2<<20 {
		t.Errorf("the hugetlbfs is of type %x with pages of %d, %v", st.Type, st.Bsize, err)
	}
	if err := HugePages(at[2], 3<<20); err == nil || !strings.Contains(err.Error(), "does the node have huge pages of this size?") {
		t.Errorf("pages of 3 MiB: %v", err)
	}
	if mounts, err := hostfs.MountsBelow(filepath.Dir(at[0])); err != nil || len(mounts) != 2 {
		t.Errorf("mounts %q, %v", mounts, err)
	}
}
