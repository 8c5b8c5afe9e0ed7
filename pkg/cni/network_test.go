package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/containernetworking/cni/libcni"
)

const single = `{"cniVersion":"0.3.1","name":"single","type":"bridge","ipam":{"type":"host-local"}}`

func list(name string) string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"plugins":[{"type":"bridge","ipam":{"type":"host-local"}},{"type":"portmap"}]}`, name)
}

func TestNetworks_FirstIsTheFirstValidFile(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string // network; "" for none
		says  []string
	}{
		"lexical order":       {files: map[string]string{"20-b.conflist": list("b"), "10-a.conflist": list("a")}, want: "a"},
		"one plugin":          {files: map[string]string{"10-a.conf": single}, want: "single"},
		"not the agent's own": {files: map[string]string{ConflistName: list("own"), "99-z.conflist": list("z")}, want: "z"},
		"garbled files are passed over": {
			files: map[string]string{"10-a.conflist": "{", "11-b.conf": `{"type":"bridge"}`, "12-c.conflist": `{"name":"c"}`, "13-d.conflist": list("../d"), "20-ok.conflist": list("ok")},
			want:  "ok", says: []string{"10-a.conflist", "11-b.conf", "12-c.conflist", "13-d.conflist"},
		},
		"other files are not looked at": {files: map[string]string{"10-a.conflist.bak": list("a"), "readme.txt": "x"}},
		"the agent's bridge comes last": {files: map[string]string{"../own/network.conflist": list("bridge")}, want: "bridge"},
		"plugins in a directory":        {files: map[string]string{"10-a.conflist": `{"cniVersion":"1.1.0","name":"dir"}`, "dir/1.conf": `{"type":"bridge"}`}, want: "dir"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			conf := filepath.Join(dir, "net.d")
			for file, content := range tc.files {
				if err := writeFile(filepath.Join(conf, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var log strings.Builder
			nets := &networks{confDir: conf, ownDir: filepath.Join(dir, "own"), log: slog.New(slog.NewTextHandler(&log, nil))}
			for range 2 { // a file that cannot be used is reported once
				net, err := nets.first()
				switch {
				case tc.want == "" && !errors.Is(err, errNoNetwork):
					t.Errorf("got %v, %v; want errNoNetwork", net, err)
				case tc.want != "" && (err != nil || net.Name != tc.want):
					t.Errorf("got %v, %v; want %s", net, err, tc.want)
				}
			}
			for _, file := range tc.says {
				if n := strings.Count(log.String(), file+":"); n != 1 {
					t.Errorf("%s is named %d times in the log, want once:\n%s", file, n, log.String())
				}
			}
		})
	}
}

func TestNetworks_SeesAChangedFile(t *testing.T) {
	dir := t.TempDir()
	nets := &networks{confDir: dir, ownDir: dir + "/own", log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"first", "second-name"} {
		if err := writeFile(dir+"/10-a.conflist", []byte(list(name)), 0o600); err != nil {
			t.Fatal(err)
		}
		if net, err := nets.first(); err != nil || net.Name != name {
			t.Errorf("got %v, %v; want %s", net, err, name)
		}
	}
	if err := os.Remove(dir + "/10-a.conflist"); err != nil {
		t.Fatal(err)
	}
	if _, err := nets.first(); !errors.Is(err, errNoNetwork) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want errNoNetwork that names the directory", err)
	}
}

func TestLoadNetwork_JournalsAListThatNeedsNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	for file, content := range map[string]string{
		"a.conflist": `{"cniVersion":"1.1.0","name":"dir","disableCheck":true}`, "dir/1.conf": `{"type":"bridge","mtu":1400}`, "dir/2.conf": `{"type":"portmap"}`,
	} {
		if err := writeFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	net, err := LoadNetwork(dir + "/a.conflist")
	if err != nil {
		t.Fatal(err)
	}
	again, err := libcni.NetworkConfFromBytes(net.raw)
	if err != nil || len(again.Plugins) != 2 || !again.DisableCheck || again.CNIVersion != "1.1.0" ||
		!strings.Contains(string(again.Plugins[0].Bytes), `"mtu":1400`) {
		t.Errorf("read back %+v, %v", again, err)
	}
}

func TestStatus_NamesWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	if err := w.node.Status(); err != nil {
		t.Error(err)
	}
	w.write("10-stub.conflist", list("real"))
	err := w.node.Status()
	for _, want := range []string{`"bridge"`, "containernetworking-plugins", "10-stub.conflist", "network.binDir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s in it", err, want)
		}
	}
	w.remove(w.conf + "/10-stub.conflist")
	if err := w.node.Status(); !errors.Is(err, errNoNetwork) {
		t.Errorf("error %v, want errNoNetwork", err)
	}
	if got := w.calls(); got != nil {
		t.Errorf("plugins ran: %v", got)
	}
}

func TestSettings_PassThroughTheConflist(t *testing.T) {
	s := Settings{Socket: "/run/s", Dir: "/var/d", ConfDir: "/etc/c", BinDirs: []string{"/opt/b"}}
	b, err := s.Conflist()
	if err != nil {
		t.Fatal(err)
	}
	conf, err := libcni.NetworkConfFromBytes(b)
	if err != nil || conf.CNIVersion != "1.0.0" || len(conf.Plugins) != 1 || !conf.Plugins[0].Network.Capabilities["portMappings"] {
		t.Fatalf("rendered %s: %v", b, err)
	}
	got, err := ParseSettings(conf.Plugins[0].Bytes)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ParseSettings([]byte(`{"socket":"/run/s"}`)); err == nil {
		t.Error("settings without a directory were taken")
	}
}

func TestNetwork_StartsOnlyThePluginsThatHaveWork(t *testing.T) {
	chain := `{"type":"bridge"},{"type":"portmap","snat":true,"capabilities":{"portMappings":true}},{"type":"bandwidth","capabilities":{"bandwidth":true}},{"type":"tuning"}`
	for name, tc := range map[string]struct {
		plugins, runtimeConfig string
		want                   []string
	}{
		"nothing to do":         {chain, `{}`, []string{"bridge", "tuning"}},
		"an empty list":         {chain, `{"portMappings":[],"bandwidth":null}`, []string{"bridge", "tuning"}},
		"a port":                {chain, `{"portMappings":[{"hostPort":80,"containerPort":80}]}`, []string{"bridge", "portmap", "tuning"}},
		"a limit":               {chain, `{"bandwidth":{"ingressRate":1}}`, []string{"bridge", "bandwidth", "tuning"}},
		"a limit in the list":   {`{"type":"bridge"},{"type":"bandwidth","ingressRate":1,"capabilities":{"bandwidth":true}}`, `{}`, []string{"bridge", "bandwidth"}},
		"ports in the list":     {`{"type":"bridge"},{"type":"portmap","runtimeConfig":{"portMappings":[]}}`, `{}`, []string{"bridge", "portmap"}},
		"the first always runs": {`{"type":"portmap","capabilities":{"portMappings":true}}`, `{}`, []string{"portmap"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.conflist")
			if err := writeFile(path, []byte(`{"cniVersion":"1.0.0","name":"a","plugins":[`+tc.plugins+`]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			net, err := LoadNetwork(path)
			if err != nil {
				t.Fatal(err)
			}
			var rc map[string]json.RawMessage
			if err := json.Unmarshal([]byte(tc.runtimeConfig), &rc); err != nil {
				t.Fatal(err)
			}
			raw, err := net.config(rc)
			if err != nil {
				t.Fatal(err)
			}
			used, err := libcni.NetworkConfFromBytes(raw)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range used.Plugins {
				got = append(got, p.Network.Type)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
