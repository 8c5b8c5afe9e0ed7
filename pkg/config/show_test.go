package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func shown(t *testing.T, f files, args ...string) *Loaded {
	t.Helper()
	l, err := f.loaded(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestYAML_SaysWhereEachValueCameFrom(t *testing.T) {
	l := shown(t, files{
		"c.yaml":   header + "maxPods: 7\nevictionHard: {memory.available: 1Mi}\nstaticPodURL: http://a/b\nstaticPodURLHeader: {Authorization: [secret]}\n",
		"d/a.conf": header + "clusterDNS: [10.0.0.1, 10.0.0.2]\n",
	}, "--config=c.yaml", "--config-dir=d", "--cluster-domain=x.y", "--root-dir=/r", "--register-with-taints=a=b:NoSchedule")
	text, err := l.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# --root-dir=/r  # --root-dir\n", "# --node-ip=  # default\n",
		"\nmaxPods: 7 # c.yaml:3\n", "\nevictionHard:\n    memory.available: 1Mi # c.yaml:4\n", "\nclusterDNS: [10.0.0.1, 10.0.0.2] # d/a.conf:3\n",
		"\nclusterDomain: x.y # --cluster-domain\n", "\nport: 10250 # default\n", "\n    Authorization: [<masked>] # c.yaml:6\n",
		"\nregisterWithTaints: [{key: a, value: b, effect: NoSchedule}] # --register-with-taints\n",
		"\n---\napiVersion: minikubelet.dev/v1alpha1\nkind: MinikubeletConfiguration\nnetwork:\n    provider: auto # default\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing from\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "secret") {
		t.Error("a header's value is shown")
	}
}

func TestYAML_ShowsWhatIsSetToNothing(t *testing.T) {
	text, err := shown(t, files{"c.yaml": header + "enforceNodeAllocatable: []\nevictionHard: {}\n"}, "--config=c.yaml").YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"enforceNodeAllocatable: [none] # ", "evictionHard:\n    imagefs.available: 0% # c.yaml:4\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing from\n%s", want, text)
		}
	}
}

func TestYAML_IsAFileThatMeansTheSame(t *testing.T) {
	first := shown(t, files{"c.yaml": header + "maxPods: 7\nevictionSoft: {memory.available: 1Gi}\nevictionSoftGracePeriod: {memory.available: 1m}\nkubeReserved: {cpu: 100m}\n"},
		"--config=c.yaml", "--v=4", "--resolv-conf=")
	text, err := first.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again := shown(t, files{"c.yaml": string(text)}, "--config=c.yaml")
	changes, err := first.Changes(again)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Change(nil), changes); d != "" {
		t.Error(d, string(text))
	}
}

func TestJSON_HasTheSame(t *testing.T) {
	text, err := shown(t, files{"c.yaml": header + "maxPods: 7\n"}, "--config=c.yaml", "--port=3").JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kubelet     struct{ MaxPods, Port int }
		Minikubelet struct{ LocalAPI struct{ Socket string } }
		Flags       map[string]string
		Origins     map[string]string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	have := []any{got.Kubelet.MaxPods, got.Kubelet.Port, got.Minikubelet.LocalAPI.Socket, got.Flags["--root-dir"], got.Origins["maxPods"], got.Origins["port"], got.Origins["healthzPort"]}
	if d := cmp.Diff([]any{7, 3, defaultSocket, "/var/lib/kubelet", "c.yaml:3", "--port", "default"}, have); d != "" {
		t.Error(d)
	}
}

func TestChanges_TellWhatARunningAgentCanTakeUp(t *testing.T) {
	before := shown(t, files{"c.yaml": header + "maxPods: 7\nevictionHard: {memory.available: 1Mi, nodefs.available: 5%}\nprovider" + "ID: a\n"}, "--config=c.yaml")
	after := shown(t, files{"c.yaml": header + "maxPods: 8\nevictionHard: {memory.available: 2Mi}\nlogging: {verbosity: 4}\n"}, "--config=c.yaml")
	changes, err := before.Changes(after)
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{Path: "maxPods", From: "7", To: "8", Origin: "c.yaml:3"},
		{Path: "evictionHard[memory.available]", From: `"1Mi"`, To: `"2Mi"`, Origin: "c.yaml:4", Live: true},
		{Path: "logging.verbosity", To: "4", Origin: "c.yaml:5", Live: true},
		{Path: "evictionHard[nodefs.available]", From: `"5%"`, Origin: "default", Live: true},
		{Path: "providerID", From: `"a"`, Origin: "default"},
	}
	if d := cmp.Diff(want, changes); d != "" {
		t.Error(d)
	}
	inForce := before.With(after)
	left, err := inForce.Changes(after)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range left {
		if c.Live {
			t.Errorf("%s was taken up, and still differs", c.Path)
		}
	}
	if len(left) != 2 {
		t.Errorf("what waits for a restart is no longer named: %v", left)
	}
}

// Every field that is called live is one that With takes over.
func TestWith_TakesOverEveryLiveField(t *testing.T) {
	before := shown(t, files{"c.yaml": header}, "--config=c.yaml")
	after := shown(t, files{"c.yaml": header + `logging: {verbosity: 3}
evictionHard: {memory.available: 1Mi}
evictionSoft: {memory.available: 2Mi}
evictionSoftGracePeriod: {memory.available: 1m}
evictionMinimumReclaim: {memory.available: 1Mi}
evictionMaxPodGracePeriod: 5
evictionPressureTransitionPeriod: 1s
mergeDefaultEvictionSettings: true
imageGCHighThresholdPercent: 50
imageGCLowThresholdPercent: 40
imageMinimumGCAge: 1s
imageMaximumGCAge: 1h
containerLogMaxSize: 1Mi
containerLogMaxFiles: 3
`}, "--config=c.yaml")
	changes, err := before.Changes(after)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if !c.Live {
			t.Errorf("%s is not live", c.Path)
		}
	}
	left, err := before.With(after).Changes(after)
	if d := cmp.Diff([]Change(nil), left); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestFlags_ShownAreAllAndHoldNoSecret(t *testing.T) {
	flags := NewFlags()
	err := flags.Parse([]string{
		"--max-pods=50", "--manifest-url=https://me:secret@example.com/pods", "--manifest-url-header=Authorization:Bearer secret", "--node-labels=a=b",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := flags.Shown()
	for name, want := range map[string]string{
		"max-pods": "50", "manifest-url": "https://me:xxxxx@example.com/pods", "manifest-url-header": "<masked>", "node-labels": "[a=b]",
		"root-dir": "/var/lib/kubelet", "register-schedulable": "true", "kubeconfig": "",
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("--%s is shown as %q, want %q", name, v, want)
		}
	}
	for name, value := range got {
		if strings.Contains(value, "secret") {
			t.Errorf("--%s shows %q", name, value)
		}
	}
}

func TestConfigz_TellsWhatTheAgentDoesAnyway(t *testing.T) {
	text, err := json.Marshal(shown(t, files{"c.yaml": header}, "--config=c.yaml").Configz())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"cpuManagerPolicy":"none"`, `"syncFrequency":"1m0s"`, `"flushFrequency":"5s"`, `"maxOpenFiles":1000000`, `"failCgroupV1":false`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing from %s", want, text)
		}
	}
	if strings.Contains(string(text), "maxParallelImagePulls") {
		t.Error("a limit of pulls is told that there is not")
	}
}
