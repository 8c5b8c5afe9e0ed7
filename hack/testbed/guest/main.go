// Command guest runs inside the virtual machine that hack/testbed/vm builds: it gives the machine its address, and runs
// programs for the tests, one per connection. A request is a line of JSON and the program's input; the answer is JSON.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Request names a program, or a file to write when Args is empty. Input bytes follow the line.
type Request struct {
	Args  []string
	File  string
	Mode  os.FileMode
	Input int64
}

// Answer is what came of it. Err is set when the program could not be run, or the file not be written.
type Answer struct {
	Code           int
	Stdout, Stderr string
	Err            string
}

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	if err := address("eth0", "10.0.2.15/24"); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", ":99")
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		serving.Go(func() { answer(c) })
	}
}

// address brings up the device of qemu's own network, which carries these requests and nothing else.
func address(device, prefix string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return
	}
	var req Request
	a := Answer{}
	if err := json.Unmarshal(line, &req); err != nil {
		a.Err = err.Error()
	} else {
		a = do(req, io.LimitReader(r, req.Input))
	}
	if err := json.NewEncoder(c).Encode(a); err != nil {
		log.Printf("cannot answer: %v", err)
	}
}

func do(req Request, input io.Reader) Answer {
	if len(req.Args) == 0 {
		if err := write(req, input); err != nil {
			return Answer{Err: err.Error()}
		}
		return Answer{}
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(context.Background(), req.Args[0], req.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &out, &errOut
	cmd.Env = append(os.Environ(), "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Run()
	a := Answer{Stdout: out.String(), Stderr: errOut.String(), Code: cmd.ProcessState.ExitCode()}
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		a.Err = err.Error()
	}
	return a
}

// write makes a file appear whole under its name.
func write(req Request, input io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(req.File), 0o755); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(req.File), ".new-"+filepath.Base(req.File))
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, req.Mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, input)
	if err == nil && n < req.Input {
		err = fmt.Errorf("the input ended after %d of %d bytes", n, req.Input)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(temp, req.File)
}
