package act

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Other containers of the pod have the file mounted while one is made.
func TestWriteHosts_LeavesAFileAloneThatIsRight(t *testing.T) {
	dir, content := t.TempDir(), []byte("127.0.0.1\tlocalhost\n")
	e := New(Config{})
	path, err := e.writeHosts(dir, content)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Unix(1000, 0)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := e.writeHosts(dir, content); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || !i.ModTime().Equal(long) {
		t.Errorf("it was written again at %v, %v", i.ModTime(), err)
	}
}

func TestWriteHosts_ReplacesWhatDiffersInTheSameFile(t *testing.T) {
	for name, old := range map[string]string{
		"shorter": "x\n", "as long": "10.0.0.1 a\n", "longer": "10.0.0.2 a\n10.0.0.1 b\n", "much longer": string(bytes.Repeat([]byte("y"), 2*maxHosts)), "empty": "",
	} {
		dir, want := t.TempDir(), "10.0.0.2 a\n"
		path := filepath.Join(dir, "etc-hosts")
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		mounted, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer mounted.Close()
		if _, err := New(Config{}).writeHosts(dir, []byte(want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b := make([]byte, 100)
		n, _ := mounted.Read(b)
		if i, err := mounted.Stat(); string(b[:n]) != want || err != nil || i.Mode().Perm() != 0o644 || i.Size() != int64(len(want)) {
			t.Errorf("%s: who has it open reads %q with mode %v, %v", name, b[:n], i.Mode(), err)
		}
	}
}

func TestWriteHosts_NeverShowsAnEmptyFile(t *testing.T) {
	dir := t.TempDir()
	e := New(Config{})
	contents := [][]byte{bytes.Repeat([]byte("10.0.0.1 a\n"), 30), []byte("10.0.0.2 b\n")}
	path, err := e.writeHosts(dir, contents[0])
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for i := range 2000 {
			if _, err := e.writeHosts(dir, contents[i%2]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		if b, err := os.ReadFile(path); err != nil || len(bytes.TrimSpace(b)) == 0 {
			t.Fatalf("a reader found %q, %v", b, err)
		}
	}
}
