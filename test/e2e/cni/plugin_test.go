package cni_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// pluginDirs are the real network plugins: Debian's 1.1 and those of the tools.
func pluginDirs(t *testing.T) map[string]string {
	return map[string]string{"plugins 1.1": "/usr/lib/cni", "plugins 1.9": testbed.PluginsDir(t)}
}

func TestPlugin_AttachesThroughTheAgent(t *testing.T) {
	for name, dir := range pluginDirs(t) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, testbed.New(t), dir, gateNone)
			n.startAgent()
			ns := n.netns("a")
			ip := n.must("ADD", "a", ns)
			if diff := cmp.Diff([]string{ip.String()}, n.inside(ns)); diff != "" {
				t.Error(diff)
			}
			n.must("CHECK", "a", ns)
			n.must("STATUS", "", "")
			n.must("DEL", "a", ns)
			n.must("DEL", "a", "")
			if _, err := n.run("CHECK", "a", ns); err == nil {
				t.Error("CHECK of what was released succeeded")
			}
			n.nothingLeft()
			if log := n.agent.Output(); strings.Count(log, "command=ADD") != 1 || strings.Count(log, "command=DEL") != 2 {
				t.Errorf("the agent was not asked:\n%s", log)
			}
		})
	}
}

func TestPlugin_WorksWithoutTheAgent(t *testing.T) {
	n := newNode(t, testbed.New(t), "/usr/lib/cni", gateNone)
	a, b := n.netns("a"), n.netns("b")
	n.must("ADD", "a", a) // there is no socket
	n.startAgent()
	n.must("CHECK", "a", a) // before b: a bridge's MAC follows its ports, and the plugin's CHECK compares it
	n.must("ADD", "b", b)
	n.agent.Kill() // the socket is stale now
	if err := os.Remove(filepath.Join(n.settings.ConfDir, "10-e2e.conflist")); err != nil {
		t.Fatal(err)
	}
	n.must("DEL", "b", b)
	n.startAgent()
	n.must("DEL", "a", a)
	n.nothingLeft()
}

func TestPlugin_FinishesTheAddOfAnAgentThatIsKilled(t *testing.T) {
	for name, g := range map[string]int{"before the interface is made": gateBefore, "after it was made": gateAfter} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, testbed.New(t), "/usr/lib/cni", g)
			n.startAgent()
			ns := n.netns("a")
			cmd := n.command("ADD", "a", ns, "")
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			n.reached()
			n.agent.Kill()
			// The killed agent's network plugin still runs, so the agent's plugin waits: two would fight over the interface.
			testbed.Consistently(t, 100*time.Millisecond, "the plugin waits", func() error {
				if got := taken(t, n.e.Path("ipam")); len(got) > 1 {
					return fmt.Errorf("two attempts at a time took %v", got)
				}
				return nil
			})
			n.e.WriteFile("", "gate", "open")
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %s", err, out.Bytes())
			}
			ip, err := address(out.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{ip.String()}, n.inside(ns)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{ip.String()}, taken(t, n.e.Path("ipam"))); diff != "" {
				t.Error(diff)
			}
			n.must("DEL", "a", ns)
			n.nothingLeft()
		})
	}
}

// reached waits until an ADD is held at the gate.
func (n *node) reached() {
	n.t.Helper()
	testbed.Eventually(n.t, 10*time.Second, "the gate is reached", func() error {
		_, err := os.Stat(filepath.Join(n.gateDir, "reached"))
		return err
	})
}

func TestRelease_FreesWhatAKilledNodeLeft(t *testing.T) {
	for name, g := range map[string]int{"killed between the journal and the interface": gateBefore, "killed before the answer": gateAfter} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, testbed.New(t), "/usr/lib/cni", g)
			n.startAgent()
			ns := n.netns("a")
			cmd := n.command("ADD", "a", ns, "")
			runtime := n.e.Start("plugin", cmd)
			n.reached()
			// The runtime, its plugin and the agent die at once; the orphaned network plugin goes on until the gate opens.
			n.agent.Kill()
			runtime.Kill()
			if left, err := n.local().Release(t.Context(), func(string) bool { return false }); left != 1 || err == nil {
				t.Errorf("released under a plugin that still runs: left %d, %v", left, err)
			}
			n.e.WriteFile("", "gate", "open")
			testbed.Eventually(t, 10*time.Second, "the leak is released", func() error {
				left, err := n.local().Release(t.Context(), func(string) bool { return false })
				if err == nil && left > 0 {
					err = fmt.Errorf("%d left", left)
				}
				return err
			})
			n.nothingLeft()
			if got := n.inside(ns); got != nil {
				t.Errorf("the namespace still has %v", got)
			}
		})
	}
}

func TestPlugin_TwentyAtOnce(t *testing.T) {
	const pods = 20
	n := newNode(t, testbed.New(t), "/usr/lib/cni", gateNone)
	n.startAgent()
	var spaces []string
	for i := range pods {
		spaces = append(spaces, n.netns(fmt.Sprint("p", i)))
	}
	each := func(verb string) {
		var wg sync.WaitGroup
		for i, ns := range spaces {
			wg.Go(func() {
				if _, err := n.run(verb, fmt.Sprint("p", i), ns); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	each("ADD")
	var got []string
	for _, ns := range spaces {
		got = append(got, n.inside(ns)...)
	}
	slices.Sort(got)
	if unique := slices.Compact(got); len(unique) != pods {
		t.Errorf("%d addresses are distinct, want %d: %v", len(unique), pods, unique)
	}
	each("DEL")
	n.nothingLeft()
}

func TestPlugin_AnswersVersionAndBadInputByItself(t *testing.T) {
	e := testbed.New(t)
	n := newNode(t, e, "/usr/lib/cni", gateNone)
	out, err := n.command("VERSION", "", "", "").Output()
	if err != nil || !strings.Contains(string(out), `"1.0.0"`) || !strings.Contains(string(out), `"1.1.0"`) {
		t.Errorf("VERSION gave %s, %v", out, err)
	}
	for name, change := range map[string]func(*exec.Cmd){
		"no settings":       func(c *exec.Cmd) { c.Stdin = strings.NewReader(`{"cniVersion":"1.0.0"}`) },
		"garbled":           func(c *exec.Cmd) { c.Stdin = strings.NewReader(`{`) },
		"path as container": func(c *exec.Cmd) { c.Env = append(c.Env, "CNI_CONTAINERID=../../x") },
		"no command":        func(c *exec.Cmd) { c.Env = append(c.Env, "CNI_COMMAND=") },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := n.command("ADD", "a", "/proc/self/ns/net", "")
			change(cmd)
			out, err := cmd.Output()
			if err == nil || !strings.Contains(string(out), `"code":`) {
				t.Errorf("got %s, %v; want a CNI error", out, err)
			}
		})
	}
	n.nothingLeft()
}
