package cri

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// containerd 1.6 calls a container that was out of memory "Error" when systemd has removed its scope first.
func TestObserver_ExplainsExitsByTheOOMKillsOfThePod(t *testing.T) {
	kills := int64(0)
	o := NewObserver(nil, nil, func(string) int64 { return kills })
	accounted := int64(0)
	for _, step := range []struct {
		name    string
		kills   int64 // of the pod, in all
		state   pod.ContainerState
		code    int32
		reason  string
		want    string
		counted int64
	}{
		{"killed by a person", 0, pod.ContainerExited, 137, "Error", "Error", 0},
		{"out of memory, and the runtime missed it", 2, pod.ContainerExited, 137, "Error", "OOMKilled", 2},
		{"killed after that", 2, pod.ContainerExited, 137, "Error", "Error", 2},
		{"out of memory, as the runtime says", 3, pod.ContainerExited, 137, "OOMKilled", "OOMKilled", 3},
		{"a child was, and the container ended by itself", 4, pod.ContainerExited, 1, "Error", "Error", 3},
		{"still running", 5, pod.ContainerRunning, 0, "", "", 3},
	} {
		kills = step.kills
		c := pod.Container{State: step.state, ExitCode: step.code, Reason: step.reason}
		o.outOfMemory("u", &c, &accounted)
		if c.Reason != step.want || accounted != step.counted {
			t.Errorf("%s: reason %q, %d accounted for, want %q, %d", step.name, c.Reason, accounted, step.want, step.counted)
		}
	}
}

// What was never executed because the agent died is no run that failed.
func TestCutOff_IsAStartThatNobodyWaitedFor(t *testing.T) {
	const creating, starting = "failed to create containerd task: failed to create shim task: ", "failed to start containerd task \"a\": "
	for _, tt := range []struct {
		name    string
		message string
		started int64
		state   runtimeapi.ContainerState
		want    bool
	}{
		{"given up before there was a process", creating + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_EXITED, true},
		{"the same, of containerd 1.6", creating + "context canceled: unknown", 0, runtimeapi.ContainerState_CONTAINER_EXITED, true},
		{"there may have been a process", starting + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it cannot be executed", creating + "no such file or directory", 0, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it ran", creating + "context canceled", 1, runtimeapi.ContainerState_CONTAINER_EXITED, false},
		{"it is not over", creating + "context canceled", 0, runtimeapi.ContainerState_CONTAINER_CREATED, false},
	} {
		s := &runtimeapi.ContainerStatus{State: tt.state, Reason: "StartError", Message: tt.message, StartedAt: tt.started}
		if got := cutOff(s); got != tt.want {
			t.Errorf("%s: cutOff() = %v", tt.name, got)
		}
	}
}

// wrote is the status of a container that has ended with a code and left a file at its terminationMessagePath.
func wrote(path string, code int32, policy v1.TerminationMessagePolicy) *runtimeapi.ContainerStatus {
	return &runtimeapi.ContainerStatus{
		ExitCode: code, LogPath: "/log", Mounts: []*runtimeapi.Mount{{ContainerPath: "/other"}, {ContainerPath: "/end", HostPath: path}},
		Annotations: map[string]string{annotationMessagePath: "/end", annotationMessagePolicy: string(policy)},
	}
}

func TestMessage_IsTheEndOfTheFile(t *testing.T) {
	o := NewObserver(nil, nil, nil)
	start, long := "what it was doing\n", strings.Repeat("x", 4096-len("panic: the reason"))+"panic: the reason"
	for name, tt := range map[string]struct{ content, want string }{
		"empty":                {"", ""},
		"short":                {"bye", "bye"},
		"as long as it may be": {long, long},
		"a byte longer":        {"y" + long, long},
		"much longer":          {strings.Repeat(start, 1000) + long, long},
		"cut in a character":   {strings.Repeat("é", 4096) + "!", "\xa9" + strings.Repeat("é", 2047) + "!"},
	} {
		path := filepath.Join(t.TempDir(), "0")
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := o.message(wrote(path, 1, v1.TerminationMessageReadFile)); got != tt.want {
			t.Errorf("%s: %d bytes: %.40q, want %d: %.40q", name, len(got), got, len(tt.want), tt.want)
		}
	}
}

func TestMessage_IsFoundHoweverItsPathIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0")
	if err := os.WriteFile(path, []byte("bye"), 0o600); err != nil {
		t.Fatal(err)
	}
	for asked, mounted := range map[string]string{
		"words": "/words", "words/": "/words", "/a//b/../c": "/a/c", "../words": "/words",
		"/a/./b": "/a/./b", // as an older agent mounted it
	} {
		s := wrote(path, 0, v1.TerminationMessageReadFile)
		s.Annotations[annotationMessagePath], s.Mounts[1].ContainerPath = asked, mounted
		if got := NewObserver(nil, nil, nil).message(s); got != "bye" {
			t.Errorf("%s, mounted at %s, says %q", asked, mounted, got)
		}
	}
}

// The container may have replaced what is mounted.
func TestMessage_IsNotReadFromAnythingButAFile(t *testing.T) {
	o, dir := NewObserver(nil, nil, nil), t.TempDir()
	secret, link, pipe := filepath.Join(dir, "secret"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	for _, err := range []error{os.WriteFile(secret, []byte("secret"), 0o600), os.Symlink(secret, link), unix.Mkfifo(pipe, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, pipe, dir, filepath.Join(dir, "none"), ""} {
		if got := o.message(wrote(path, 1, v1.TerminationMessageReadFile)); got != "" {
			t.Errorf("%s says %q", path, got)
		}
	}
}

func TestMessage_FallsBackToTheLogOfAFailureThatLeftNoFile(t *testing.T) {
	dir := t.TempDir()
	empty, full := filepath.Join(dir, "empty"), filepath.Join(dir, "full")
	for path, content := range map[string]string{empty: "", full: "file"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tail := func(path string, lines, maxBytes int) (string, error) {
		if path != "/log" || lines != 80 || maxBytes != 2048 {
			return "", errors.New("not what is asked for")
		}
		return "log", nil
	}
	const file, fallback = v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError
	for _, tt := range []struct {
		path, runtime string
		code          int32
		policy        v1.TerminationMessagePolicy
		want          string
	}{
		{empty, "", 1, fallback, "log"},
		{filepath.Join(dir, "none"), "", 1, fallback, "log"},
		{empty, "killed", 1, fallback, "killed: log"},
		{full, "", 1, fallback, "file"},
		{empty, "", 0, fallback, ""},
		{empty, "", 1, file, ""},
	} {
		s := wrote(tt.path, tt.code, tt.policy)
		s.Message = tt.runtime
		if got := NewObserver(nil, tail, nil).message(s); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestExitReason_OfAnExitThatNobodySawIsTheRuntimes(t *testing.T) {
	for want, s := range map[string]*runtimeapi.ContainerStatus{
		"Unknown": {Reason: "Unknown", ExitCode: 255}, "OOMKilled": {Reason: "OOMKilled", ExitCode: 137}, "Completed": {}, "Error": {ExitCode: 1},
	} {
		if got := exitReason(s); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}
