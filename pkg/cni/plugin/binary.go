package plugin

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/cni"
)

// The pattern always matches: the file minikubelet-cni.md is committed, the binary is built.
//
//go:embed minikubelet-cni*
var embedded embed.FS

// errNoBinary says what to do about a build without the plugin.
var errNoBinary = errors.New("this build of the agent has no CNI plugin inside, and there is none beside its executable: " +
	"build it with `make build`, or set network.provider to runtime")

// source opens the plugin's binary: the embedded one, else the file beside the agent's executable.
func source() (fs.File, error) {
	f, err := embedded.Open(cni.PluginType)
	if err == nil {
		return f, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBinary, err)
	}
	beside, err := os.Open(filepath.Join(filepath.Dir(self), cni.PluginType))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBinary, err)
	}
	return beside, nil
}

// writeBinary installs the plugin, in place of an older one by rename: the runtime may be running that one right now.
// The copy bears the modification time of the agent's executable, by which the next start knows it again: to compare the
// contents would bring all of the embedded plugin into the agent's resident memory, at every start.
func writeBinary(path string) error {
	src, err := source()
	if err != nil {
		return err
	}
	defer src.Close()
	built, err := buildTime()
	if err != nil {
		return err
	}
	if same, err := sameStamp(src, path, built); err != nil || same {
		return err
	}
	same, err := sameContent(src, path)
	if err != nil {
		return err
	}
	if !same {
		fresh, err := source()
		if err != nil {
			return err
		}
		defer fresh.Close()
		if err := atomicfile.Copy(path, fresh, 0o755, atomicfile.Content); err != nil {
			return err
		}
	}
	return os.Chtimes(path, built, built)
}

func buildTime() (time.Time, error) {
	self, err := os.Executable()
	if err != nil {
		return time.Time{}, err
	}
	info, err := os.Stat(self)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func sameStamp(src fs.File, path string, built time.Time) (bool, error) {
	want, err := src.Stat()
	if err != nil {
		return false, err
	}
	have, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return have.Size() == want.Size() && have.ModTime().Equal(built) && have.Mode().Perm() == 0o755, nil
}

// sameContent reads both in pieces: the whole plugin in memory would stay in the agent's resident size for good.
func sameContent(src io.Reader, path string) (bool, error) {
	old, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer old.Close()
	if info, err := old.Stat(); err != nil || info.Mode().Perm() != 0o755 {
		return false, err
	}
	const piece = 64 << 10
	a, b := make([]byte, piece), make([]byte, piece)
	for {
		n, errA := io.ReadFull(src, a)
		m, errB := io.ReadFull(old, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB), nil
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
