package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Step is what happens to a pod that runs, what is waited for then, and what is looked at.
type Step struct {
	Do    string          `json:"do"`    // see actions; a % in the name of a file is the case's name
	Pod   map[string]any  `json:"pod"`   // what write and replace write: the case's own pod with this over it
	Text  *string         `json:"text"`  // what they write instead
	Apply json.RawMessage `json:"apply"` // what changes of an object, which is created if it is not there
	Until []string        `json:"until"` // all at once: see holds. Then nothing has changed for a while, except for "gone"
	Look  []string        `json:"look"`  // status, pod, files, cgroups, node

	manifest []byte // of Pod or Text
}

// action is one that Do names.
type action struct {
	words  int  // that follow
	shared bool // it disturbs the node: all cases of a group wait for each other, and it is done once for all
}

var actions = map[string]action{
	"create":       {},         // the case's pod, if it is late
	"delete":       {words: 1}, // the pod, with a grace period of so many seconds, or "default"
	"drop":         {words: 2}, // an object: its kind and its name
	"kill":         {words: 1}, // the first process of a container
	"kill-sandbox": {},
	"stop-sandbox": {}, // behind the agent's back, as the two that follow
	"drop-sandbox": {},
	"image":        {words: 1}, // an image comes by this name
	"write":        {words: 1}, // a file of the manifest directory, in place
	"replace":      {words: 1}, // it, by rename
	"move":         {words: 2}, // one that begins with / is in a directory beside
	"link":         {words: 2}, // it, as a symbolic link to the second
	"remove":       {words: 1},

	"stop-agent": {shared: true}, "start-agent": {shared: true},
	"stop-runtime": {shared: true}, "start-runtime": {shared: true},
	"stop-apiserver": {shared: true}, "start-apiserver": {shared: true},
	"power-off": {shared: true}, // while the agent is stopped
}

func (s *Step) action() (action, []string) {
	words := strings.Fields(s.Do)
	if len(words) == 0 {
		return action{}, nil
	}
	return actions[words[0]], words
}

// readSteps reads the steps of a case, whose pod is what set says.
func readSteps(set map[string]any) (steps []Step, err error) {
	list, _ := set["steps"].([]any)
	for i, s := range list {
		var step Step
		b, err := json.Marshal(s)
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			err = d.Decode(&step)
		}
		if err == nil {
			err = step.complete(set)
		}
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// complete checks a step, and makes the manifest that it writes.
func (s *Step) complete(set map[string]any) (err error) {
	a, words := s.action()
	if _, known := actions[first(words)]; len(words) > 0 && (!known || len(words) != a.words+1) {
		return fmt.Errorf("do: %q: want one of %s, with its words", s.Do, slices.Sorted(maps.Keys(actions)))
	}
	if a.shared && set["apart"] == nil {
		return fmt.Errorf("do: %q disturbs the node: the case must be apart", s.Do)
	}
	for _, u := range s.Until {
		if _, err := holds(u, &scene{}); err != nil {
			return err
		}
	}
	for _, l := range s.Look {
		if !slices.Contains([]string{"status", "pod", "files", "cgroups", "node"}, l) {
			return fmt.Errorf("look: %q: want status, pod, files, cgroups or node", l)
		}
	}
	writes := first(words) == "write" || first(words) == "replace"
	if (s.Pod != nil || s.Text != nil) != writes {
		return errors.New("pod and text are what write and replace write")
	}
	if s.Text != nil {
		s.manifest = []byte(*s.Text)
	} else if writes {
		s.manifest, err = casePod(over(set, s.Pod))
	}
	return err
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// over is a pod in the corpus's words with changes.
func over(set, changes map[string]any) map[string]any {
	out := maps.Clone(set)
	for part, fields := range changes {
		if changed, ok := fields.(map[string]any); ok {
			whole, _ := out[part].(map[string]any)
			whole = maps.Clone(whole)
			if whole == nil {
				whole = map[string]any{}
			}
			maps.Copy(whole, changed)
			fields = whole
		}
		out[part] = fields
	}
	return out
}

// scene is what there is to see of a case's pod while it waits.
type scene struct {
	pod    v1.Pod    // as it was seen last
	before types.UID // the pod's when the step began
	gone   bool
	events []v1.Event // since the step began
	file   func(container, path string) string
	log    func(container string) string
}

// holds reports whether a condition holds: what settled knows, or
//
//	gone                  the pod is no more
//	new                   it is another one than when the step began
//	restarts c 2          a container was restarted so often, or more
//	pod REGEXP            a line of the pod, such as metadata.labels.a = b
//	file c /PATH TEXT     a file in a container says it
//	log c TEXT            a container's log says it
//	still                 nothing
func holds(condition string, s *scene) (bool, error) {
	what, rest, _ := strings.Cut(condition, " ")
	name, more, _ := strings.Cut(rest, " ")
	switch what {
	case "still":
		return true, nil
	case "gone":
		return s.gone, nil
	case "new":
		return !s.gone && s.pod.UID != s.before, nil
	case "restarts":
		n, err := strconv.Atoi(more)
		return restarts(s.pod.Status, name) >= n, err
	case "pod":
		re, err := regexp.Compile("^(" + rest + ")$")
		return err == nil && !s.gone && slices.ContainsFunc(podLines(&s.pod), re.MatchString), err
	case "file":
		path, text, ok := strings.Cut(more, " ")
		if !ok {
			return false, fmt.Errorf("until: %q: want file CONTAINER PATH TEXT", condition)
		}
		return s.file != nil && strings.Contains(s.file(name, path), text), nil
	case "log":
		return s.log != nil && strings.Contains(s.log(name), more), nil
	case "event":
		return slices.ContainsFunc(s.events, func(e v1.Event) bool { return e.Reason == rest }), nil
	case "ready", "running", "ended", "waiting":
		return !s.gone && settled(condition, s.pod.Status, s.events), nil
	}
	return false, fmt.Errorf("until: %q: unknown", condition)
}

func restarts(st v1.PodStatus, container string) int {
	for _, c := range slices.Concat(st.InitContainerStatuses, st.ContainerStatuses) {
		if c.Name == container {
			return int(c.RestartCount)
		}
	}
	return -1
}

// podLines are those of the whole pod without what a server keeps for itself.
func podLines(p *v1.Pod) Lines {
	p = p.DeepCopy()
	p.ManagedFields, p.ResourceVersion = nil, ""
	var l Lines
	var plain map[string]any
	b, err := json.Marshal(p)
	if err = errors.Join(err, json.Unmarshal(b, &plain)); err != nil {
		l.add("pod", err)
	}
	for part, value := range plain {
		l.addValue(part, value)
	}
	return l
}
