package cni_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/cni"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// BenchmarkAddDel compares one attachment, made and released, by libcni directly (what the runtime does without the
// agent), by the agent's code (direct, with journal and lock), and by the whole way through the plugin and the agent: one
// at a time and 20 at once.
func BenchmarkAddDel(b *testing.B) {
	for _, atOnce := range []int{1, 20} {
		n := newNode(b, testbed.New(b), "/usr/lib/cni", gateNone)
		n.startAgent()
		list, err := libcni.NetworkConfFromFile(n.e.Path("net.d", "10-e2e.conflist"))
		if err != nil {
			b.Fatal(err)
		}
		direct := libcni.NewCNIConfigWithCacheDir(n.settings.BinDirs, n.e.Path("cache"), nil)
		local := n.local()
		ways := map[string]func(id, ns string) error{
			"direct": func(id, ns string) error {
				rt := &libcni.RuntimeConf{ContainerID: id, NetNS: ns, IfName: "eth0", Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", id}}}
				if _, err := direct.AddNetworkList(context.Background(), list, rt); err != nil {
					return err
				}
				return direct.DelNetworkList(context.Background(), list, rt)
			},
			"node": func(id, ns string) error {
				for _, verb := range []string{"ADD", "DEL"} {
					resp := local.Do(context.Background(), cni.Request{
						Command: verb, ContainerID: id, NetNS: ns, IfName: "eth0", Args: "IgnoreUnknown=1;K8S_POD_NAME=" + id, Config: []byte(`{"cniVersion":"1.0.0"}`),
					})
					if resp.Error != nil {
						return resp.Error
					}
				}
				return nil
			},
			"agent": func(id, ns string) error {
				if _, err := n.run("ADD", id, ns); err != nil {
					return err
				}
				_, err := n.run("DEL", id, ns)
				return err
			},
		}
		var spaces []string
		for i := range atOnce {
			spaces = append(spaces, n.netns(fmt.Sprint("p", i)))
		}
		for _, way := range []string{"direct", "node", "agent"} {
			b.Run(fmt.Sprintf("%s/%d at once", way, atOnce), func(b *testing.B) {
				before := n.cpu()
				defer func() {
					b.ReportMetric((n.cpu()-before).Seconds()*1000/float64(b.N*atOnce), "cpu-ms/pod")
				}()
				for b.Loop() {
					var wg sync.WaitGroup
					for i, ns := range spaces {
						wg.Go(func() {
							if err := ways[way](fmt.Sprint("p", i), ns); err != nil {
								b.Error(err)
							}
						})
					}
					wg.Wait()
				}
			})
		}
	}
}

// cpu is the processor time of this process, of the agent, and of all processes of both that have ended.
func (n *node) cpu() time.Duration {
	n.t.Helper()
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			n.t.Fatal(err)
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.agent.Pid()))
	if err != nil {
		n.t.Fatal(err)
	}
	// proc(5): utime, stime, cutime and cstime are fields 14 to 17, in ticks of 10 ms; the third follows the name in parentheses.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:15] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			n.t.Fatal(err)
		}
		total += time.Duration(ticks) * 10 * time.Millisecond
	}
	return total
}

// BenchmarkPluginStart is what every command pays at least: the start of the plugin, and its end.
func BenchmarkPluginStart(b *testing.B) {
	n := newNode(b, testbed.New(b), "/usr/lib/cni", gateNone)
	for b.Loop() {
		if err := n.command("VERSION", "", "", "").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
