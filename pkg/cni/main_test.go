package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// TestMain makes this test binary a CNI plugin too: a symlink named "stub" to it runs stub. It fails on purpose, where
// real plugins cannot be made to; the real ones run in test/e2e/cni.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "stub" {
		os.Exit(stub())
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each stub of a race build takes a second to end
	os.Exit(m.Run())
}

// stubConf is the configuration of the stub plugin. A file of the named kind in State switches a failure on.
type stubConf struct {
	State string `json:"state"`
}

func stub() int {
	in, err := io.ReadAll(os.Stdin)
	var conf stubConf
	if err == nil {
		err = json.Unmarshal(in, &conf)
	}
	if err != nil {
		return stubFail(err)
	}
	command, id, ifName := os.Getenv("CNI_COMMAND"), os.Getenv("CNI_CONTAINERID"), os.Getenv("CNI_IFNAME")
	has := func(name string) bool { _, err := os.Stat(filepath.Join(conf.State, name)); return err == nil }
	attached := filepath.Join(conf.State, "attached-"+id+"-"+ifName)
	log, err := os.OpenFile(filepath.Join(conf.State, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return stubFail(err)
	}
	fmt.Fprintln(log, command, id, ifName)
	log.Close()
	os.WriteFile(filepath.Join(conf.State, "stdin-"+command), in, 0o600)
	switch command {
	case "ADD":
		if has("attached-" + id + "-" + ifName) {
			return stubFail(fmt.Errorf("%s is attached already", id))
		}
		if journalled, _ := filepath.Glob(filepath.Join(conf.State, "..", "*", "attachments", id+":"+ifName+".json")); len(journalled) == 0 {
			return stubFail(fmt.Errorf("%s is not journalled", id))
		}
		if err := os.WriteFile(attached, nil, 0o600); err != nil {
			return stubFail(err)
		}
		if has("hang") {
			os.WriteFile(filepath.Join(conf.State, "hanging"), nil, 0o600)
			for { // an empty select is a deadlock to the Go runtime, which ends the plugin instead
				_ = unix.Pause()
			}
		}
		if has("fail-add") {
			return stubFail(types.NewError(107, "no more addresses", ""))
		}
		fmt.Println(`{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}`)
	case "DEL":
		if has("fail-del") {
			return stubFail(fmt.Errorf("the device is busy"))
		}
		os.Remove(attached)
	}
	return 0
}

func stubFail(err error) int {
	e, ok := err.(*types.Error)
	if !ok {
		e = types.NewError(types.ErrInternal, err.Error(), "")
	}
	b, _ := json.Marshal(e)
	os.Stdout.Write(b)
	return 1
}

// world is a node with the stub as its only network plugin.
type world struct {
	t     *testing.T
	dir   string
	conf  string // directory
	state string // of the stub
	netns string // exists
	node  *Node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: filepath.Join(dir, "cni"), conf: filepath.Join(dir, "net.d"), state: filepath.Join(dir, "state"), netns: filepath.Join(dir, "netns")}
	for _, d := range []string{w.conf, w.state, filepath.Join(dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "bin", "stub")); err != nil {
		t.Fatal(err)
	}
	w.touch("../netns")
	w.write("10-stub.conflist", w.conflist("stubnet"))
	w.node = New(Config{Dir: w.dir, ConfDir: w.conf, BinDirs: []string{filepath.Join(dir, "bin")}, Settle: time.Minute})
	return w
}

func (w *world) conflist(name string) string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"plugins":[{"type":"stub","state":%q,"capabilities":{"portMappings":true}}]}`, name, w.state)
}

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.conf, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// touch makes a file in the stub's state, which switches one of its behaviours on.
func (w *world) touch(name string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.state, name), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(path string) {
	w.t.Helper()
	if err := os.Remove(path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) request(command, id string) Request {
	return Request{
		Command: command, ContainerID: id, NetNS: w.netns, IfName: "eth0",
		Args:   "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u-1",
		Config: json.RawMessage(`{"cniVersion":"0.4.0","name":"minikubelet","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}}`),
	}
}

// do fails the test when the command does.
func (w *world) do(command, id string) Response {
	w.t.Helper()
	resp := w.node.Do(context.Background(), w.request(command, id))
	if resp.Error != nil {
		w.t.Fatalf("%s %s: %v", command, id, resp.Error)
	}
	return resp
}

// calls returns what the stub was asked to do, and forgets it.
func (w *world) calls() []string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.state, "calls"))
	if err != nil {
		return nil
	}
	w.remove(filepath.Join(w.state, "calls"))
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// journalled lists the container IDs of the journal.
func (w *world) journalled() []string {
	w.t.Helper()
	all, err := w.node.List()
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, a := range all {
		ids = append(ids, a.ContainerID)
	}
	return ids
}

func resultIP(t *testing.T, resp Response) string {
	t.Helper()
	res, err := types100.NewResult(resp.Result)
	if err != nil {
		t.Fatal(err)
	}
	r, err := types100.GetResult(res)
	if err != nil || len(r.IPs) == 0 {
		t.Fatalf("result %s has no address (%v)", resp.Result, err)
	}
	return r.IPs[0].Address.String()
}

func writeFile(path string, b []byte, mode os.FileMode) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), atomicfile.Write(path, b, mode, atomicfile.None))
}
