package compare

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// viewer looks at a node of its own, on which the pods of views.yaml run: what it sees must not hang on the cases.
type viewer struct {
	node
	kubelet string    // its program; empty: the agent runs
	renewed time.Time // the lease, when the node was new

	foreign *regexp.Regexp // lines of what this machine alone has
}

//go:embed views.yaml
var viewedPods []byte

// viewed is the namespace of the pods.
const viewed = "views"

type view struct {
	name string
	take func(v *viewer) (Lines, error)
}

// views in the order in which they are taken. What they ask of the node is counted in its metrics, so all of them are always taken.
var views = []view{
	{"object", (*viewer).object},
	{"events", (*viewer).events},
	{"csinode", (*viewer).csiNode},
	{"lease", (*viewer).lease},
	{"flags", (*viewer).flags},
	{"tls", (*viewer).tls},
	{"pods", (*viewer).pods},
	{"configz", (*viewer).configz},
	{"answers", (*viewer).answers},
	{"logs", (*viewer).logs},
	{"stats", (*viewer).stats},
	{"metrics", metrics("/metrics")},
	{"metrics-resource", metrics("/metrics/resource")},
	{"metrics-cadvisor", metrics("/metrics/cadvisor")},
	{"metrics-probes", metrics("/metrics/probes")},
	{"metrics-slis", metrics("/metrics/slis")},
}

// checkView reports what is wrong with a case that is a view.
func (c *Case) checkView() error {
	if i := slices.IndexFunc(views, func(v view) bool { return v.name == c.View }); i < 0 {
		return fmt.Errorf("view: there is no view %q: see views in view.go", c.View)
	}
	return nil
}

// Run starts kubelets, or agents when there is none, with all that they need, and returns the records of cases. What disturbs a node
// has one of its own, beside that of all other pods: it waits more than it works.
func Run(t *testing.T, kubelet string, cases []Case) Records {
	t.Helper()
	kinds := map[string][]Case{}
	for _, c := range cases {
		kind := "alone"
		switch {
		case c.View != "":
			kind = "views"
		case c.Apart != "":
			kind = "apart"
		}
		kinds[kind] = append(kinds[kind], c)
	}
	var mu sync.Mutex
	records := Records{}
	t.Run("pods", func(t *testing.T) {
		for _, kind := range []string{"alone", "apart"} {
			if len(kinds[kind]) == 0 {
				continue
			}
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				seen := runCases(t, kubelet, kinds[kind])
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(records, seen)
			})
		}
	})
	if len(kinds["views"]) > 0 {
		t.Run("views", func(t *testing.T) {
			seen := takeViews(t, kubelet)
			for _, c := range kinds["views"] {
				records[c.Name] = seen[c.View]
			}
		})
	}
	return records
}

func takeViews(t *testing.T, kubelet string) Records {
	t.Helper()
	e := testbed.New(t)
	v := &viewer{node: node{t: t, env: e, cp: e.APIServer()}, kubelet: kubelet}
	v.admin = v.cp.Client()
	cd := e.Containerd(testbed.ContainerdConfig{})
	c := testbed.AgentConfig{Program: kubelet, Containerd: cd, ControlPlane: v.cp, NodeName: nodeName, Kubelet: v.viewSettings()}
	if kubelet != "" {
		c.Args = []string{"--containerd=" + cd.Socket} // where its cAdvisor looks
	}
	v.agent = e.Agent(c)
	testbed.Eventually(t, overIn, "the node is Ready", v.ready)
	v.name()
	v.until(func() bool { v.renewed = v.leaseRenewed(); return !v.renewed.IsZero() })
	v.editBootID()
	pods := v.createPods()
	testbed.Eventually(t, overIn, "the pods are as the views need them", func() error { return v.asWanted(pods) })
	v.namePods()
	testbed.Eventually(t, overIn, "the pods are measured", v.measured)
	records := Records{}
	for _, view := range views {
		l, err := view.take(v)
		if err != nil {
			l.add("view", err)
		}
		records[view.name] = slices.DeleteFunc(v.names.normal(l), v.foreign.MatchString)
	}
	return records
}

// settings are those of both.
func (v *viewer) viewSettings() map[string]any {
	s := v.settings()
	maps.Copy(s, map[string]any{
		"volumeStatsAggPeriod": "1s", // else a kubelet looks at volumes after a minute
		"authentication": map[string]any{
			"x509": map[string]any{"clientCAFile": v.cp.CA.CertFile}, "webhook": map[string]any{"enabled": true}, "anonymous": map[string]any{"enabled": false},
		},
		"authorization": map[string]any{"mode": "Webhook"},
	})
	return s
}

// name names what is of this machine.
func (v *viewer) name() {
	v.names = v.ownNames()
	v.names[v.env.CgroupRoot()], v.names[fmt.Sprint(v.agent.Port)], v.names[runtime.Version()] = "<cgroups>", "<port>", "<go>"
	v.nameInterfaces()
	for _, file := range []string{"/etc/machine-id", "/proc/sys/kernel/osrelease"} {
		if b, err := os.ReadFile(file); err == nil && len(b) > 1 {
			v.names[strings.TrimSpace(string(b))] = "<" + file + ">"
		}
	}
}

// nameInterfaces names the node's bridge and the interface of the default route. The machine's others are foreign, as are those
// of other nodes on it.
func (v *viewer) nameInterfaces() {
	v.t.Helper()
	routes, err := os.ReadFile("/proc/net/route")
	all, err2 := net.Interfaces()
	if err = errors.Join(err, err2); err != nil {
		v.t.Fatalf("cannot list the machine's interfaces: %v", err)
	}
	bridge, way := fmt.Sprintf("mkt%d", v.env.N), ""
	for line := range strings.Lines(string(routes)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "00000000" {
			way = f[0]
		}
	}
	v.names[bridge] = "<bridge>"
	if way != "" {
		v.names[way] = "eth0"
	}
	foreign := []string{`mkt\d+`}
	for _, i := range all {
		if i.Name != bridge && i.Name != way && i.Name != "lo" {
			foreign = append(foreign, regexp.QuoteMeta(i.Name))
		}
	}
	v.foreign = regexp.MustCompile(`(interfaces\[|hostnet/ )(` + strings.Join(foreign, "|") + `)\b`)
}

// namePods names what is of these pods alone.
func (v *viewer) namePods() {
	v.t.Helper()
	list, err := v.admin.CoreV1().Pods(viewed).List(v.t.Context(), metav1.ListOptions{})
	if err != nil {
		v.t.Fatalf("cannot list the pods: %v", err)
	}
	for _, p := range list.Items {
		v.names[string(p.UID)] = "<uid>" // in pod<uid>, too
		for _, ip := range p.Status.PodIPs {
			if ip.IP != v.env.NodeIP() {
				v.names[ip.IP] = "<pod-ip>"
			}
		}
		if hash := p.Annotations[v1.MirrorPodAnnotationKey]; hash != "" {
			v.names[hash] = "<uid>"
		}
	}
}

// createPods makes the objects of views.yaml, and returns the pods.
func (v *viewer) createPods() (pods []v1.Pod) {
	v.t.Helper()
	ctx := v.t.Context()
	_, err := v.admin.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: viewed}}, metav1.CreateOptions{})
	objects := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(string(viewedPods)), 4096)
	for err == nil {
		var raw json.RawMessage
		if err = objects.Decode(&raw); err == nil {
			var p v1.Pod
			if err = json.Unmarshal(raw, &p); err == nil && p.Kind == "Pod" {
				p.Namespace = viewed
				pods = append(pods, p)
				raw, err = nil, v.createPod(p, raw)
			}
		}
		if err == nil && raw != nil {
			err = v.createObject(ctx, viewed, raw)
		}
	}
	if !errors.Is(err, io.EOF) {
		v.t.Fatalf("cannot make the pods of views.yaml: %v", err)
	}
	return pods
}

func (v *viewer) createPod(p v1.Pod, raw []byte) error {
	if file := p.Annotations["file"]; file != "" {
		v.agent.WriteManifest(file, string(raw))
		return nil
	}
	if p.Spec.NodeName == "" {
		p.Spec.NodeName = nodeName
	}
	p.Spec.TerminationGracePeriodSeconds, p.Spec.AutomountServiceAccountToken = new(int64(1)), new(false)
	_, err := v.admin.CoreV1().Pods(viewed).Create(v.t.Context(), &p, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

// asWanted reports which pods are not yet as they should be. That which is to be deleted is, once it runs.
func (v *viewer) asWanted(pods []v1.Pod) error {
	list, err := v.admin.CoreV1().Pods(viewed).List(v.t.Context(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, want := range pods {
		i := slices.IndexFunc(list.Items, func(p v1.Pod) bool { return strings.TrimSuffix(p.Name, "-"+nodeName) == want.Name })
		switch {
		case i < 0 && want.Name == "deleted":
		case i < 0:
			errs = append(errs, fmt.Errorf("there is no pod %s", want.Name))
		case !reached(want.Annotations["until"], list.Items[i].Status):
			errs = append(errs, fmt.Errorf("%s is not %q yet", want.Name, want.Annotations["until"]))
		case want.Name == "deleted":
			errs = append(errs, errors.New("one is to be deleted"), v.admin.CoreV1().Pods(viewed).Delete(v.t.Context(), want.Name, metav1.DeleteOptions{}))
		}
	}
	return errors.Join(errs...)
}

// reached reports whether a pod is as the views need it: any, "again C" (restarted once), "pulls C" (in vain), "begun C", or what settled knows.
func reached(until string, st v1.PodStatus) bool {
	what, container, _ := strings.Cut(until, " ")
	for _, c := range append(st.InitContainerStatuses, st.ContainerStatuses...) {
		switch {
		case c.Name != container:
		case what == "again":
			return c.State.Running != nil && c.RestartCount == 1 && settled("", st, nil)
		case what == "begun":
			return c.State.Running != nil
		case what == "pulls":
			return c.State.Waiting != nil && strings.HasSuffix(c.State.Waiting.Reason, "ImagePull") || c.State.Waiting != nil && c.State.Waiting.Reason == "ImagePullBackOff"
		}
	}
	return what == "any" || container == "" && settled(until, st, nil)
}
