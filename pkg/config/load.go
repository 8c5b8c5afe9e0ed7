package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/config/yamldoc"
)

// Files reads what the flags name.
type Files struct {
	Read  func(path string) ([]byte, error)
	Drops func(dir string) ([]string, error) // paths of the drop-ins in a directory, in the order in which they are laid over
}

// Loaded is a configuration with where each of its values came from.
type Loaded struct {
	Config  Config
	kubelet kubelet.KubeletConfiguration
	own     own
	options []optionValue
	origins map[string]string // by path; a path that is missing has its default
}

// Load lays the parsed flags over the drop-ins over the file over the defaults. The error lists everything that is wrong,
// one problem a line.
func Load(f *Flags, files Files) (*Loaded, error) {
	l := layers{origins: map[string]string{}}
	if err := l.readFiles(f, files); err != nil {
		return nil, err
	}
	flags, err := f.layer()
	if err != nil {
		return nil, fmt.Errorf("cannot read the flags: %w", err)
	}
	if err := l.addFlags(f, flags); err != nil {
		return nil, err
	}
	out := &Loaded{origins: l.origins, options: f.optionValues()}
	if err := l.decode(flags, out); err != nil {
		return nil, err
	}
	c := checks{origins: l.origins}
	out.Config = c.config(&f.o, &out.kubelet, out.own)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return out, nil
}

// own is kind MinikubeletConfiguration, what the kubelet does not have.
type own struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Network    ownNetwork `json:"network"`
	LocalAPI   ownLocal   `json:"localAPI"`
	StartLimit int        `json:"startLimit"`
	Autonomy   string     `json:"autonomy"`
}

type ownNetwork struct {
	Provider string `json:"provider"`
	ConfDir  string `json:"confDir"`
	BinDir   string `json:"binDir"`
	PodCIDR  string `json:"podCIDR"`
}

type ownLocal struct {
	Socket string `json:"socket"`
}

const (
	kubeletKind    = "KubeletConfiguration"
	kubeletVersion = "kubelet.config.k8s.io/v1beta1"
	ownKind        = "MinikubeletConfiguration"
	ownVersion     = "minikubelet.dev/v1alpha1"
)

// layers are the documents of each kind laid over each other.
type layers struct {
	kubelet, own *yamldoc.Document // nil: nothing is said
	origins      map[string]string
}

func (l *layers) readFiles(f *Flags, files Files) error {
	var paths []string
	if f.o.configDir != "" {
		var err error
		if paths, err = files.Drops(f.o.configDir); err != nil {
			return fmt.Errorf("cannot list the drop-ins: %w: make --config-dir a directory, or leave it out", err)
		}
	}
	var errs []error
	if f.o.config != "" {
		errs = append(errs, l.read(f.o.config, files))
	}
	if len(paths) > 0 && errors.Join(errs...) == nil {
		errs = append(errs, l.defaultUnderDropIns())
	}
	for _, p := range paths {
		errs = append(errs, l.read(p, files))
	}
	return errors.Join(errs...)
}

func (l *layers) read(path string, files Files) error {
	data, err := files.Read(path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	return l.addFile(path, data)
}

// defaultUnderDropIns puts the one default that is a map under the drop-ins: as in the kubelet, a threshold in a drop-in joins
// the default ones, while one in --config replaces them.
func (l *layers) defaultUnderDropIns() error {
	if l.kubelet != nil {
		base := kubelet.KubeletConfiguration{}
		if l.kubelet.Decode(&base); base.EvictionHard != nil {
			return nil
		}
	}
	d, err := document(map[string]any{"evictionHard": defaultHard()})
	if err == nil {
		l.kubelet = yamldoc.Merge(l.kubelet, d)
	}
	return err
}

// addFile reads both kinds of documents of a file, each at most once, and lays them over what is there.
func (l *layers) addFile(name string, data []byte) error {
	docs, broken := yamldoc.Parse(data)
	var errs []error
	add := func(document int, problems ...yamldoc.Problem) {
		for _, p := range problems {
			errs = append(errs, fmt.Errorf("%s: document %d: %s", name, document, p))
		}
	}
	for _, i := range slices.Sorted(maps.Keys(broken)) {
		add(i, broken[i])
	}
	seen := map[string]bool{}
	for _, d := range docs {
		if d.Empty() {
			continue
		}
		kind := d.String("kind")
		problems := d.Duplicates()
		switch {
		case seen[kind]:
			problems = append(problems, d.At("kind", "a second "+kind+": put everything into one"))
		case kind == kubeletKind && d.String("apiVersion") == kubeletVersion:
			problems = append(problems, yamldoc.Merge(nil, d).Decode(&kubelet.KubeletConfiguration{})...) // without nulls
			problems = append(problems, unsupported(d)...)
			l.kubelet = l.lay(l.kubelet, d, kubelet.KubeletConfiguration{}, name)
		case kind == ownKind && d.String("apiVersion") == ownVersion:
			problems = append(problems, yamldoc.Merge(nil, d).Decode(&own{})...)
			l.own = l.lay(l.own, d, own{}, name)
		default:
			problems = append(problems, d.At("kind", fmt.Sprintf("must be %s of %s or %s of %s, not %q of %q",
				kubeletKind, kubeletVersion, ownKind, ownVersion, kind, d.String("apiVersion"))))
		}
		seen[kind] = true
		add(d.Index, problems...)
	}
	if len(seen)+len(broken) == 0 {
		errs = append(errs, fmt.Errorf("%s: says nothing: begin it with the lines \"apiVersion: %s\" and \"kind: %s\"", name, kubeletVersion, kubeletKind))
	}
	return errors.Join(errs...)
}

// lay notes where the values of a document came from, and merges.
func (l *layers) lay(base, over *yamldoc.Document, like any, file string) *yamldoc.Document {
	for _, v := range over.Values(like) {
		if v.Null {
			l.forget(v.Path)
			continue
		}
		l.origins[v.Path] = fmt.Sprintf("%s:%d", file, v.Line)
	}
	return yamldoc.Merge(base, over)
}

func (l *layers) forget(path string) {
	maps.DeleteFunc(l.origins, func(p, _ string) bool {
		return p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[")
	})
}

// addFlags lays the given flags over all. A flag with a map takes the place of what the files say.
func (l *layers) addFlags(f *Flags, flags *yamldoc.Document) error {
	var errs []error
	for _, p := range slices.Concat(flags.Decode(&kubelet.KubeletConfiguration{}), unsupported(flags)) {
		errs = append(errs, fmt.Errorf("%s: %s", f.flagOf(p.Field), p.Text))
	}
	gone, err := document(f.replaced())
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	for _, v := range gone.Values(kubelet.KubeletConfiguration{}) {
		l.forget(v.Path)
	}
	l.kubelet = yamldoc.Merge(yamldoc.Merge(l.kubelet, gone), flags)
	for _, v := range f.fields {
		if v.value == nil {
			continue
		}
		l.origins[v.field] = "--" + v.name
		if m, ok := v.value.(map[string]any); ok {
			for k := range m {
				l.origins[v.field+"["+k+"]"] = "--" + v.name
			}
		}
	}
	return nil
}

// decode applies the defaults under all, and flags once more over the defaults: a flag may say 0, which in a file means
// the default.
func (l *layers) decode(flags *yamldoc.Document, out *Loaded) error {
	problems := l.kubelet.Decode(&out.kubelet)
	if l.own != nil {
		problems = append(problems, l.own.Decode(&out.own)...)
	}
	defaults(&out.kubelet)
	full, err := document(out.kubelet)
	if err == nil {
		problems = append(problems, yamldoc.Merge(full, flags).Decode(&out.kubelet)...)
	}
	for _, p := range problems { // each layer was checked: what fits alone fits together
		err = errors.Join(err, errors.New(p.String()))
	}
	return err
}

// unsupported names the fields that are set and that this agent does not act on.
func unsupported(d *yamldoc.Document) []yamldoc.Problem {
	known := supported()
	var out []yamldoc.Problem
	for _, path := range d.Set(kubelet.KubeletConfiguration{}) {
		allowed, ok := known[path]
		switch {
		case !ok:
			out = append(out, d.At(path, "this agent does not support the field: remove it"))
		case allowed != nil && !slices.Contains(allowed, d.Text(path)):
			out = append(out, d.At(path, "this agent supports only "+strings.Join(allowed, ", ")+": change it or remove it"))
		}
	}
	return out
}
