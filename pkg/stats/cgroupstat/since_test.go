package cgroupstat

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStarted(t *testing.T) {
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil {
		t.Fatal(err)
	}
	boot := time.Unix(time.Now().Unix()-up.Uptime, 0)
	got := Started(os.Getpid(), boot)
	if age := time.Since(got); age < -2*time.Second || age > 10*time.Minute {
		t.Errorf("this process has started %s ago", age)
	}
	if got := Started(0, boot); !got.IsZero() {
		t.Errorf("no process: %s", got)
	}
	if n, ok := startTicks("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"); n != 4242 || !ok {
		t.Errorf("%d %v", n, ok)
	}
	if _, ok := startTicks("7 (a"); ok {
		t.Error("a torn line was taken")
	}
}
