package compare

import (
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
	"github.com/minikubelet/minikubelet/test/podcorpus"
)

//go:embed cases/*.yaml
var caseFiles embed.FS

// Case is one pod, named p unless it says otherwise, and what it names, in a namespace of its own; or a view of the node.
type Case struct {
	File   string // cases/<File>.yaml
	Name   string
	View   string // one of views; the rest is empty then
	Until  string // when it is looked at: "" is when the pod is ready or has ended; see settled
	More   []json.RawMessage
	Pod    json.RawMessage
	pod    string // its name
	Static bool   // the pod is a file of the manifest directory
	Late   bool   // a step creates the pod
	Apart  string // the group of cases that run when all others are over, because they disturb the node
	Steps  []Step // what happens to the pod when it is settled
}

// namespace is that of the case alone. Its name is found nowhere by chance.
func (c *Case) namespace() string { return "case-" + c.Name }

// podName is that of the pod in the API.
func (c *Case) podName() string {
	if c.Static {
		return c.pod + "-" + nodeName
	}
	return c.pod
}

// LoadCases returns the cases in the order of their files.
func LoadCases() ([]Case, error) {
	files, err := fs.Glob(caseFiles, "cases/*.yaml")
	var all []Case
	for _, file := range files {
		b, readErr := caseFiles.ReadFile(file)
		var list []map[string]any
		err = errors.Join(err, readErr, yaml.UnmarshalStrict(b, &list))
		for _, set := range list {
			c, caseErr := newCase(set)
			c.File = strings.TrimSuffix(path.Base(file), ".yaml")
			if caseErr == nil && slices.ContainsFunc(all, func(o Case) bool { return o.Name == c.Name }) {
				caseErr = errors.New("another case has this name")
			}
			if caseErr != nil {
				err = errors.Join(err, fmt.Errorf("%s: case %q: %w", file, c.Name, caseErr))
			}
			all = append(all, c)
		}
	}
	return all, err
}

func newCase(set map[string]any) (c Case, err error) {
	c.Name, _ = set["name"].(string)
	c.Until, _ = set["until"].(string)
	c.Static, _ = set["static"].(bool)
	c.Late, _ = set["late"].(bool)
	c.Apart, _ = set["apart"].(string)
	c.View, _ = set["view"].(string)
	if bad := validation.IsDNS1123Label(c.Name); len(bad) > 0 {
		return c, fmt.Errorf("name: %s", strings.Join(bad, ", "))
	}
	if c.View != "" {
		return c, c.checkView()
	}
	objects, _ := set["objects"].([]any)
	for _, o := range objects {
		m, ok := o.(map[string]any)
		if !ok {
			return c, errors.New("objects: must be a list of objects")
		}
		if m["apiVersion"] == nil {
			m["apiVersion"] = "v1"
		}
		b, err := json.Marshal(m)
		if err != nil {
			return c, err
		}
		c.More = append(c.More, b)
	}
	if c.Static {
		set = over(set, map[string]any{"meta": map[string]any{"namespace": c.namespace()}})
	}
	meta, _ := set["meta"].(map[string]any)
	name, _ := meta["name"].(string)
	c.pod = cmp.Or(name, "p")
	if c.Steps, err = readSteps(set); err == nil {
		c.Pod, err = casePod(set)
	}
	return c, err
}

// casePod makes the pod of a case from what the case sets.
func casePod(set map[string]any) ([]byte, error) {
	pod := maps.Clone(set)
	for _, key := range []string{"name", "until", "objects", "static", "late", "apart", "steps"} {
		delete(pod, key)
	}
	fill(pod, "c", map[string]any{"image": testbed.BusyboxImage, "command": []any{"sleep", "1000"}})
	fill(pod, "spec", map[string]any{"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false})
	if pod["init"] != nil {
		fill(pod, "init", map[string]any{"image": testbed.BusyboxImage, "command": []any{"true"}})
	}
	return podcorpus.Pod(pod)
}

// fill gives a part of a pod the fields that it does not set itself.
func fill(pod map[string]any, part string, fields map[string]any) {
	set, _ := pod[part].(map[string]any)
	all := maps.Clone(fields)
	maps.Copy(all, set)
	pod[part] = all
}
