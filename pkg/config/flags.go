package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/config/yamldoc"
)

// Flags are the agent's command line: the kubelet's flags as far as the agent supports them.
type Flags struct {
	*pflag.FlagSet
	o      options
	fields []*fieldFlag
}

// options are the flags that no field of a configuration stands for.
type options struct {
	config     string
	configDir  string
	kubeconfig string
	bootstrap  string
	certs      string
	hostname   string
	nodeIP     string
	labels     map[string]string
	cloud      string
	schedule   bool
	root       string
	providers  struct{ config, programs string }
}

// NewFlags returns the agent's flags, not parsed yet.
func NewFlags() *Flags {
	f := &Flags{FlagSet: pflag.NewFlagSet("minikubelet", pflag.ContinueOnError)}
	o := &f.o
	f.StringVar(&o.config, "config", "", "file with a KubeletConfiguration and a MinikubeletConfiguration; flags win over it")
	f.StringVar(&o.configDir, "config-dir", "", "directory of *.conf files that are laid over --config in the order of their names")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server; without it the agent is standalone")
	f.StringVar(&o.bootstrap, "bootstrap-kubeconfig", "", "where --kubeconfig cannot be used: has the cluster sign a client certificate, and writes --kubeconfig")
	f.StringVar(&o.certs, "cert-dir", "", "directory of the node's certificates; <root-dir>/pki without it")
	f.StringVar(&o.hostname, "hostname-override", "", "name of the node instead of the host's name")
	f.StringVar(&o.nodeIP, "node-ip", "", "address of the node, or one of each family, with a comma between them")
	f.StringToStringVar(&o.labels, "node-labels", nil, "labels of the Node, key=value,...")
	f.StringVar(&o.cloud, "cloud-provider", "", "external: a cloud's controller gives the Node its addresses and takes its first taint away")
	f.BoolVar(&o.schedule, "register-schedulable", true, "false: a new Node takes no pods before it is uncordoned")
	f.String("runtime-cgroups", "", "without effect: the agent finds the runtime's control group by its socket")
	f.StringVar(&o.root, "root-dir", "/var/lib/kubelet", "directory of the agent's state and of the pods' volumes")
	f.StringVar(&o.providers.config, "image-credential-provider-config", "", "file with a CredentialProviderConfig, or directory of them")
	f.StringVar(&o.providers.programs, "image-credential-provider-bin-dir", "", "directory of the credential providers' programs")

	d, known := defaultDocument(), supported()
	for _, row := range fieldFlags() {
		v := &fieldFlag{flagRow: row, shown: d.Text(row.field)}
		added := f.VarPF(v, row.name, map[string]string{"v": "v"}[row.name], row.usage)
		if _, ok := known[row.field]; !ok {
			added.Hidden = true
		}
		if row.kind == boolean {
			added.NoOptDefVal = "true"
		}
		f.fields = append(f.fields, v)
	}
	return f
}

func defaultDocument() *yamldoc.Document {
	kc := kubelet.KubeletConfiguration{}
	defaults(&kc)
	d, err := document(kc)
	if err != nil { // a struct of plain values encodes
		return &yamldoc.Document{}
	}
	return d
}

// document is a value as a document.
func document(v any) (*yamldoc.Document, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	docs, _ := yamldoc.Parse(data)
	if len(docs) != 1 {
		return nil, fmt.Errorf("cannot read what was written: %s", data)
	}
	return docs[0], nil
}

// fieldFlag is a flag that stands for a field.
type fieldFlag struct {
	flagRow
	shown string
	value any // nil: not given
}

func (f *fieldFlag) Set(text string) error {
	v, err := f.kind.read(text, f.value)
	if err == nil {
		f.value, f.shown = v, text
	}
	return err
}

func (f *fieldFlag) String() string { return f.shown }

func (f *fieldFlag) Type() string { return string(f.kind) }

// Shown are all flags with their values, given or default, and with nothing secret in them.
func (f *Flags) Shown() map[string]string {
	out := map[string]string{}
	f.VisitAll(func(p *pflag.Flag) {
		value := p.Value.String()
		if u, err := url.Parse(value); err == nil && u.User != nil {
			value = u.Redacted()
		}
		if p.Changed && p.Value.Type() == string(headers) {
			value = masked
		}
		out[p.Name] = value
	})
	return out
}

// layer is what the given flags say, as a document.
func (f *Flags) layer() (*yamldoc.Document, error) {
	root := map[string]any{}
	for _, v := range f.fields {
		if v.value == nil {
			continue
		}
		at := root
		steps := strings.Split(v.field, ".")
		for _, s := range steps[:len(steps)-1] {
			if at[s] == nil {
				at[s] = map[string]any{}
			}
			at = at[s].(map[string]any)
		}
		at[steps[len(steps)-1]] = v.value
	}
	return document(root)
}

// replaced are the fields that a given flag replaces as a whole: all maps but featureGates, which are merged.
func (f *Flags) replaced() map[string]any {
	out := map[string]any{}
	for _, v := range f.fields {
		if v.value != nil && v.kind.isMap() && v.field != "featureGates" {
			out[v.field] = nil
		}
	}
	return out
}

// flagOf is the flag that a field's path belongs to.
func (f *Flags) flagOf(path string) string {
	for _, v := range f.fields {
		if v.value != nil && (path == v.field || strings.HasPrefix(path, v.field+"[")) {
			return "--" + v.name
		}
	}
	return "flag"
}
