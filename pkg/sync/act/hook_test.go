package act

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestHook_TCPSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(l.Addr().(*net.TCPAddr).Port)}}
	e := New(Config{})
	if err := e.hook(t.Context(), h, hooked{spec: &v1.Container{}, ip: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.hook(t.Context(), h, hooked{spec: &v1.Container{}, ip: "127.0.0.1"}); err == nil {
		t.Error("a closed port was no failure")
	}
}

func TestHook_SleepEndsWithTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 30}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := New(Config{}).hook(ctx, h, hooked{}); err != nil {
			t.Errorf("a sleep that the grace period cuts off fails: %v", err)
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("it slept %v, want 5s", d)
		}
	})
}

func TestHook_ASleepThatIsCanceledFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Config{}).hook(ctx, &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 30}}, hooked{}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestHook_ASleepOfCenturiesIsNotOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 10000000000}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		if err := New(Config{}).hook(ctx, h, hooked{}); err != nil || time.Since(begin) != time.Hour {
			t.Errorf("it ended after %v with %v, want its grace period", time.Since(begin), err)
		}
	})
}
