package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

const header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// files are the files of a machine by path; those below d/ are drop-ins.
type files map[string]string

func (f files) loaded(t *testing.T, args ...string) (*Loaded, error) {
	t.Helper()
	flags := NewFlags()
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return Load(flags, Files{
		Read: func(name string) ([]byte, error) {
			text, ok := f[name]
			if !ok {
				return nil, os.ErrNotExist
			}
			return []byte(text), nil
		},
		Drops: func(dir string) ([]string, error) {
			var out []string
			for name := range f {
				if strings.HasPrefix(name, dir+"/") {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out, nil
		},
	})
}

func load(t *testing.T, file string, args ...string) (Config, error) {
	t.Helper()
	l, err := files{"c.yaml": file}.loaded(t, append([]string{"--config=c.yaml"}, args...)...)
	if err != nil {
		return Config{}, err
	}
	return l.Config, nil
}

func TestLoad_HasTheKubeletsDefaults(t *testing.T) {
	for name, c := range map[string]func() (Config, error){
		"no file": func() (Config, error) {
			l, err := files{}.loaded(t)
			if err != nil {
				return Config{}, err
			}
			return l.Config, nil
		},
		"an empty one": func() (Config, error) { return load(t, header) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := c()
			if err != nil {
				t.Fatal(err)
			}
			got := []any{cfg.Server.Address.String(), cfg.Server.Healthz.String(), cfg.Sources.Path, cfg.Sources.Rescan, cfg.Node.MaxPods,
				cfg.Node.Intervals.Lease, cfg.Node.Intervals.Status, cfg.Node.Intervals.Report, cfg.Eviction.Hard["memory.available"],
				cfg.Eviction.Transition, cfg.Images.Serialize, cfg.Cgroups.Driver, cfg.Cgroups.PodPIDs, cfg.Pods.LogMaxSize,
				cfg.Pods.MaxRestartDelay, cfg.Runtime.Endpoint, cfg.Runtime.ImageEndpoint, cfg.Network.Provider, cfg.Agent.Socket,
				cfg.Agent.Root, cfg.DNS.ResolvConf, cfg.Server.Auth.Anonymous}
			want := []any{"0.0.0.0:10250", "127.0.0.1:10248", "", 20 * time.Second, 110,
				40 * time.Second, 10 * time.Second, 5 * time.Minute, "100Mi",
				5 * time.Minute, true, "auto", int64(-1), int64(10 << 20),
				5 * time.Minute, "unix:///run/containerd/containerd.sock", "unix:///run/containerd/containerd.sock", "auto",
				"/run/minikubelet/minikubelet.sock", "/var/lib/kubelet", "/etc/resolv.conf", false}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoad_FlagsWinOverTheFile(t *testing.T) {
	cfg, err := load(t, header+"port: 1\nmaxPods: 5\nstaticPodPath: /a\nclusterDNS: [10.0.0.1]\nevictionHard: {memory.available: 1Gi}\nregisterNode: false\n",
		"--port=2", "--pod-manifest-path=/b", "--cluster-dns=10.0.0.2,10.0.0.3", "--eviction-hard=memory.available<5%,nodefs.available<1Gi",
		"--node-labels=a=b,c=d", "--register-with-taints=k=v:NoSchedule", "--node-ip=192.0.2.1,2001:db8::1", "--hostname-override=Node-A",
		"--kubeconfig=/k", "--v=4", "--cloud-provider=external", "--register-schedulable=false", "--rotate-server-certificates", "--pod-cidr=10.1.0.0/24")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{cfg.Server.Address.Port(), cfg.Node.MaxPods, cfg.Sources.Path, cfg.DNS.Servers, cfg.Eviction.Hard, cfg.Node.Labels,
		cfg.Node.Taints, len(cfg.Node.IPs), cfg.Node.Name, cfg.Node.Register, cfg.Agent.LogLevel.String(),
		cfg.Node.ExternalCloud, cfg.Node.Unschedulable, cfg.Certs.BootstrapServing, cfg.Network.PodCIDR.IsValid()}
	want := []any{uint16(2), 5, "/b", []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")},
		map[string]string{"memory.available": "5%", "nodefs.available": "1Gi"}, map[string]string{"a": "b", "c": "d"},
		[]v1.Taint{{Key: "k", Value: "v", Effect: "NoSchedule"}}, 2, "node-a", false, "DEBUG",
		true, true, true, false} // the API server tells a joined node's pod CIDR
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestLoad_ReadsItsOwnDocument(t *testing.T) {
	cfg, err := load(t, header+"---\napiVersion: minikubelet.dev/v1alpha1\nkind: MinikubeletConfiguration\n"+
		"network: {provider: runtime, confDir: /c, binDir: /x, podCIDR: 10.1.0.0/16}\nlocalAPI: {socket: /s}\nstartLimit: 3\n")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{cfg.Network.Provider, cfg.Network.ConfDir, cfg.Network.BinDirs, cfg.Network.PodCIDR.String(), cfg.Agent.Socket, cfg.Pods.StartLimit}
	if d := cmp.Diff([]any{"runtime", "/c", []string{"/x"}, "10.1.0.0/16", "/s", 3}, got); d != "" {
		t.Error(d)
	}
}

// Debian's containerd looks into /usr/lib/cni, others into /opt/cni/bin: a default would hide what the runtime says.
func TestLoad_LeavesDirectoriesOfCNIToTheRuntime(t *testing.T) {
	cfg, err := load(t, header)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Network{Provider: "auto"}, cfg.Network, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// What kubeadm writes, but for the fields that stand in the next test.
func TestLoad_TakesZeroValuesOfAnyField(t *testing.T) {
	_, err := load(t, header+`authentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 0s, enabled: true}, x509: {clientCAFile: /etc/ca.crt}}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 0s, cacheUnauthorizedTTL: 0s}}
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: null
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
logging: {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
memorySwap: {}
rotateCertificates: false
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
streamingConnectionIdleTimeout: 0s
`)
	if err != nil {
		t.Error(err)
	}
}

func TestLoad_TakesWhatAKubeletTellsOfItself(t *testing.T) {
	if _, err := load(t, `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
configMapAndSecretChangeDetectionStrategy: Watch
contentType: application/vnd.kubernetes.protobuf
cpuManagerPolicy: none
cpuManagerReconcilePeriod: 10s
enableSystemLogQuery: false
failCgroupV1: true
hairpinMode: promiscuous-bridge
iptablesDropBit: 15
iptablesMasqueradeBit: 14
logging: {flushFrequency: 5s, format: text, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
makeIPTablesUtilChains: true
maxOpenFiles: 1000000
memoryManagerPolicy: None
memoryReservationPolicy: None
memorySwap: {}
memoryThrottlingFactor: 0.9
nodeLeaseDurationSeconds: 40
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
singleProcessOOMKill: false
syncFrequency: 1m0s
topologyManagerPolicy: none
topologyManagerScope: container
volumePluginDir: /usr/libexec/kubernetes/kubelet-plugins/volume/exec/
volumeStatsAggPeriod: 1m0s
`); err != nil {
		t.Error(err)
	}
}

func TestLoad_ReportsEverythingThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
		want []string
	}{
		"fields": {header + "maxPod: 3\nrunOnce: true\ncpuManagerPolicy: static\nport: \"1\"\n", nil, []string{
			`c.yaml: document 1: line 3: maxPod: unknown field: did you mean "maxPods"?`,
			`c.yaml: document 1: line 6: port: must be a number, but this is a string (1)`,
			`c.yaml: document 1: line 4: runOnce: this agent does not support the field: remove it`,
			`c.yaml: document 1: line 5: cpuManagerPolicy: this agent supports only none: change it or remove it`}},
		"values": {header + "maxPods: -1\nclusterDNS: [x]\nevictionHard: {memory.available: lots}\nstaticPodPath: a\nfeatureGates: {Nope: true, MemoryQoS: true, JobManagedBy: false, sidecarContainers: true, ImageVolume: true}\n", nil,
			[]string{"c.yaml:7: featureGates.MemoryQoS: always false in this agent: remove it", "c.yaml:7: featureGates.Nope: unknown to this agent: remove it",
				`c.yaml:7: featureGates.sidecarContainers: unknown: did you mean "SidecarContainers"?`,
				"c.yaml:3: maxPods: must be more than 0", `c.yaml:4: clusterDNS: "x" is no IP address`, `c.yaml:6: staticPodPath: "a" must be an absolute path`,
				`c.yaml:5: evictionHard.memory.available: "lots" is neither a quantity such as 100Mi nor a percentage such as 10%`}},
		"documents": {header + "---\n" + header + "---\nkind: X\n", nil, []string{
			"c.yaml: document 2: line 5: kind: a second KubeletConfiguration: put everything into one",
			`c.yaml: document 3: line 7: kind: must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1 or MinikubeletConfiguration of minikubelet.dev/v1alpha1, not "X" of ""`}},
		"flags": {header, []string{"--node-ip=1.2.3", "--max-pods=-1", "--cpu-cfs-quota-period=5s", "--cloud-provider=aws", "--pod-cidr=10.1.0.1/24"}, []string{
			`--cloud-provider: "aws" must be one of external`,
			`--node-ip: "1.2.3" is no IP address`, "--max-pods: must be more than 0", "--cpu-cfs-quota-period: 5s is not between 1ms and 1s",
			`--pod-cidr: "10.1.0.1/24" is no network: write 10.88.0.0/16`}},
		"flags of fields that it does not support": {header, []string{"--cpu-manager-policy=static", "--read-only-port=10255", "--reserved-cpus=0", "--runonce=false", "--hairpin-mode=none"}, []string{
			"--cpu-manager-policy: this agent supports only none: change it or remove it",
			"--read-only-port: this agent does not support the field: remove it",
			"--reserved-cpus: this agent does not support the field: remove it"}},
		"a flag's value": {header, []string{"--register-with-taints=a"}, []string{`invalid argument "a" for "--register-with-taints" flag: "a" is no taint: write key=value:effect, the effect one of NoSchedule, PreferNoSchedule, NoExecute`}},
		"an empty file":  {"# nothing\n---\n", nil, []string{`c.yaml: says nothing: begin it with the lines "apiVersion: kubelet.config.k8s.io/v1beta1" and "kind: KubeletConfiguration"`}},
		"a list":         {"- a\n", nil, []string{`c.yaml: document 1: line 1: kind: must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1 or MinikubeletConfiguration of minikubelet.dev/v1alpha1, not "" of ""`}},
		"no YAML":        {header + "a: [\n", nil, []string{"c.yaml: document 1: line 4: not valid YAML: did not find expected node content"}},
		"a key twice":    {header + "port: 1\nport: 2\n", nil, []string{"c.yaml: document 1: line 4: port: set twice: it is also on line 3"}},
		"what has no effect here": {header + "cgroupsPerQOS: false\nenableControllerAttachDetach: false\n", nil, []string{
			"c.yaml: document 1: line 3: cgroupsPerQOS: this agent supports only true: change it or remove it",
			"c.yaml: document 1: line 4: enableControllerAttachDetach: this agent supports only true: change it or remove it"}},
		"TLS": {header + "tlsCipherSuites: [TLS_RSA_WITH_RC4_128_SHA]\ntlsMinVersion: VersionTLS11\n", nil, []string{
			`c.yaml:4: tlsMinVersion: "VersionTLS11" must be one of VersionTLS12, VersionTLS13`,
			`c.yaml:3: tlsCipherSuites[0]: "TLS_RSA_WITH_RC4_128_SHA" is no secure cipher suite that this agent knows, such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`}},
		"image limits": {header + "imageGCLowThresholdPercent: 90\nimageMaximumGCAge: 1m\n", nil, []string{
			"imageGCHighThresholdPercent: 85 is not between imageGCLowThresholdPercent, which is 90, and 100",
			"c.yaml:4: imageMaximumGCAge: 1m0s is less than imageMinimumGCAge, which is 2m0s"}},
		"who may use images": {header + "imagePullCredentialsVerificationPolicy: Maybe\npreloadedImagesVerificationAllowlist: [r.example/a, 'r.example/*', 'r.example/a:1', '*', '', 'A/*']\n",
			[]string{"--image-credential-provider-config=/p.yaml"}, []string{
				"--image-credential-provider-config: goes together with --image-credential-provider-bin-dir: give both or none",
				`c.yaml:3: imagePullCredentialsVerificationPolicy: "Maybe" must be one of NeverVerify, NeverVerifyPreloadedImages, NeverVerifyAllowlistedImages, AlwaysVerify`,
				"c.yaml:4: preloadedImagesVerificationAllowlist: goes together with imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages",
				`c.yaml:4: preloadedImagesVerificationAllowlist[2]: "r.example/a:1" is no image name: write registry.example.com/team/app without a tag, or registry.example.com/team/*`,
				`c.yaml:4: preloadedImagesVerificationAllowlist[3]: "*" is no image name: write registry.example.com/team/app without a tag, or registry.example.com/team/*`,
				`c.yaml:4: preloadedImagesVerificationAllowlist[4]: "" is no image name: write registry.example.com/team/app without a tag, or registry.example.com/team/*`,
				`c.yaml:4: preloadedImagesVerificationAllowlist[5]: "A/*" is no image name: write registry.example.com/team/app without a tag, or registry.example.com/team/*`}},
		"a flag": {header, []string{"--nope"}, []string{"unknown flag: --nope"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.args...)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoad_NamesTheMissingFile(t *testing.T) {
	if _, err := (files{}).loaded(t, "--config=/nope"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A threshold in --config replaces the default ones; one in a drop-in joins those of --config or, without any, the default ones.
func TestLoad_JoinsThresholdsOfDropInsToTheDefaultOnes(t *testing.T) {
	for name, c := range map[string]struct {
		files files
		args  []string
		want  map[string]string
	}{
		"no file": {files{"d/a.conf": header + "evictionHard: {memory.available: 1Gi}\n"}, nil,
			map[string]string{"memory.available": "1Gi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}},
		"a file without": {files{"c.yaml": header, "d/a.conf": header + "evictionHard: {nodefs.available: null}\n"}, []string{"--config=c.yaml"},
			map[string]string{"memory.available": "100Mi", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%"}},
		"a file with some": {files{"c.yaml": header + "evictionHard: {pid.available: 1%}\n", "d/a.conf": header + "evictionHard: {memory.available: 1Gi}\n"}, []string{"--config=c.yaml"},
			map[string]string{"memory.available": "1Gi", "pid.available": "1%"}},
		"a file with none": {files{"c.yaml": header + "evictionHard: {}\n", "d/a.conf": header}, []string{"--config=c.yaml"},
			map[string]string{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := c.files.loaded(t, append(c.args, "--config-dir=d")...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, l.Config.Eviction.Hard); d != "" {
				t.Error(d)
			}
		})
	}
}

// The kubelet lays drop-ins over each other as JSON merge patches: objects and maps are merged, lists are replaced.
func TestLoad_LaysDropInsOverTheFileInOrder(t *testing.T) {
	mine := "apiVersion: minikubelet.dev/v1alpha1\nkind: MinikubeletConfiguration\n"
	l, err := files{
		"c.yaml": header + "maxPods: 1\nport: 1\nclusterDNS: [10.0.0.1, 10.0.0.2]\nevictionHard: {memory.available: 1Mi, nodefs.available: 5%}\n" +
			"registerNode: true\nimageGCHighThresholdPercent: 50\n---\n" + mine + "startLimit: 1\nnetwork: {provider: runtime, confDir: /c}\n",
		"d/10.conf": header + "maxPods: 2\nport: 2\nclusterDNS: [10.0.0.3]\n",
		"d/20.conf": mine + "network: {confDir: /d}\n---\n" + header + "maxPods: 3\nregisterNode: false\nevictionHard:\n  memory.available: 2Mi\nimageGCHighThresholdPercent: null\n",
	}.loaded(t, "--config=c.yaml", "--config-dir=d", "--port=4")
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	got := []any{c.Node.MaxPods, c.Server.Address.Port(), len(c.DNS.Servers), c.Eviction.Hard, c.Node.Register, c.Images.GCHigh, c.Pods.StartLimit, c.Network.Provider, c.Network.ConfDir}
	want := []any{3, uint16(4), 1, map[string]string{"memory.available": "2Mi", "nodefs.available": "5%"}, false, 85, 1, "runtime", "/d"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for path, want := range map[string]string{
		"maxPods": "d/20.conf:7", "port": "--port", "clusterDNS": "d/10.conf:5", "evictionHard[memory.available]": "d/20.conf:10",
		"evictionHard[nodefs.available]": "c.yaml:6", "imageGCHighThresholdPercent": "default", "startLimit": "c.yaml:12",
		"network.provider": "c.yaml:13", "network.confDir": "d/20.conf:3", "healthzPort": "default",
	} {
		if got := l.origin(path); got != want {
			t.Errorf("origin of %s: %q, want %q", path, got, want)
		}
	}
}

func TestLoad_ReportsWhatIsWrongInEveryDropIn(t *testing.T) {
	_, err := files{"c.yaml": header + "maxPod: 1\n", "d/a.conf": "kind: Pod\n", "d/b.conf": header + "port: x\n"}.loaded(t, "--config=c.yaml", "--config-dir=d")
	want := []string{
		`c.yaml: document 1: line 3: maxPod: unknown field: did you mean "maxPods"?`,
		`d/a.conf: document 1: line 1: kind: must be KubeletConfiguration of kubelet.config.k8s.io/v1beta1 or MinikubeletConfiguration of minikubelet.dev/v1alpha1, not "Pod" of ""`,
		`d/b.conf: document 1: line 3: port: must be a number, but this is a string (x)`,
	}
	if d := cmp.Diff(want, strings.Split(fmt.Sprint(err), "\n")); d != "" {
		t.Error(d)
	}
}

// In a file, 0 means the default; a flag means what it says. A flag with a map replaces the file's; feature gates are merged.
func TestLoad_TakesFlagsAtTheirWord(t *testing.T) {
	cfg, err := load(t, header+"evictionHard: {memory.available: 1Gi, pid.available: 1%}\neventBurst: 0\nfeatureGates: {ImageVolume: true}\n",
		"--streaming-connection-idle-timeout=0", "--event-burst=0", "--eviction-hard=nodefs.available<5%", "--feature-gates=SidecarContainers=true", "--cluster-dns=")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{cfg.Server.StreamTimeout, cfg.API.EventBurst, cfg.Eviction.Hard}
	if d := cmp.Diff([]any{time.Duration(0), 0, map[string]string{"nodefs.available": "5%"}}, got); d != "" {
		t.Error(d)
	}
}

func TestNewFlags_StandForFieldsThatExist(t *testing.T) {
	l, err := files{}.loaded(t)
	if err != nil {
		t.Fatal(err)
	}
	kd, _, err := l.documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range fieldFlags() {
		if p := kd.At(row.field, ""); row.usage == "" || p.Line == 0 {
			t.Error(row.name, p)
		}
		over, err := document(nest(row.field))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range over.Decode(&kubelet.KubeletConfiguration{}) {
			if p.Field != "" { // null is no duration, which has no field
				t.Error(row.name, p)
			}
		}
	}
}

// nest is a document with nothing at a path.
func nest(path string) map[string]any {
	first, rest, more := strings.Cut(path, ".")
	if !more {
		return map[string]any{first: nil}
	}
	return map[string]any{first: nest(rest)}
}
