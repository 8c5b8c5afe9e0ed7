package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/config/yamldoc"
)

// defaultOrigin is the origin of what nobody has set.
const defaultOrigin = "default"

// masked stands for the values of headers, which may be secrets.
const masked = "<masked>"

// entry is one value of a configuration.
type entry struct {
	Path   string // of a field, such as maxPods or evictionHard[memory.available], or a flag, such as --root-dir
	Value  string // as JSON
	Origin string // default, file:line or --flag
}

type optionValue struct {
	name, value string
	given       bool
}

// optionValues are the flags that no field stands for. The values of labels are in the order of their keys.
func (f *Flags) optionValues() []optionValue {
	fields := map[string]bool{}
	for _, v := range f.fields {
		fields[v.name] = true
	}
	var out []optionValue
	f.VisitAll(func(p *pflag.Flag) {
		if !fields[p.Name] {
			out = append(out, optionValue{"--" + p.Name, strings.Trim(p.Value.String(), "[]"), p.Changed})
		}
	})
	return out
}

// entries lists what is in force: first the flags that no field stands for, then the fields.
func (l *Loaded) entries() ([]entry, error) {
	var out []entry
	for _, o := range l.options {
		q, err := json.Marshal(o.value)
		if err != nil {
			return nil, err
		}
		e := entry{Path: o.name, Value: string(q), Origin: defaultOrigin}
		if o.given {
			e.Origin = o.name
		}
		out = append(out, e)
	}
	kd, od, err := l.documents()
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(kd.Values(kubelet.KubeletConfiguration{}), od.Values(own{})) {
		if v.Path != "apiVersion" && v.Path != "kind" {
			out = append(out, entry{Path: v.Path, Value: v.Text, Origin: l.origin(v.Path)})
		}
	}
	return out, nil
}

func (l *Loaded) origin(path string) string {
	if o, ok := l.origins[path]; ok {
		return o
	}
	whole, _, _ := strings.Cut(path, "[") // a map that was set to nothing
	return cmp.Or(l.origins[whole], defaultOrigin)
}

// documents are what is in force as the two kinds of documents, with nothing secret in them.
func (l *Loaded) documents() (kd, od *yamldoc.Document, err error) {
	kc, mine := l.kubelet, l.own
	kc.APIVersion, kc.Kind = kubeletVersion, kubeletKind
	mine = own{APIVersion: ownVersion, Kind: ownKind, Autonomy: l.Config.Agent.Autonomy, StartLimit: l.Config.Pods.StartLimit, LocalAPI: ownLocal{Socket: l.Config.Agent.Socket},
		Network: ownNetwork{Provider: l.Config.Network.Provider, ConfDir: mine.Network.ConfDir, BinDir: mine.Network.BinDir, PodCIDR: mine.Network.PodCIDR}}
	if len(kc.StaticPodURLHeader) > 0 {
		hidden := map[string][]string{}
		for k := range kc.StaticPodURLHeader {
			hidden[k] = []string{masked}
		}
		kc.StaticPodURLHeader = hidden
	}
	if kd, err = document(kc); err != nil {
		return nil, nil, err
	}
	od, err = document(mine)
	return kd, od, err
}

// YAML is what is in force, as a file that --config takes, with the origin of each value behind it.
func (l *Loaded) YAML() ([]byte, error) {
	entries, err := l.entries()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	origins := map[string]string{"apiVersion": "", "kind": ""}
	for _, e := range entries {
		if strings.HasPrefix(e.Path, "--") {
			fmt.Fprintf(&b, "# %s=%s  # %s\n", e.Path, strings.Trim(e.Value, `"`), e.Origin)
		}
		origins[e.Path] = e.Origin
	}
	kd, od, err := l.documents()
	if err != nil {
		return nil, err
	}
	for i, d := range []*yamldoc.Document{kd, od} {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := d.YAML(func(path string) (string, bool) {
			o, ok := origins[path]
			return o, ok
		})
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	return b.Bytes(), nil
}

// JSON is what is in force: the two documents, the flags that no field stands for, and the origin of each value by path.
func (l *Loaded) JSON() ([]byte, error) {
	entries, err := l.entries()
	if err != nil {
		return nil, err
	}
	kd, od, err := l.documents()
	if err != nil {
		return nil, err
	}
	out := struct {
		Kubelet     json.RawMessage   `json:"kubelet"`
		Minikubelet json.RawMessage   `json:"minikubelet"`
		Flags       map[string]string `json:"flags"`
		Origins     map[string]string `json:"origins"`
	}{Kubelet: kd.JSON(), Minikubelet: od.JSON(), Flags: map[string]string{}, Origins: map[string]string{}}
	for _, o := range l.options {
		out.Flags[o.name] = o.value
	}
	for _, e := range entries {
		out.Origins[e.Path] = e.Origin
	}
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}

// Configz is what the kubelet's /configz tells: the KubeletConfiguration that is in force, under the kubelet's key.
func (l *Loaded) Configz() any {
	kd, _, err := l.documents()
	if err != nil { // it was a document before
		return map[string]string{"error": err.Error()}
	}
	return map[string]json.RawMessage{"kubeletconfig": kd.JSON()}
}

// Change is a value that differs between two configurations.
type Change struct {
	Path     string
	From, To string // as JSON; "" is not set
	Origin   string // of To
	Live     bool   // the agent can take it up while it runs
}

// Changes lists what differs in a newer configuration, in its order.
func (l *Loaded) Changes(newer *Loaded) ([]Change, error) {
	before, err := l.entries()
	if err != nil {
		return nil, err
	}
	after, err := newer.entries()
	if err != nil {
		return nil, err
	}
	old := map[string]string{}
	for _, e := range before {
		old[e.Path] = e.Value
	}
	var out []Change
	for _, e := range after {
		if was, ok := old[e.Path]; !ok || was != e.Value {
			out = append(out, Change{Path: e.Path, From: was, To: e.Value, Origin: e.Origin, Live: live(e.Path)})
		}
		delete(old, e.Path)
	}
	for _, e := range before {
		if was, gone := old[e.Path]; gone {
			out = append(out, Change{Path: e.Path, From: was, Origin: newer.origin(e.Path), Live: live(e.Path)})
		}
	}
	return out, nil
}

// With is this configuration with the live fields of a newer one: what is in force after a reload. Fields that wait for a
// restart keep their old value, so that the next reload names them again.
func (l *Loaded) With(newer *Loaded) *Loaded {
	out := *l
	k, n := &out.kubelet, newer.kubelet
	k.Logging.Verbosity = n.Logging.Verbosity
	k.EvictionHard, k.EvictionSoft, k.EvictionSoftGracePeriod = n.EvictionHard, n.EvictionSoft, n.EvictionSoftGracePeriod
	k.EvictionMinimumReclaim, k.EvictionMaxPodGracePeriod = n.EvictionMinimumReclaim, n.EvictionMaxPodGracePeriod
	k.EvictionPressureTransitionPeriod, k.MergeDefaultEvictionSettings = n.EvictionPressureTransitionPeriod, n.MergeDefaultEvictionSettings
	k.ImageGCHighThresholdPercent, k.ImageGCLowThresholdPercent = n.ImageGCHighThresholdPercent, n.ImageGCLowThresholdPercent
	k.ImageMinimumGCAge, k.ImageMaximumGCAge = n.ImageMinimumGCAge, n.ImageMaximumGCAge
	k.ContainerLogMaxSize, k.ContainerLogMaxFiles = n.ContainerLogMaxSize, n.ContainerLogMaxFiles
	out.origins = map[string]string{}
	for path, o := range l.origins {
		if !live(path) {
			out.origins[path] = o
		}
	}
	for path, o := range newer.origins {
		if live(path) {
			out.origins[path] = o
		}
	}
	return &out
}
