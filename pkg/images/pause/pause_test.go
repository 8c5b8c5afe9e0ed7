package pause

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestProgram_EndsAtSIGTERM(t *testing.T) {
	program := map[string][]byte{"amd64": amd64, "arm64": arm64}[runtime.GOARCH]
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Until the program has blocked the signal, it dies of it; both are an end.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!s.Signaled() || s.Signal() != syscall.SIGTERM) {
		t.Errorf("pause ended with %v", err)
	}
}

func TestArchive_IsReproducible(t *testing.T) {
	a, err := Archive("example.com/pause:1", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Archive("example.com/pause:1", "amd64")
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two archives differ (%v)", err)
	}
	if _, err := Archive("example.com/pause:1", "s390x"); err == nil {
		t.Error("an architecture without a program gave an archive")
	}
}
