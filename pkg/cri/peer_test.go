package cri

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestPeer_IsTheProcessThatListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var p peer
	conn, err := p.dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := int(p.pid.Load()); got != os.Getpid() {
		t.Errorf("process %d, want %d", got, os.Getpid())
	}
}
