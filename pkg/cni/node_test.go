package cni

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/containernetworking/cni/pkg/types"
)

func TestNode_AttachesAndReleases(t *testing.T) {
	w := newWorld(t)
	resp := w.do("ADD", "c1")
	if got := versionOf(t, resp.Result); got != "0.4.0" {
		t.Errorf("the result has CNI version %s, want that of the request, 0.4.0", got)
	}
	all, err := w.node.List()
	if err != nil || len(all) != 1 {
		t.Fatalf("journal has %v (%v), want one entry", all, err)
	}
	want := PodRef{Namespace: "default", Name: "web", UID: "u-1"}
	if all[0].Pod != want || all[0].Network != "stubnet" || all[0].NetNS != w.netns {
		t.Errorf("journalled %+v", all[0])
	}
	stdin, err := os.ReadFile(filepath.Join(w.state, "stdin-ADD"))
	if err != nil || !strings.Contains(string(stdin), `"hostPort":8080`) {
		t.Errorf("the network got %s (%v), want the runtime's port mappings in it", stdin, err)
	}
	w.do("CHECK", "c1")
	w.do("DEL", "c1")
	w.do("DEL", "c1") // a runtime repeats it; what is known to be released costs no plugin
	if got := w.journalled(); got != nil {
		t.Errorf("left in the journal: %v", got)
	}
	if diff := cmp.Diff([]string{"ADD c1 eth0", "CHECK c1 eth0", "DEL c1 eth0"}, w.calls()); diff != "" {
		t.Error(diff)
	}
}

func versionOf(t *testing.T, result []byte) string {
	t.Helper()
	var v struct{ CNIVersion string }
	if err := json.Unmarshal(result, &v); err != nil {
		t.Fatalf("result %s: %v", result, err)
	}
	return v.CNIVersion
}

func TestNode_TearsDownWithTheConfigurationOfTheAdd(t *testing.T) {
	w := newWorld(t)
	w.do("ADD", "c1")
	w.write("10-stub.conflist", `{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"absent"}]}`)
	w.do("DEL", "c1")
	if _, err := os.Stat(filepath.Join(w.state, "attached-c1-eth0")); err == nil {
		t.Error("c1 is still attached")
	}
	stdin, _ := os.ReadFile(filepath.Join(w.state, "stdin-DEL"))
	for _, want := range []string{`"name":"stubnet"`, `"hostPort":8080`, `"prevResult"`} {
		if !strings.Contains(string(stdin), want) {
			t.Errorf("DEL got %s, want %s in it", stdin, want)
		}
	}
}

func TestNode_DelWithoutJournal(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*world)
		calls   []string
	}{
		"uses the default network":            {func(*world) {}, []string{"DEL c1 eth0"}},
		"succeeds when there is none":         {func(w *world) { w.remove(w.conf + "/10-stub.conflist") }, nil},
		"tolerates a missing netns directory": {func(w *world) { w.remove(w.netns) }, []string{"DEL c1 eth0"}},
		"sets a garbled entry aside": {func(w *world) {
			if err := writeFile(w.dir+"/attachments/c1:eth0.json", []byte("{\"containerID\":"), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"DEL c1 eth0"}},
		"sets a directory in the place of an entry aside": {func(w *world) {
			if err := os.MkdirAll(w.dir+"/attachments/c1:eth0.json", 0o700); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"DEL c1 eth0"}},
		"sets an entry of another container aside": {func(w *world) {
			if err := writeFile(w.dir+"/attachments/c1:eth0.json", []byte(`{"containerID":"../x","ifname":"eth0"}`), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"DEL c1 eth0"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.prepare(w)
			w.do("DEL", "c1")
			if diff := cmp.Diff(tc.calls, w.calls()); diff != "" {
				t.Error(diff)
			}
			bad, _ := filepath.Glob(w.dir + "/attachments/*.bad")
			if garbled := strings.Contains(name, "aside"); garbled != (len(bad) == 1) {
				t.Errorf("set aside: %v", bad)
			}
		})
	}
}

func TestNode_FailedAddIsUndone(t *testing.T) {
	w := newWorld(t)
	w.touch("fail-add")
	resp := w.node.Do(t.Context(), w.request("ADD", "c1"))
	if resp.Error == nil || resp.Error.Code != 107 || !strings.Contains(resp.Error.Msg, "no more addresses") {
		t.Errorf("error %+v, want the plugin's own code and text", resp.Error)
	}
	if diff := cmp.Diff([]string{"ADD c1 eth0", "DEL c1 eth0"}, w.calls()); diff != "" {
		t.Error(diff)
	}
	if got := w.journalled(); got != nil {
		t.Errorf("left in the journal, or locked: %v", got)
	}
}

func TestNode_FailedAddThatCannotBeUndoneStaysJournalled(t *testing.T) {
	w := newWorld(t)
	w.touch("fail-add")
	w.touch("fail-del")
	if resp := w.node.Do(t.Context(), w.request("ADD", "c1")); resp.Error == nil {
		t.Fatal("ADD succeeded")
	}
	if diff := cmp.Diff([]string{"c1"}, w.journalled()); diff != "" {
		t.Fatal(diff)
	}
	w.remove(w.state + "/fail-add")
	if resp := w.node.Do(t.Context(), w.request("ADD", "c1")); resp.Error == nil {
		t.Error("a second ADD succeeded though what the first one left cannot be released")
	}
	w.remove(w.state + "/fail-del")
	w.do("ADD", "c1")
}

func TestNode_ResumesWhatADeadAgentFinished(t *testing.T) {
	w := newWorld(t)
	first := w.do("ADD", "c1")
	w.calls()
	r := w.request("ADD", "c1")
	r.Resume = true
	again := w.node.Do(t.Context(), r)
	if diff := cmp.Diff(string(first.Result), string(again.Result)); diff != "" || again.Error != nil {
		t.Errorf("%v %s", again.Error, diff)
	}
	if got := w.calls(); got != nil {
		t.Errorf("plugins ran again: %v", got)
	}
	// Killed before the result was stored: nobody knows how far it came.
	results, _ := filepath.Glob(w.dir + "/results/*")
	w.remove(results[0])
	if again = w.node.Do(t.Context(), r); again.Error != nil {
		t.Fatal(again.Error)
	}
	if diff := cmp.Diff([]string{"DEL c1 eth0", "ADD c1 eth0"}, w.calls()); diff != "" {
		t.Error(diff)
	}
}

func TestNode_ExtraNetworksAreAttachedAfterAndReleasedBefore(t *testing.T) {
	w := newWorld(t)
	w.write("more", strings.Replace(w.conflist("storage"), "\"stub\"", "\"stub\"", 1))
	extra, err := LoadNetwork(rename(t, w.conf+"/more", w.state+"/storage.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	w.node.cfg.Extra = func(_ context.Context, p PodRef, _ map[string]json.RawMessage) ([]Extra, error) {
		if p.Name != "web" {
			t.Errorf("asked for pod %+v", p)
		}
		return []Extra{{Network: extra, IfName: "net1"}, {Network: extra, IfName: "net2"}}, nil
	}
	w.do("ADD", "c1")
	w.do("DEL", "c1")
	want := []string{"ADD c1 eth0", "ADD c1 net1", "ADD c1 net2", "DEL c1 net2", "DEL c1 net1", "DEL c1 eth0"}
	if diff := cmp.Diff(want, w.calls()); diff != "" {
		t.Error(diff)
	}
}

func rename(t *testing.T, from, to string) string {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestNode_RefusesNamesThatAreNoFileNames(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Request){
		"path":              func(r *Request) { r.ContainerID = "../../etc/passwd" },
		"dots":              func(r *Request) { r.ContainerID = ".." },
		"slash":             func(r *Request) { r.ContainerID = "a/b" },
		"colon":             func(r *Request) { r.ContainerID = "a:b" },
		"empty":             func(r *Request) { r.ContainerID = "" },
		"long":              func(r *Request) { r.ContainerID = strings.Repeat("a", 201) },
		"interface path":    func(r *Request) { r.IfName = "../x" },
		"interface dots":    func(r *Request) { r.IfName = ".." },
		"interface long":    func(r *Request) { r.IfName = "eth0123456789012" },
		"no netns":          func(r *Request) { r.NetNS = "" },
		"unknown command":   func(r *Request) { r.Command = "EXEC" },
		"garbled config":    func(r *Request) { r.Config = json.RawMessage(`[]`) },
		"garbled arguments": func(r *Request) { r.Args = "K8S_POD_NAME" },
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request("ADD", "c1")
			change(&r)
			resp := w.node.Do(t.Context(), r)
			if resp.Error == nil || resp.Error.Code == types.ErrInternal {
				t.Errorf("got %+v, want an error with a code of its own", resp)
			}
		})
	}
	if got := w.calls(); got != nil {
		t.Errorf("plugins ran: %v", got)
	}
}

func TestNode_OneContainerIsWorkedOnByOneRequestAtATime(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 4 {
		for _, id := range []string{"c1", "c2", "c3"} {
			wg.Go(func() {
				// The stub refuses an ADD on top of another one: each must see what the one before left.
				if resp := w.node.Do(context.Background(), w.request("ADD", id)); resp.Error != nil {
					t.Error(resp.Error)
				}
				if resp := w.node.Do(context.Background(), w.request("DEL", id)); resp.Error != nil {
					t.Error(resp.Error)
				}
			})
		}
	}
	wg.Wait()
	if got := w.journalled(); got != nil {
		t.Errorf("left in the journal: %v", got)
	}
}

func TestLock_WaitsNoLongerThanTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cni", "lock")
	l, err := tryTake(path, "c1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := take(t.Context(), path, "c2")
	if err != nil {
		t.Fatalf("another container waits: %v", err)
	}
	other.release()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := take(ctx, path, "c1"); err == nil || ctx.Err() == nil {
			t.Errorf("took a lock that is held: %v", err)
		}
	})
	l.release()
	if l, err = take(t.Context(), path, "c1"); err != nil {
		t.Fatal(err)
	}
	l.release()
}

// A plugin that outlives the agent still works on its container.
func TestLock_IsHeldByWhoInheritsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := tryTake(path, "c1")
	if err != nil {
		t.Fatal(err)
	}
	plugin := exec.CommandContext(t.Context(), "cat")
	plugin.ExtraFiles = []*os.File{l.f}
	in, err := plugin.StdinPipe()
	if err = errors.Join(err, plugin.Start()); err != nil {
		t.Fatal(err)
	}
	l.release()
	if _, err := tryTake(path, "c1"); !errors.Is(err, errLocked) {
		t.Errorf("took the lock of a plugin that runs: %v", err)
	}
	if err := errors.Join(in.Close(), plugin.Wait()); err != nil {
		t.Error(err)
	}
	if l, err = tryTake(path, "c1"); err != nil {
		t.Fatal(err)
	}
	l.release()
}

func TestNode_HungPluginIsKilledWhenTheRuntimeGivesUp(t *testing.T) {
	w := newWorld(t)
	w.touch("hang")
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		awaitFile(t, w.state+"/hanging")
		cancel(errGone)
	})
	resp := w.node.Do(ctx, w.request("ADD", "c1"))
	wg.Wait()
	if resp.Error == nil || !strings.Contains(resp.Error.Msg, errGone.Error()) {
		t.Errorf("error %+v, want %q in it", resp.Error, errGone)
	}
	if diff := cmp.Diff([]string{"ADD c1 eth0", "DEL c1 eth0"}, w.calls()); diff != "" {
		t.Error(diff)
	}
	if got := w.journalled(); got != nil {
		t.Errorf("left in the journal: %v", got)
	}
}
