package probes

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if got, text := newTCPCheck("127.0.0.1", port, time.Second).Check(t.Context()); got != passed {
		t.Errorf("outcome %d, %s", got, text)
	}
	_ = l.Close()
	got, text := newTCPCheck("127.0.0.1", port, time.Second).Check(t.Context())
	if want := fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", port); got != failed || text != want {
		t.Errorf("outcome %d, %q, want %q", got, text, want)
	}
}

func TestExec(t *testing.T) {
	for _, tc := range []struct {
		name string
		out  string
		code int
		err  error
		want outcome
		text string
	}{
		{"zero passes", "fine", 0, nil, passed, "fine"},
		{"any other code fails", "bad", 3, nil, failed, "bad"},
		{"timeout fails", "", 0, fmt.Errorf("exec: %w", context.DeadlineExceeded), failed, `command timed out: "cat /value $(NONE)" timed out after 2s`},
		{"error says nothing", "", 0, fmt.Errorf("no runtime"), errored, "no runtime"},
		{"output is bounded", strings.Repeat("y", 20<<10), 1, nil, failed, strings.Repeat("y", 10<<10)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			probe := &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"cat", "/$(NAME)", "$(NONE)"}}}, TimeoutSeconds: 2}
			c := &v1.Container{Env: []v1.EnvVar{{Name: "NAME", Value: "value"}, {Name: "NONE", ValueFrom: &v1.EnvVarSource{}}}}
			check := means{exec: func(_ context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int, error) {
				if diff := cmp.Diff([]string{"id", "cat", "/value", "$(NONE)", "2s"}, append([]string{id}, append(cmd, timeout.String())...)); diff != "" {
					t.Error(diff)
				}
				return []byte(tc.out), tc.code, tc.err
			}}.checker(probe, c, "id", "")
			got, text := check.Check(t.Context())
			if got != tc.want || text != tc.text {
				t.Errorf("%d %q, want %d %q", got, text, tc.want, tc.text)
			}
		})
	}
}

func TestChecker_WhatCannotBeProbedIsTold(t *testing.T) {
	got, text := means{}.checker(&v1.Probe{}, &v1.Container{Name: "c"}, "", "").Check(t.Context())
	if got != errored || !strings.Contains(text, "missing probe handler") {
		t.Errorf("%d %q", got, text)
	}
}
