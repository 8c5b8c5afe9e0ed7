package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	storyIn = 110 * time.Second // a kubelet looks at a volume's objects every 90 s
	still   = 2 * quiet
)

// story is a case on its way.
type story struct {
	*node
	c     *Case
	lines Lines // what went wrong with the case itself, and what was looked at on the way
	at    int   // the step that comes next
	over  bool  // it could not go on
}

// play runs cases: each by itself, a number at once, and then each group of those that disturb the node.
func (n *node) play(cases []Case) map[string]*story {
	stories := map[string]*story{}
	var alone []*story
	var names []string
	groups := map[string][]*story{}
	for i := range cases {
		c := &cases[i]
		s := &story{node: n, c: c}
		if stories[c.Name] = s; c.Apart == "" {
			alone = append(alone, s)
			continue
		}
		if groups[c.Apart] == nil {
			names = append(names, c.Apart)
		}
		groups[c.Apart] = append(groups[c.Apart], s)
	}
	forEach(alone, func(s *story) {
		s.begin()
		s.advance()
		s.end()
	})
	for _, name := range names {
		n.together(groups[name])
	}
	return stories
}

// forEach does something for each story, a number at once.
func forEach(stories []*story, do func(*story)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, s := range stories {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(s)
		})
	}
	wg.Wait()
}

// together plays stories that meet before each step that disturbs the node.
func (n *node) together(stories []*story) {
	forEach(stories, (*story).begin)
	for {
		forEach(stories, (*story).advance)
		do := ""
		for _, s := range stories {
			if !s.over && s.at < len(s.c.Steps) {
				do = s.c.Steps[s.at].Do
			}
		}
		if do == "" {
			break
		}
		n.disturb(do)
		forEach(stories, func(s *story) { s.disturbed(do) })
	}
	forEach(stories, (*story).end)
}

// seen is what was seen of the story's pod; the lock is held.
func (s *story) pod() *seen { return s.of(s.c.namespace(), s.c.podName()) }

func (s *story) fail(err any) {
	s.lines.add("case", err)
	s.over = true
}

// begin creates the pod and waits until it is settled.
func (s *story) begin() {
	err := s.create(s.c)
	if err == nil && !s.c.Late {
		err = s.createPod(s.c)
	}
	if err != nil {
		s.fail(err)
		return
	}
	if s.c.Late {
		return
	}
	if !s.until(func() bool {
		p := s.pod()
		if k := len(p.statuses); k > 0 && settled(s.c.Until, p.statuses[k-1], p.events) && time.Since(p.changed) > rest(p.statuses[k-1]) {
			p.settled = p.statuses[k-1]
			return true
		}
		return false
	}) {
		s.fail(fmt.Sprintf("not over in %s: %s", overIn, s.c.Until))
	}
}

// advance takes the steps up to one that disturbs the node.
func (s *story) advance() {
	for ; !s.over && s.at < len(s.c.Steps); s.at++ {
		step := &s.c.Steps[s.at]
		a, words := step.action()
		if a.shared {
			return
		}
		begun := s.beginStep()
		if len(words) > 0 {
			if err := s.act(step, words); err != nil {
				s.fail(fmt.Sprintf("step %d: %s: %v", s.at+1, step.Do, err))
				return
			}
		}
		if step.Apply != nil {
			if err := s.apply(step.Apply); err != nil {
				s.fail(fmt.Sprintf("step %d: cannot apply: %v", s.at+1, err))
				return
			}
		}
		s.finish(step, begun)
	}
}

// disturbed goes on after a step that was done for all.
func (s *story) disturbed(do string) {
	if !s.over && s.at < len(s.c.Steps) && s.c.Steps[s.at].Do == do {
		s.finish(&s.c.Steps[s.at], s.beginStep())
		s.at++
	}
}

// stepBegin is what a step compares with.
type stepBegin struct {
	at     time.Time
	events int
	before *seen
}

func (s *story) beginStep() stepBegin {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := *s.pod()
	return stepBegin{at: time.Now(), events: len(was.events), before: &was}
}

// finish waits for the end of a step, and looks.
func (s *story) finish(step *Step, begun stepBegin) {
	number := s.at + 1
	if len(step.Until) > 0 && !s.within(storyIn, func() bool { return s.holds(step.Until, begun) }) {
		s.fail(fmt.Sprintf("step %d: not over in %s: %s", number, storyIn, strings.Join(step.Until, ", ")))
	}
	s.mu.Lock()
	p := s.pod()
	if k := len(p.statuses); k > 0 && !p.gone {
		p.settled = p.statuses[k-1]
	}
	s.mu.Unlock()
	for _, what := range step.Look {
		for _, line := range s.look(what) {
			s.lines = append(s.lines, fmt.Sprintf("step %d %s", number, line))
		}
	}
}

// holds reports whether a step is over; the lock is held.
func (s *story) holds(conditions []string, begun stepBegin) bool {
	p := s.pod()
	now := &scene{pod: p.pod, gone: p.gone, before: begun.before.pod.UID, events: p.events[begun.events:], file: s.file, log: s.log}
	wait := rest(p.pod.Status)
	for _, c := range conditions {
		if ok, err := holds(c, now); err != nil || !ok {
			return false
		}
		switch c {
		case "still":
			wait = still
		case "gone":
			wait = 0
		}
	}
	return time.Since(p.changed) > wait && time.Since(begun.at) > wait
}

// end takes the pod away, and waits until it is gone.
func (s *story) end() {
	s.mu.Lock()
	p := s.pod()
	p.before = len(p.events)
	left := s.podsLeft()
	s.mu.Unlock()
	if s.c.Static {
		files, err := filepath.Glob(s.manifest(s.c, "*%.*"))
		for _, f := range files {
			if err == nil {
				err = os.Remove(f)
			}
		}
		if err != nil {
			s.lines.add("case", err)
		}
	} else {
		for _, name := range left {
			if err := s.admin.CoreV1().Pods(s.c.namespace()).Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				s.lines.add("case", err)
			}
		}
	}
	if !s.until(func() bool { return len(s.podsLeft()) == 0 }) {
		s.lines.add("case", fmt.Sprintf("the pod is not gone in %s", overIn))
	}
}

// podsLeft are the names of the case's pods that are not gone; the lock is held.
func (s *story) podsLeft() (names []string) {
	for key, p := range s.node.seen {
		if strings.HasPrefix(key, s.c.namespace()+"/") && p.pod.Name != "" && !p.gone {
			names = append(names, p.pod.Name)
		}
	}
	return names
}

// manifest is a file of the manifest directory, or, if its name begins with /, of one beside it.
func (n *node) manifest(c *Case, name string) string {
	dir := n.agent.Manifests
	if strings.HasPrefix(name, "/") {
		dir = n.env.Path("away")
	}
	return filepath.Join(dir, strings.ReplaceAll(name, "%", c.Name))
}
