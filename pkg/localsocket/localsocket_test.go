package localsocket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// short returns a directory whose sockets' paths are short enough: t.TempDir may give a longer one.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestListen_ReplacesTheSocketOfADeadAgentOnly(t *testing.T) {
	path := filepath.Join(short(t), "new", "s")
	dead, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("nobody answers on it: %v", err)
	}
	defer l.Close()
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", i, err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
}

func TestCheckPeer_LetsTheOwnUserIn(t *testing.T) {
	path := filepath.Join(short(t), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if err := CheckPeer(got); err != nil {
		t.Error(err)
	}
	if p, err := Peer(got); err != nil || int(p.Pid) != os.Getpid() {
		t.Errorf("peer %+v, %v; want process %d", p, err, os.Getpid())
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := CheckPeer(a); err == nil {
		t.Error("a pipe has no peer, and was let in")
	}
}

func TestMayUse_IsForRootAndTheOwnUserAlone(t *testing.T) {
	for _, c := range []struct {
		uid, own int
		want     bool
	}{{0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}} {
		if got := mayUse(c.uid, c.own); got != c.want {
			t.Errorf("user %d of an agent of user %d: %t", c.uid, c.own, got)
		}
	}
}
