package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
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
	cp       *testbed.ControlPlane
	agent    *testbed.Agent
	cd       *testbed.Containerd
	admin    kubernetes.Interface
	requests *requests

	mu        sync.Mutex
	seen      map[string]*seen // by namespace/name
	lastEvent time.Time
	names     names
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

// ownNames are those of what this node alone has, and of what a pod in the host's network sees of this machine.
func (n *node) ownNames() names {
	n.t.Helper()
	names := names{n.env.Dir: "<dir>", n.agent.RootDir: "<root>", n.agent.PodLogs: "<logs>", n.env.NodeIP(): "<node-ip>"}
	names.addMachine(n.t)
	return names
}

// addMachine names what a pod in the host's network sees of this machine.
func (n names) addMachine(t *testing.T) {
	t.Helper()
	host, err := os.Hostname()
	hosts, err2 := os.ReadFile("/etc/hosts")
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	n["HOSTNAME="+host], n[strings.Trim(strconv.Quote(string(hosts)), `"`)] = "HOSTNAME=<host>", "<hosts>"
}

// runCases returns the records of cases that are pods.
func runCases(t *testing.T, kubelet string, cases []Case) Records {
	t.Helper()
	e := testbed.New(t)
	cp := e.APIServer()
	n := &node{
		t: t, env: e, cp: cp, cd: e.Containerd(testbed.ContainerdConfig{}), admin: cp.Client(), requests: newRequests(),
		seen: map[string]*seen{},
	}
	n.requests.look = func(r *runtimeapi.CreateContainerRequest) Lines { return mountedFiles(e.Dir, r) }
	n.requests.started = func(id string, of part) Lines {
		return startedContainer(n.cd.Tasks(), id, of.container)
	}
	n.requests.printed = printedIn
	n.watch()
	n.agent = e.Agent(testbed.AgentConfig{
		Program: kubelet, Containerd: n.cd, ControlPlane: cp, NodeName: nodeName, Kubelet: n.settings(), Hook: n.requests.hook,
		Own: map[string]any{"startLimit": 2 * atOnce}, // what waits for its turn is told of late
	})
	testbed.Eventually(t, overIn, "the node is Ready", n.ready)
	n.names = n.ownNames()
	n.names[e.CgroupRoot()+"/"] = "<cgroups>/"
	stories := n.play(cases)
	n.until(func() bool { return time.Since(n.lastEvent) > late })
	records := Records{}
	for _, c := range cases {
		records[c.Name] = n.record(c.namespace(), c.podName(), stories[c.Name].lines)
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

// watch follows pods and events until the test ends, also over restarts of the API server.
func (n *node) watch() {
	n.t.Helper()
	core := n.admin.CoreV1()
	for what, open := range map[string]func(context.Context, metav1.ListOptions) (watch.Interface, error){
		"pods": core.Pods("").Watch, "events": core.Events("").Watch,
	} {
		w, err := open(n.t.Context(), metav1.ListOptions{})
		if err != nil {
			n.t.Fatalf("cannot watch %s: %v", what, err)
		}
		go func() { // ends with the test's context, which ends the watch
			for ; n.t.Context().Err() == nil; time.Sleep(20 * time.Millisecond) {
				for e := range w.ResultChan() {
					n.note(e)
				}
				if next, err := open(n.t.Context(), metav1.ListOptions{}); err == nil {
					w = next
				}
			}
		}()
	}
}

func (n *node) note(e watch.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch o := e.Object.(type) {
	case *v1.Pod:
		s := n.of(o.Namespace, o.Name)
		if k := len(s.statuses); k == 0 || !reflect.DeepEqual(s.statuses[k-1], o.Status) {
			s.statuses, s.changed = append(s.statuses, o.Status), time.Now()
		}
		if s.gone = e.Type == watch.Deleted; s.gone || s.pod.UID != o.UID {
			s.changed = time.Now()
		}
		s.pod = *o
	case *v1.Event:
		if o.Source.Component != "kubelet" {
			return // others tell of their own work
		}
		s := n.of(o.InvolvedObject.Namespace, o.InvolvedObject.Name)
		if !slices.ContainsFunc(s.events, func(e v1.Event) bool { return e.Reason == o.Reason }) {
			s.changed = time.Now() // the status that belongs to it may come after it
		}
		s.events, n.lastEvent = append(s.events, *o), time.Now()
	}
}

// of is called with the lock held.
func (n *node) of(namespace, name string) *seen {
	key := namespace + "/" + name
	if n.seen[key] == nil {
		n.seen[key] = &seen{}
	}
	return n.seen[key]
}

// until waits for what holds, with the lock held, and reports whether it came.
func (n *node) until(holds func() bool) bool { return n.within(overIn, holds) }

func (n *node) within(d time.Duration, holds func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n.mu.Lock()
		ok := holds()
		n.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}

// record is all that was seen of a case: of its pod, of pods beside it, which are named, and of what was asked of the runtime.
func (n *node) record(namespace, pod string, l Lines) Lines {
	names := names{namespace: "<case>"}
	n.mu.Lock()
	pods := map[string]seen{}
	for key, s := range n.seen {
		if in, name, _ := strings.Cut(key, "/"); in == namespace {
			pods[name] = *s
		}
	}
	n.mu.Unlock()
	for name, s := range pods {
		status, err := s.lines()
		if err != nil {
			l.add("case", err)
		}
		for _, line := range status {
			if name != pod {
				line = "beside " + name + " " + line
			}
			l = append(l, line)
		}
		names.addPod(&s)
	}
	requests := n.requests.of(namespace)
	asked, err := requestLines(requests)
	if err != nil {
		l.add("case", err)
	}
	for _, q := range requests {
		names.addUID(q.uid)
	}
	maps.Copy(names, n.names)
	return names.normal(append(l, asked...))
}

// create makes the namespace of a case, and what its pod names.
func (n *node) create(c *Case) error {
	ctx := n.t.Context()
	if _, err := n.admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace()}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, o := range c.More {
		if err := n.createObject(ctx, c.namespace(), o); err != nil {
			return err
		}
	}
	return nil
}

// createPod makes the pod, which no scheduler places.
func (n *node) createPod(c *Case) error {
	if c.Static {
		return os.WriteFile(n.manifest(c, "%.yaml"), c.Pod, 0o600)
	}
	var p v1.Pod
	if err := json.Unmarshal(c.Pod, &p); err != nil {
		return err
	}
	p.Namespace = c.namespace()
	if p.Spec.NodeName == "" {
		p.Spec.NodeName = nodeName
	}
	_, err := n.admin.CoreV1().Pods(c.namespace()).Create(n.t.Context(), &p, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

// clusterKinds are in no namespace.
var clusterKinds = map[string]bool{
	"PersistentVolume": true, "RuntimeClass": true, "PriorityClass": true, "CSIDriver": true, "StorageClass": true, "Node": true,
}

// resourcePath is where objects of a kind are in the API.
func resourcePath(namespace string, meta metav1.TypeMeta) string {
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
	return path + "/" + plural
}

func (n *node) createObject(ctx context.Context, namespace string, o json.RawMessage) error {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(o, &meta); err != nil {
		return err
	}
	path := resourcePath(namespace, meta)
	if _, err := n.admin.CoreV1().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body([]byte(o)).DoRaw(ctx); err != nil {
		return fmt.Errorf("cannot create the %s: %w", meta.Kind, err)
	}
	return nil
}
