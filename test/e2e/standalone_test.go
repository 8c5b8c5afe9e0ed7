package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// soon is how long a test waits for what the agent should do at once: generous, because the machine may be busy.
const soon = 30 * time.Second

// standalone is an agent without an API server, and what it runs on. Its tests see it as a person at the node does:
// through its files, its local API and its commands.
type standalone struct {
	*testbed.Agent
	env  *testbed.Env
	cd   *testbed.Containerd
	t    *testing.T
	http *http.Client
}

func newStandalone(t *testing.T, cc testbed.ContainerdConfig, ac testbed.AgentConfig) *standalone {
	t.Helper()
	e := testbed.New(t)
	s := &standalone{env: e, cd: e.Containerd(cc), t: t}
	ac.Containerd = s.cd
	s.Agent = e.Agent(ac)
	s.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.Socket)
		},
	}}
	return s
}

// on is the same node in a subtest.
func (s *standalone) on(t *testing.T) *standalone {
	c := *s
	c.t = t
	return &c
}

// pods makes a manifest of Pods, each given from its metadata on. $busybox and $web are the images of the harness.
func pods(bodies ...string) string {
	var b strings.Builder
	for _, body := range bodies {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\n%s\n", strings.TrimSpace(body))
	}
	return strings.NewReplacer("$busybox", testbed.BusyboxImage, "$web", testbed.WebImage).Replace(b.String())
}

// local asks the local API.
func (s *standalone) local(path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return errors.Join(err, json.Unmarshal(b, into))
}

// pod looks at a pod by the name in its file.
func (s *standalone) pod(name string) (*v1.Pod, error) {
	p := &v1.Pod{}
	err := s.local("/api/v1/namespaces/default/pods/"+name+"-"+s.NodeName, p)
	return p, err
}

// until waits until a pod is as it should be, and returns it.
func (s *standalone) until(name, what string, should func(*v1.Pod) error) *v1.Pod {
	s.t.Helper()
	var p *v1.Pod
	testbed.Eventually(s.t, soon, "pod "+name+" "+what, func() (err error) {
		if p, err = s.pod(name); err == nil {
			err = should(p)
		}
		if err != nil && p != nil {
			status, _ := json.Marshal(p.Status.ContainerStatuses)
			err = fmt.Errorf("%w; %s %s %s", err, p.Status.Phase, p.Status.Reason, status)
		}
		return err
	})
	return p
}

// ready waits until a pod is Ready.
func (s *standalone) ready(name string) *v1.Pod {
	s.t.Helper()
	return s.until(name, "is Ready", isReady)
}

// phase waits until a pod has reached a phase.
func (s *standalone) phase(name string, phase v1.PodPhase) *v1.Pod {
	s.t.Helper()
	return s.until(name, "is "+string(phase), func(p *v1.Pod) error {
		if p.Status.Phase != phase {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	})
}

func isReady(p *v1.Pod) error { return isCondition(p, v1.PodReady, v1.ConditionTrue) }

func isCondition(p *v1.Pod, kind v1.PodConditionType, want v1.ConditionStatus) error {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			if c.Status == want {
				return nil
			}
			return fmt.Errorf("condition %s is %s: %s %s", kind, c.Status, c.Reason, c.Message)
		}
	}
	return fmt.Errorf("it has no condition %s", kind)
}

// container is the status of one container.
func container(p *v1.Pod, name string) v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, c := range list {
			if c.Name == name {
				return c
			}
		}
	}
	return v1.ContainerStatus{}
}

// waits checks why a container waits.
func waits(name, reason, message string) func(*v1.Pod) error {
	return func(p *v1.Pod) error {
		w := container(p, name).State.Waiting
		if w == nil || w.Reason != reason || !strings.Contains(w.Message, message) {
			return fmt.Errorf("container %s waits for %v, want %s with %q", name, w, reason, message)
		}
		return nil
	}
}

// event waits for an event of a pod, given by the name in its file.
func (s *standalone) event(name, reason, message string) v1.Event {
	s.t.Helper()
	var found v1.Event
	testbed.Eventually(s.t, soon, fmt.Sprintf("event %s %q of pod %s", reason, message, name), func() error {
		var list v1.EventList
		if err := s.local("/api/v1/events", &list); err != nil {
			return err
		}
		var others []string
		for _, e := range list.Items {
			if e.InvolvedObject.Name != name+"-"+s.NodeName {
				continue
			}
			if e.Reason == reason && strings.Contains(e.Message, message) {
				found = e
				return nil
			}
			others = append(others, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("its events are %q", others)
	})
	return found
}

// prints waits until the log of a container is as it should be.
func (s *standalone) prints(name, container, want string) {
	s.t.Helper()
	testbed.Eventually(s.t, soon, "the log of "+name, func() error {
		if got := s.logs(name, container); got != want {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}

// gone takes a manifest away and waits until nothing is left of pods but of those named, by their UIDs.
func (s *standalone) gone(file string, beside ...string) {
	s.t.Helper()
	s.RemoveManifest(file)
	testbed.Eventually(s.t, soon, "nothing is left of "+file, func() error { return s.LeftBeside(beside...) })
}

func (s *standalone) logs(name, container string, more ...string) string {
	s.t.Helper()
	out, err := s.CLI(append([]string{"logs", name, "-c", container}, more...)...)
	if err != nil {
		s.t.Errorf("cannot read the log of %s: %v", name, err)
	}
	return out
}

func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return testbed.Get(ctx, url)
}

func post(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := testbed.Post(ctx, url, "")
	return err
}

type podEvent struct {
	Type   string
	Object v1.Pod
}

// watch streams the changes of pods until the test ends.
func (s *standalone) watch(path string) <-chan podEvent {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*soon)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+path+"?watch=true", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	events := make(chan podEvent, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(events)
		for dec := json.NewDecoder(resp.Body); ; {
			var e podEvent
			if dec.Decode(&e) != nil {
				return
			}
			events <- e
		}
	})
	s.t.Cleanup(func() {
		cancel()
		resp.Body.Close()
		reading.Wait()
	})
	return events
}
