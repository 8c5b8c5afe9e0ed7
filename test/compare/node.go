package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const (
	nodeName = "node"
	atOnce   = 12                      // cases
	overIn   = 60 * time.Second        // a case that is not is recorded as such
	late     = 5 * time.Second         // events come after what they tell of, when an agent has more urgent things to say
	quiet    = 1500 * time.Millisecond // a case is looked at when nothing has changed for so long: a kubelet looks around each second
)

// node runs cases on one agent or kubelet.
type node struct {
	t        *testing.T
	env      *testbed.Env
	agent    *testbed.Agent
	cd       *testbed.Containerd
	admin    kubernetes.Interface
	requests *requests

	mu        sync.Mutex
	seen      map[string]*seen // by namespace
	lastEvent time.Time
	names     Names
}

// attempt is a case that is over.
type attempt struct {
	uid   string // of the pod; empty: there was none
	lines Lines  // what went wrong with the case itself
}

// settings are those of both: what is out of the way of many pods that come at once, and what a cluster's installer sets.
var settings = map[string]any{
	"clusterDNS": []string{"10.96.0.10"}, "clusterDomain": "cluster.local", "enforceNodeAllocatable": []string{"pods"},
	"eventRecordQPS": 1000, "eventBurst": 1000, "kubeAPIQPS": 1000, "kubeAPIBurst": 1000, "maxPods": 250,
}

func (n *node) settings() map[string]any {
	s := maps.Clone(settings)
	s["resolvConf"] = n.env.WriteFile("nameserver 192.0.2.53\nsearch example.com\noptions timeout:3\n", "resolv.conf")
	return s
}

// addMachine names what a pod in the host's network sees of this machine.
func (n Names) addMachine(t *testing.T) {
	t.Helper()
	host, err := os.Hostname()
	hosts, err2 := os.ReadFile("/etc/hosts")
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	n["HOSTNAME="+host], n[strings.Trim(strconv.Quote(string(hosts)), `"`)] = "HOSTNAME=<host>", "<hosts>"
}

// Run starts a kubelet, or the agent when there is none, with all that it needs, and returns the records of cases.
func Run(t *testing.T, kubelet string, cases []Case) Records {
	t.Helper()
	e := testbed.New(t)
	cp := e.APIServer()
	n := &node{
		t: t, env: e, cd: e.Containerd(testbed.ContainerdConfig{}), admin: cp.Client(), requests: newRequests(),
		seen: map[string]*seen{},
	}
	n.requests.look = func(r *runtimeapi.CreateContainerRequest) Lines { return mountedFiles(e.Dir, r) }
	n.requests.started = func(id string, of part) Lines {
		return startedContainer(filepath.Join(n.cd.State, "io.containerd.runtime.v2.task", "k8s.io"), id, of.container)
	}
	n.requests.printed = printedIn
	n.watch()
	n.agent = e.Agent(testbed.AgentConfig{
		Program: kubelet, Containerd: n.cd, ControlPlane: cp, NodeName: nodeName, Kubelet: n.settings(), Hook: n.requests.hook,
		Own: map[string]any{"startLimit": 2 * atOnce}, // what waits for its turn is told of late
	})
	testbed.Eventually(t, overIn, "the node is Ready", n.ready)
	n.names = Names{
		e.Dir: "<dir>", n.agent.RootDir: "<root>", n.agent.PodLogs: "<logs>", e.CgroupRoot() + "/": "<cgroups>/", e.NodeIP(): "<node-ip>",
	}
	n.names.addMachine(t)
	tries := map[string]*attempt{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, c := range cases {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a := n.try(&c)
			n.mu.Lock()
			tries[c.Name] = a
			n.mu.Unlock()
		})
	}
	wg.Wait()
	n.until(func() bool { return time.Since(n.lastEvent) > late })
	records := Records{}
	for _, c := range cases {
		a := tries[c.Name]
		if records[c.Name] = a.lines; a.uid != "" {
			records[c.Name] = n.record(a.uid, c.namespace(), a.lines)
		}
	}
	return records
}

func (n *node) ready() error {
	node, err := n.admin.CoreV1().Nodes().Get(n.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the node's conditions are %v", node.Status.Conditions)
}

// watch follows pods and events until the test ends.
func (n *node) watch() {
	n.t.Helper()
	core := n.admin.CoreV1()
	pods, err := core.Pods("").Watch(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatalf("cannot watch pods: %v", err)
	}
	events, err := core.Events("").Watch(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatalf("cannot watch events: %v", err)
	}
	for _, w := range []watch.Interface{pods, events} {
		go func() { // ends with the test's context, which ends the watch
			for e := range w.ResultChan() {
				n.note(e)
			}
		}()
	}
}

func (n *node) note(e watch.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch o := e.Object.(type) {
	case *v1.Pod:
		s := n.of(o.Namespace)
		if k := len(s.statuses); k == 0 || !reflect.DeepEqual(s.statuses[k-1], o.Status) {
			s.statuses, s.changed = append(s.statuses, o.Status), time.Now()
		}
		s.gone = e.Type == watch.Deleted
	case *v1.Event:
		s := n.of(o.InvolvedObject.Namespace)
		if !slices.ContainsFunc(s.events, func(e v1.Event) bool { return e.Reason == o.Reason }) {
			s.changed = time.Now() // the status that belongs to it may come after it
		}
		s.events, n.lastEvent = append(s.events, *o), time.Now()
	}
}

// of is called with the lock held.
func (n *node) of(namespace string) *seen {
	if n.seen[namespace] == nil {
		n.seen[namespace] = &seen{}
	}
	return n.seen[namespace]
}

// try runs one case from the pod's coming to its end.
func (n *node) try(c *Case) *attempt {
	var l Lines
	p, err := n.create(c)
	if err != nil {
		l.add("case", err)
		return &attempt{lines: l}
	}
	if !n.until(func() bool {
		s := n.of(c.namespace())
		if k := len(s.statuses); k > 0 && settled(c.Until, s.statuses[k-1], s.events) && time.Since(s.changed) > quiet {
			s.settled = s.statuses[k-1]
			return true
		}
		return false
	}) {
		l.add("case", fmt.Sprintf("not over in %s: %s", overIn, c.Until))
	}
	n.mu.Lock()
	n.of(c.namespace()).before = len(n.of(c.namespace()).events)
	n.mu.Unlock()
	if err := n.admin.CoreV1().Pods(c.namespace()).Delete(n.t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
		l.add("case", err)
	}
	if !n.until(func() bool { return n.of(c.namespace()).gone }) {
		l.add("case", fmt.Sprintf("the pod is not gone in %s", overIn))
	}
	return &attempt{uid: string(p.UID), lines: l}
}

// until waits for what holds, with the lock held, and reports whether it came.
func (n *node) until(holds func() bool) bool {
	for end := time.Now().Add(overIn); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n.mu.Lock()
		ok := holds()
		n.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

func (n *node) record(uid, namespace string, l Lines) Lines {
	n.mu.Lock()
	s := *n.of(namespace)
	n.mu.Unlock()
	status, err := s.lines()
	if err != nil {
		l.add("case", err)
	}
	asked, err := requestLines(n.requests.of(uid))
	if err != nil {
		l.add("case", err)
	}
	names := Names{uid: "<uid>", namespace: "<case>"}
	for _, st := range s.statuses {
		for _, ip := range st.PodIPs {
			names[ip.IP] = "<pod-ip>"
		}
	}
	for text, written := range n.names {
		names[text] = written
	}
	return names.normal(append(append(l, status...), asked...))
}

// create makes the namespace of a case, what its pod names, and the pod, which no scheduler places.
func (n *node) create(c *Case) (*v1.Pod, error) {
	ctx := n.t.Context()
	if _, err := n.admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace()}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	for _, o := range c.More {
		if err := n.createObject(ctx, c.namespace(), o); err != nil {
			return nil, err
		}
	}
	var p v1.Pod
	if err := json.Unmarshal(c.Pod, &p); err != nil {
		return nil, err
	}
	p.Namespace = c.namespace()
	if p.Spec.NodeName == "" {
		p.Spec.NodeName = nodeName
	}
	return n.admin.CoreV1().Pods(c.namespace()).Create(ctx, &p, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
}

// clusterKinds are in no namespace.
var clusterKinds = map[string]bool{"PersistentVolume": true, "RuntimeClass": true, "PriorityClass": true, "CSIDriver": true, "StorageClass": true}

func (n *node) createObject(ctx context.Context, namespace string, o json.RawMessage) error {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(o, &meta); err != nil {
		return err
	}
	path := "/apis/" + meta.APIVersion
	if meta.APIVersion == "v1" {
		path = "/api/v1"
	}
	if !clusterKinds[meta.Kind] {
		path += "/namespaces/" + namespace
	}
	plural := strings.ToLower(meta.Kind) + "s"
	if strings.HasSuffix(plural, "ss") { // classes
		plural = strings.TrimSuffix(plural, "s") + "es"
	}
	_, err := n.admin.CoreV1().RESTClient().Post().AbsPath(path+"/"+plural).SetHeader("Content-Type", "application/json").Body([]byte(o)).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("cannot create the %s: %w", meta.Kind, err)
	}
	return nil
}
