package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestLock_KeepsASecondDemoOutUntilTheFirstEnds(t *testing.T) {
	name := fmt.Sprintf("minikubelet-demo-test-%d", os.Getpid())
	unlock, err := lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(name); err == nil || !strings.Contains(err.Error(), "another demo runs on this machine: end it first") {
		t.Errorf("a second demo: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := lock(name)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}
