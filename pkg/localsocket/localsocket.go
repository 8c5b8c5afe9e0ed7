// Package localsocket makes the unix sockets on which the agent answers processes of its own node, and tells who they are.
package localsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTaken is returned by Listen when another process answers on the socket.
var ErrTaken = errors.New("another agent answers on it")

// Listen listens on a socket of mode 0600, below a directory that it makes. A socket that nobody answers on, as an agent
// that was killed leaves it, is replaced.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("cannot listen on %s: %w", path, ErrTaken), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Peer tells which process, of which user, made or took a connection.
func Peer(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(err, credErr)
}

// CheckPeer refuses everybody but root and the agent's own user. The mode of a socket alone does not: it is checked when a
// process connects, and whoever made the directory may have let others in.
func CheckPeer(c net.Conn) error {
	p, err := Peer(c)
	if err != nil {
		return fmt.Errorf("cannot tell who connected: %w", err)
	}
	if !mayUse(int(p.Uid), os.Geteuid()) {
		return fmt.Errorf("process %d of user %d may not use it", p.Pid, p.Uid)
	}
	return nil
}

func mayUse(uid, own int) bool { return uid == 0 || uid == own }
