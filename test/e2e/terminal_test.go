package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// terminal is a pseudo-terminal, as a person's window is one.
type terminal struct {
	t             *testing.T
	master, slave *os.File

	mu   sync.Mutex
	text strings.Builder
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, master: master, slave: slave}
	var reading sync.WaitGroup
	reading.Go(p.read)
	t.Cleanup(func() {
		_ = slave.Close() // the last one: reading ends
		reading.Wait()
		_ = master.Close()
	})
	return p
}

func (p *terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := p.master.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.text.Write(b[:n])
		p.mu.Unlock()
	}
}

func (p *terminal) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *terminal) types(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *terminal) shows(text string) {
	p.t.Helper()
	testbed.Eventually(p.t, soon, "the terminal shows "+text, func() error {
		if seen := p.seen(); !strings.Contains(seen, text) {
			return fmt.Errorf("it shows %q", seen)
		}
		return nil
	})
}

// hasSize asks the program in the container until it says its size. The program may run before the runtime has heard of it.
func (p *terminal) hasSize(size string) {
	p.t.Helper()
	testbed.Eventually(p.t, soon, "the size in the container is "+size, func() error {
		p.types("stty size\n")
		if seen := p.seen(); !strings.Contains(seen, size) {
			return fmt.Errorf("the terminal shows %q", seen)
		}
		return nil
	})
}

func (p *terminal) resize(rows, columns uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		p.t.Fatal(err)
	}
}
