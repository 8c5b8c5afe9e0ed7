package images

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/images/pause"
)

// EnsureSandboxProfile writes the seccomp profile of sandboxes below the agent's root directory, unless it is there, and
// returns its path. See pause.Seccomp.
func EnsureSandboxProfile(root string) (string, error) {
	path := filepath.Join(root, "minikubelet", "sandbox-seccomp.json")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, pause.Seccomp()) {
		return path, nil
	}
	if err := atomicfile.Write(path, pause.Seccomp(), 0o640, atomicfile.None); err != nil {
		return "", fmt.Errorf("cannot provide the seccomp profile of sandboxes: %w", err)
	}
	return path, nil
}
