package plugin

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"

	"github.com/minikubelet/minikubelet/pkg/cni"
)

func TestBridge_KeepsItsSubnet(t *testing.T) {
	dir := t.TempDir()
	want := netip.MustParsePrefix("10.77.0.0/24")
	if err := writeBridge(dir, Bridge{Device: "mktest0", Subnet: []netip.Prefix{want, netip.MustParsePrefix("fd00:77::/64")}}); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(dir + "/" + cni.OwnNetworkFile)
	if err := writeBridge(dir, Bridge{Device: "mktest0"}); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(dir + "/" + cni.OwnNetworkFile)
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
	net, err := libcni.NetworkConfFromFile(dir + "/" + cni.OwnNetworkFile)
	if err != nil || net.Name != bridgeNetwork || len(net.Plugins) != 2 {
		t.Fatalf("loaded %+v, %v", net, err)
	}
	var conf struct {
		Bridge      string
		HairpinMode bool
		IPMasq      bool
		IPAM        struct {
			Ranges [][]struct{ Subnet string }
			Routes []struct{ Dst string }
		}
	}
	if err := json.Unmarshal(net.Plugins[0].Bytes, &conf); err != nil {
		t.Fatal(err)
	}
	if conf.Bridge != "mktest0" || !conf.HairpinMode || !conf.IPMasq || conf.IPAM.Ranges[0][0].Subnet != want.String() || conf.IPAM.Routes[1].Dst != "::/0" {
		t.Errorf("rendered %+v", conf)
	}
	if gone, err := forgetBridge(dir); !gone || err != nil {
		t.Errorf("not removed: %v", err)
	}
	if gone, err := forgetBridge(dir); gone || err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

// A Node's pod CIDR comes after the network that bridges the time until then: it replaces that, but not under pods.
func TestRenumber_WaitsForPods(t *testing.T) {
	s := cni.Settings{Dir: t.TempDir()}
	path := filepath.Join(s.Dir, cni.OwnNetworkFile)
	bridge := func(subnet string) Bridge {
		return Bridge{Device: "mktestnone0", Subnet: []netip.Prefix{netip.MustParsePrefix(subnet)}}
	}
	expect := func(what string, ok bool, in string) {
		t.Helper()
		got, err := renumber(s, bridge("10.244.1.0/24"))
		text, _ := os.ReadFile(path)
		if got != ok || err != nil || !strings.Contains(string(text), in) {
			t.Errorf("%s: Renumber() = %t, %v; the network is %q", what, got, err, text)
		}
	}
	expect("not in use", false, "")
	if err := writeBridge(s.Dir, bridge("10.88.0.0/16")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Dir, "attachments", "c:eth0.json"), `{"containerID":"c","ifname":"eth0","network":"`+bridgeNetwork+`","config":`+network+`}`)
	expect("a pod is attached", false, "10.88.0.0/16")
	if err := os.RemoveAll(filepath.Join(s.Dir, "attachments")); err != nil {
		t.Fatal(err)
	}
	expect("the pod has gone", true, "10.244.1.0/24")
	expect("done", true, "10.244.1.0/24")
}

// A network that a cluster brings later may have the same addresses: the bridge goes, once the pods on it were moved.
func TestYield_LeavesTheBridgeForAnotherNetwork(t *testing.T) {
	dir := t.TempDir()
	s := cni.Settings{Dir: filepath.Join(dir, "own"), ConfDir: filepath.Join(dir, "net.d")}
	b := Bridge{Device: "mktestnone0", Subnet: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")}}
	expect := func(what string, on int, there bool) {
		t.Helper()
		got, err := yield(s, b)
		if _, statErr := os.Stat(filepath.Join(s.Dir, cni.OwnNetworkFile)); len(got) != on || err != nil || (statErr == nil) != there {
			t.Errorf("%s: Yield() = %v, %v; the bridge: %v", what, got, err, statErr)
		}
	}
	expect("not in use", 0, false)
	if err := writeBridge(s.Dir, b); err != nil {
		t.Fatal(err)
	}
	attachment := filepath.Join(s.Dir, "attachments", "c:eth0.json")
	write(t, attachment, `{"containerID":"c","ifname":"eth0","network":"`+bridgeNetwork+`","config":`+network+`}`)
	expect("there is no other network", 0, true)
	write(t, filepath.Join(s.ConfDir, "10-net.conflist"), network)
	expect("a pod is attached", 1, true)
	if err := os.Remove(attachment); err != nil {
		t.Fatal(err)
	}
	expect("the pod has moved", 0, false)
}

func TestFreeSubnet_AvoidsTheHosts(t *testing.T) {
	for name, tc := range map[string]struct {
		taken []string
		want  string
	}{
		"nothing taken":   {nil, "10.88.0.0/16"},
		"a part of it":    {[]string{"10.88.3.0/24", "127.0.0.0/8", "::1/128"}, "10.89.0.0/16"},
		"all of 10":       {[]string{"10.0.0.0/8"}, "172.30.0.0/16"},
		"everything":      {[]string{"0.0.0.0/0"}, ""},
		"10, 172 and 192": {[]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.1.0/24"}, "192.168.128.0/17"},
	} {
		t.Run(name, func(t *testing.T) {
			var taken []netip.Prefix
			for _, s := range tc.taken {
				taken = append(taken, netip.MustParsePrefix(s))
			}
			got, err := freeSubnet(taken)
			if tc.want == "" && err == nil || tc.want != "" && got.String() != tc.want {
				t.Errorf("got %s, %v; want %q", got, err, tc.want)
			}
		})
	}
}
