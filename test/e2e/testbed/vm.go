package testbed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// VM is a Debian machine with systemd, cgroup v2 and containerd 1.6 as a service, in software: what runs in it takes 5 to
// 30 times as long. hack/testbed/vm builds its disk. The first VM boots, for a minute or two; its memory is kept beside
// the disk, and every later one begins there, on a fresh copy of the disk, within seconds.
type VM struct {
	e    *Env
	dir  string // of the disk and the memory that all share
	name string
	port int // of the host, where the guest takes requests
	qemu *Process
}

const (
	vmBoot    = 5 * time.Minute
	vmRestore = time.Minute
	vmCall    = 2 * time.Minute
)

// VM starts a machine. Its clock is the host's.
func (e *Env) VM() *VM {
	e.t.Helper()
	build := exec.Command(filepath.Join(RepoRoot(e.t), "hack", "testbed", "vm")) // a minute or two, the first time
	must[string](e.t, "build the virtual machine")(output(build, ""))
	v := &VM{e: e, dir: filepath.Join(testbedDir(), "vm"), name: "vm", port: e.Port()}
	if err := v.keepBooted(); err != nil {
		e.t.Fatalf("cannot boot the virtual machine: %v", err)
	}
	disk := e.Path("vm", "disk.qcow2")
	must[string](e.t, "make the machine's disk")(runOut("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", filepath.Join(v.dir, "base.qcow2"), disk))
	v.start(disk, "-incoming", "exec:cat "+filepath.Join(v.dir, "memory"))
	Eventually(e.t, vmRestore, "the virtual machine answers", v.answers)
	v.Must("date", "-s", "@"+strconv.FormatFloat(float64(time.Now().UnixMilli())/1000, 'f', 3, 64))
	return v
}

// keepBooted boots the machine once and keeps its memory, under the stamp of its disk.
func (v *VM) keepBooted() error {
	lock, err := os.OpenFile(filepath.Join(v.dir, "boot.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	want, err := os.ReadFile(filepath.Join(v.dir, "stamp"))
	if err != nil {
		return err
	}
	stamp, memory := filepath.Join(v.dir, "booted"), filepath.Join(v.dir, "memory")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, want) {
		return nil
	}
	// The disk is written to while it boots: a copy of the one that was built becomes the one that restored machines share.
	built, base := filepath.Join(v.dir, "built.qcow2"), filepath.Join(v.dir, "base.qcow2")
	if _, err := runOut("cp", "--sparse=always", built, base); err != nil {
		return err
	}
	boot := *v
	boot.name, boot.port = "vm-boot", v.e.Port()
	boot.start(base)
	Eventually(v.e.t, vmBoot, "the virtual machine has booted", boot.answers)
	for _, args := range [][]string{
		{"sh", "-c", "systemctl is-system-running --wait || true"},
		{"modprobe", "-a", "virtio-rng", "overlay", "veth", "bridge", "br_netfilter", "loop", "nf_tables", "nft_compat", "nft_chain_nat", "nft_masq", "xt_conntrack", "xt_comment", "xt_mark", "xt_MASQUERADE", "xt_nat", "xt_addrtype"},
		{"systemctl", "restart", "containerd"},
		{"sync"},
	} {
		boot.Must(args...)
	}
	if err := boot.save(memory); err != nil {
		return err
	}
	boot.qemu.Kill()
	return os.WriteFile(stamp, want, 0o600)
}

// start runs qemu. A machine is restored with the same devices that it was saved with.
func (v *VM) start(disk string, more ...string) {
	v.e.t.Helper()
	kernel, err := filepath.Glob(filepath.Join(v.dir, "kernel", "boot", "vmlinuz-*"))
	if err != nil || len(kernel) != 1 {
		v.e.t.Fatalf("cannot find the virtual machine's kernel: %v, %v", kernel, err)
	}
	args := []string{
		"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048", "-M", "q35,hpet=off",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", kernel[0], "-initrd", filepath.Join(v.dir, "initrd.gz"),
		"-append", "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off audit=0 nokaslr tsc=reliable systemd.show_status=0 net.ifnames=0 psi=1 systemd.unified_cgroup_hierarchy=1",
		"-serial", "file:" + v.e.Path("log", v.name+"-console.log"), "-qmp", "unix:" + v.monitor() + ",server=on,wait=off",
		"-drive", "file=" + disk + ",format=qcow2,if=none,id=d0,cache=unsafe", "-device", "virtio-blk-pci,drive=d0", "-device", "virtio-rng-pci",
		"-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:99", v.port), "-device", "virtio-net-pci,netdev=n0,romfile=",
	}
	v.qemu = v.e.Start(v.name, exec.Command("qemu-system-x86_64", append(args, more...)...))
}

func (v *VM) monitor() string { return v.e.Path("vm", v.name+".qmp") }

// save writes the machine's memory to a file and stops the machine.
func (v *VM) save(memory string) error {
	c, err := net.DialTimeout("unix", v.monitor(), longCall)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(vmCall)); err != nil {
		return err
	}
	dec := json.NewDecoder(c)
	ask := func(command string, arguments map[string]any) (status string, err error) {
		if err := json.NewEncoder(c).Encode(map[string]any{"execute": command, "arguments": arguments}); err != nil {
			return "", err
		}
		for {
			var said struct {
				Return *struct{ Status string }
				Error  *struct{ Desc string }
			}
			if err := dec.Decode(&said); err != nil {
				return "", err
			}
			if said.Error != nil {
				return "", errors.New(said.Error.Desc)
			}
			if said.Return != nil { // not an event, nor the greeting
				return said.Return.Status, nil
			}
		}
	}
	if _, err := ask("qmp_capabilities", map[string]any{}); err != nil {
		return err
	}
	_, err = ask("migrate-set-parameters", map[string]any{"max-bandwidth": 10 << 30, "downtime-limit": 2000})
	if err == nil {
		_, err = ask("migrate", map[string]any{"uri": "exec:cat >" + memory})
	}
	if err != nil {
		return err
	}
	return poll(vmRestore, func() error {
		status, err := ask("query-migrate", map[string]any{})
		if err == nil && status != "completed" {
			err = errors.New("its memory is being saved: " + status)
		}
		return err
	})
}

func (v *VM) answers() error {
	if !v.qemu.Running() {
		v.e.t.Fatalf("qemu ended:\n%s", v.qemu.Output())
	}
	_, err := v.ask(3*time.Second, vmRequest{Args: []string{"true"}}, nil)
	return err
}

// vmRequest and vmAnswer are what hack/testbed/guest speaks.
type vmRequest struct {
	Args  []string
	File  string
	Mode  fs.FileMode
	Input int64
}

type vmAnswer struct {
	Code           int
	Stdout, Stderr string
	Err            string
}

func (v *VM) ask(timeout time.Duration, req vmRequest, input io.Reader) (string, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(v.port)), timeout)
	if err != nil {
		return "", err
	}
	defer c.Close()
	err = errors.Join(c.SetDeadline(time.Now().Add(timeout)), json.NewEncoder(c).Encode(req))
	if err == nil && input != nil {
		_, err = io.Copy(c, input)
	}
	if err != nil {
		return "", err
	}
	var a vmAnswer
	if err := json.NewDecoder(bufio.NewReader(c)).Decode(&a); err != nil {
		return "", fmt.Errorf("the virtual machine did not answer: %w", err)
	}
	if a.Err == "" && a.Code != 0 {
		a.Err = fmt.Sprintf("exit code %d", a.Code)
	}
	if a.Err != "" {
		return a.Stdout, fmt.Errorf("%s: %s %s", strings.Join(req.Args, " "), a.Err, strings.TrimSpace(a.Stderr))
	}
	return a.Stdout, nil
}

// Run runs a program on the machine and returns its standard output.
func (v *VM) Run(args ...string) (string, error) { return v.ask(vmCall, vmRequest{Args: args}, nil) }

// Must is Run of a program that must succeed.
func (v *VM) Must(args ...string) string {
	v.e.t.Helper()
	return must[string](v.e.t, "run on the virtual machine")(v.Run(args...))
}

// Write makes a file on the machine, with its directories. It appears whole.
func (v *VM) Write(to, content string, mode fs.FileMode) {
	v.e.t.Helper()
	req := vmRequest{File: to, Mode: mode, Input: int64(len(content))}
	must[string](v.e.t, "write "+to+" on the virtual machine")(v.ask(vmCall, req, strings.NewReader(content)))
}

// Install copies a file of the host to the machine.
func (v *VM) Install(from, to string, mode fs.FileMode) {
	v.e.t.Helper()
	v.Write(to, string(must[[]byte](v.e.t, "read what is installed")(os.ReadFile(from))), mode)
}
