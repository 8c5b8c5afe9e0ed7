package podcorpus

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed cases/*.txt
var files embed.FS

// Case is one pod, or another object, of the corpus and what is said of it.
type Case struct {
	File, Line string   // where it stands: container.txt, and the pod as it is written there
	Kind       string   // Pod, ConfigMap, Secret, PersistentVolume or PersistentVolumeClaim
	Manifest   []byte   // the whole object, as JSON
	Refused    []string // fields that an API server complains of, sorted; empty: it takes the pod
	Ours       []string // with Why, the fields that this node complains of instead
	Why        string   // why the node says something else; empty: it agrees
}

// Name is a name for a subtest.
func (c Case) Name() string { return strings.TrimSuffix(c.File, ".txt") + "/" + c.Line }

// Load returns the corpus, in the order of its files.
func Load() ([]Case, error) {
	names, err := fs.Glob(files, "cases/*.txt")
	var out []Case
	for _, name := range names {
		b, readErr := files.ReadFile(name)
		err = errors.Join(err, readErr)
		for text := range strings.Lines(string(b)) {
			text = strings.TrimSpace(text)
			if text == "" || text[0] == '#' {
				continue
			}
			c, caseErr := parse(text)
			if caseErr != nil {
				err = errors.Join(err, fmt.Errorf("cannot read %s: %s: %w", name, text, caseErr))
			}
			c.File = path.Base(name)
			out = append(out, c)
		}
	}
	return out, err
}

// parse reads: what is set -> fields that are refused | fields that this node refuses: why.
func parse(text string) (Case, error) {
	what, verdict, _ := strings.Cut(text, " -> ")
	verdict, own, differs := strings.Cut(verdict, " | ")
	c := Case{Line: what, Refused: fields(verdict)}
	if differs {
		list, why, ok := strings.Cut(own, ": ")
		if !ok {
			return c, errors.New("a reason is missing: | fields: why")
		}
		c.Ours, c.Why = fields(list), why
	}
	var set map[string]any
	if err := yaml.Unmarshal([]byte("{"+what+"}"), &set); err != nil {
		return c, err
	}
	var err error
	c.Kind, c.Manifest, err = object(set)
	return c, err
}

// object makes a whole object of a kind of its own, or else a pod.
func object(set map[string]any) (kind string, manifest []byte, err error) {
	for key, kind := range map[string]string{"configmap": "ConfigMap", "secret": "Secret", "claim": "PersistentVolumeClaim", "pv": "PersistentVolume"} {
		fields, ok := set[key].(map[string]any)
		if !ok {
			continue
		}
		meta := map[string]any{"name": "o"}
		if kind != "PersistentVolume" {
			meta["namespace"] = "default"
		}
		top := map[string]any{"apiVersion": "v1", "kind": kind, "metadata": meta}
		if kind == "PersistentVolume" || kind == "PersistentVolumeClaim" {
			top["spec"] = fields
		} else {
			maps.Copy(top, fields)
		}
		manifest, err = json.Marshal(top)
		return kind, manifest, err
	}
	manifest, err = Pod(set)
	return "Pod", manifest, err
}

func fields(list string) []string {
	var out []string
	for f := range strings.SplitSeq(list, ",") {
		if f = strings.TrimSpace(f); f != "" && f != "ok" {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// Pod makes a whole pod: the smallest there is, with what a case sets.
func Pod(set map[string]any) ([]byte, error) {
	c := map[string]any{"name": "c", "image": "i:1"}
	spec := map[string]any{"containers": []any{c}}
	meta := map[string]any{"name": "p", "namespace": "default"}
	top := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
	for key, value := range set {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: must be an object", key)
		}
		switch key {
		case "top":
			maps.Copy(top, fields)
		case "meta":
			maps.Copy(meta, fields)
		case "spec":
			maps.Copy(spec, fields)
		case "security":
			spec["securityContext"] = fields
		case "c":
			maps.Copy(c, fields)
		case "init":
			spec["initContainers"] = []any{with(fields, "name", "i", "image", "i:1")}
		case "volume":
			spec["volumes"] = []any{with(fields, "name", "v")}
		case "mount":
			c["volumeMounts"] = []any{with(fields, "name", "v", "mountPath", "/m")}
		default:
			return nil, fmt.Errorf("%s: unknown, write top, meta, spec, security, c, init, volume or mount", key)
		}
	}
	return json.Marshal(top)
}

func with(fields map[string]any, defaults ...string) map[string]any {
	for i := 0; i < len(defaults); i += 2 {
		if _, ok := fields[defaults[i]]; !ok {
			fields[defaults[i]] = defaults[i+1]
		}
	}
	return fields
}

// Disagree compares the fields that the API server and the node complain of, and returns those that only one of the two
// does. The node may be more exact: an API server leaves out some indexes, and names some fields by what is around them.
func Disagree(server, node []string) (onlyServer, onlyNode []string) {
	only := func(a, b []string) (out []string) {
		for _, x := range a {
			if !slices.ContainsFunc(b, func(y string) bool { return near(x, y) }) {
				out = append(out, x)
			}
		}
		return out
	}
	return only(server, node), only(node, server)
}

// near reports whether one path has all the steps of the other, in their order, and perhaps more.
func near(a, b string) bool {
	x, y := strings.Split(plain(a), "."), strings.Split(plain(b), ".")
	return within(x, y) || within(y, x)
}

func within(few, many []string) bool {
	for _, step := range many {
		if len(few) > 0 && few[0] == step {
			few = few[1:]
		}
	}
	return len(few) == 0
}

// plain is a path without the indexes of lists; the keys of maps stay.
func plain(p string) string {
	var b strings.Builder
	for p != "" {
		i := strings.IndexByte(p, '[')
		if i < 0 {
			b.WriteString(p)
			break
		}
		b.WriteString(p[:i])
		inner, rest, _ := strings.Cut(p[i+1:], "]")
		if strings.Trim(inner, "0123456789") != "" {
			b.WriteString("." + inner)
		}
		p = rest
	}
	return strings.ToLower(b.String())
}
