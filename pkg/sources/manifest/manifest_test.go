package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

var here = Origin{Source: pod.SourceFile, Name: "f.yaml", Node: "Node-1"}

func decode(t *testing.T, text string) ([]Object, []string) {
	t.Helper()
	objects, problems := Decode([]byte(text), here)
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return objects, out
}

func podOf(t *testing.T, objects []Object) *v1.Pod {
	t.Helper()
	p, ok := objects[0].Object.(*v1.Pod)
	if !ok {
		t.Fatalf("%s is no pod", objects[0].Key())
	}
	return p
}

const minimal = `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: c
    image: busybox
`

func TestDecode_GivesStaticPodsTheirIdentity(t *testing.T) {
	objects, problems := decode(t, minimal)
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatal(problems)
	}
	p := podOf(t, objects)
	if p.Name != "web-node-1" || p.Namespace != "default" || p.Spec.NodeName != "Node-1" || p.Status.Phase != v1.PodPending {
		t.Errorf("%s/%s on %s, %s", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase)
	}
	if p.Annotations[pod.AnnotationSource] != "file" || p.Annotations[pod.AnnotationHash] != string(p.UID) || len(p.UID) != 32 {
		t.Errorf("uid %q, annotations %v", p.UID, p.Annotations)
	}
	if !pod.IsCritical(p) {
		t.Error("a static pod is critical")
	}
	same, _ := decode(t, strings.ReplaceAll(minimal, "image: busybox", "image: busybox # a comment"))
	other, _ := decode(t, strings.ReplaceAll(minimal, "busybox", "busybox:2"))
	if same[0].GetUID() != p.UID || other[0].GetUID() == p.UID {
		t.Error("the UID changes with the content, and with nothing else")
	}
	named, _ := decode(t, strings.ReplaceAll(minimal, "{name: web}", "{name: web, uid: abc}"))
	if named[0].GetUID() != "abc" {
		t.Errorf("uid %q", named[0].GetUID())
	}
}

func TestDecode_AppliesDefaults(t *testing.T) {
	objects, problems := decode(t, `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  priorityClassName: system-node-critical
  hostNetwork: true
  volumes:
  - name: v
  - {name: m, configMap: {name: m}}
  - {name: h, hostPath: {path: /x}}
  containers:
  - name: c
    image: registry:5000/a/b:1
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}
    readinessProbe: {httpGet: {port: 80}}
    env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := podOf(t, objects).Spec
	c := s.Containers[0]
	got := []any{s.RestartPolicy, s.DNSPolicy, *s.TerminationGracePeriodSeconds, s.SchedulerName, *s.EnableServiceLinks, *s.Priority,
		s.Volumes[0].EmptyDir != nil, *s.Volumes[1].ConfigMap.DefaultMode, *s.Volumes[2].HostPath.Type, c.ImagePullPolicy,
		c.TerminationMessagePath, c.TerminationMessagePolicy, c.Ports[0].Protocol, c.Ports[0].HostPort, c.Resources.Requests.Cpu().String(),
		c.Resources.Requests.Memory().String(), c.ReadinessProbe.PeriodSeconds, c.ReadinessProbe.TimeoutSeconds,
		c.ReadinessProbe.FailureThreshold, c.ReadinessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Scheme, c.Env[0].ValueFrom.FieldRef.APIVersion}
	want := []any{v1.RestartPolicyAlways, v1.DNSClusterFirst, int64(30), "default-scheduler", true, int32(2_000_001_000),
		true, int32(0o644), v1.HostPathUnset, v1.PullIfNotPresent,
		"/dev/termination-log", v1.TerminationMessageReadFile, v1.ProtocolTCP, int32(80), "500m",
		"1Gi", int32(10), int32(1), int32(3), "/", v1.URISchemeHTTP, "v1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPullPolicy_FollowsTheTag(t *testing.T) {
	for image, want := range map[string]v1.PullPolicy{"a": v1.PullAlways, "a:latest": v1.PullAlways, "r:5000/a": v1.PullAlways,
		"a:1": v1.PullIfNotPresent, "a@sha256:00": v1.PullIfNotPresent, "r:5000/a:1": v1.PullIfNotPresent} {
		if got := pullPolicy(image); got != want {
			t.Errorf("%s: %s", image, got)
		}
	}
}

func TestDecode_FoldsStringData(t *testing.T) {
	objects, problems := decode(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: eA==, b: eQ==}\nstringData: {b: z}\nimmutable: true\n")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s, ok := objects[0].Object.(*v1.Secret)
	if !ok {
		t.Fatal(objects[0].Key())
	}
	if string(s.Data["a"]) != "x" || string(s.Data["b"]) != "z" || s.StringData != nil || s.Type != "Opaque" || s.Namespace != "default" {
		t.Errorf("%+v", s)
	}
}

func TestDecode_TakesListsAndManyDocuments(t *testing.T) {
	objects, problems := decode(t, "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"+
		"- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, dta: {}}\n---\n"+minimal+"---\n"+minimal)
	var got []string
	for _, o := range objects {
		got = append(got, o.Key().String())
	}
	if d := cmp.Diff([]string{"ConfigMap default/a", "Pod default/web-node-1"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		`f.yaml: document 1: line 5: items[1].dta: unknown field: did you mean "data"?`,
		`f.yaml: document 3: line 17: metadata.name: Pod default/web-node-1 is also in document 2, which is used: give this one another name`}, problems); d != "" {
		t.Error(d)
	}
}

func TestDecode_TakesListsOfOneKind(t *testing.T) {
	objects, problems := decode(t, "apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}\n"+
		"- {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: c, image: i}]}}\n"+
		"---\napiVersion: v1\nkind: SecretList\nmetadata: {resourceVersion: \"1\"}\nitems: [{metadata: {name: s}, data: {k: eA==}}, {metadata: {name: t}, data: {a/b: eA==}}]\n")
	var got []string
	for _, o := range objects {
		got = append(got, o.Key().String())
	}
	if d := cmp.Diff([]string{"Pod default/a-node-1", "Pod default/b-node-1", "Secret default/s"}, got); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], `document 2: line 10: items[1].data[a/b]: Invalid value: "a/b"`) {
		t.Errorf("problems %q", problems)
	}
}

func TestDecode_WantsRoomForTheLogDirectory(t *testing.T) { // default_NAME-node-1_ and a UID of 32 letters
	for length, refused := range map[int]bool{207: false, 208: true, 253: true} {
		_, problems := decode(t, strings.Replace(minimal, "{name: web}", "{name: "+strings.Repeat("a", length)+"}", 1))
		if (len(problems) > 0) != refused {
			t.Errorf("%d letters: %q", length, problems)
		}
	}
}

func TestDecode_RefusesWhatItDoesNotTake(t *testing.T) {
	_, problems := decode(t, "apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Service\n---\na: b\n")
	const takes = "Pod, ConfigMap, Secret, PersistentVolume, PersistentVolumeClaim, RuntimeClass, List"
	want := []string{
		`f.yaml: document 1: line 1: apiVersion: must be v1 for kind Deployment, not "apps/v1": this node takes ` + takes,
		`f.yaml: document 2: line 5: kind: Service is not a kind that this node takes: it takes ` + takes,
		`f.yaml: document 3: line 7: kind: missing: write kind: Pod, or another of ` + takes}
	if d := cmp.Diff(want, problems); d != "" {
		t.Error(d)
	}
}

// Each case is the pod of minimal with one line replaced, and a part of the one problem that this gives.
func TestValidate_RefusesWhatAnAPIServerRefuses(t *testing.T) {
	const c, s = "    image: busybox\n", "spec:\n"
	for _, x := range []struct{ old, add, want string }{
		{"{name: web}", "{name: ../web}", `line 3: metadata.name: Invalid value: "../web"`},
		{"{name: web}", "{name: web, namespace: a/b}", `line 3: metadata.namespace: Invalid value: "a/b"`},
		{"{name: web}", "{name: web, uid: ../x}", `line 3: metadata.uid: Invalid value`},
		{"{name: web}", "{generateName: web-}", `line 3: metadata.name: Required value: generateName needs an API server`},
		{"name: c\n", "name: C_c\n", `line 6: spec.containers[0].name: Invalid value: "C_c"`},
		{c, "    image: \"\"\n", `line 7: spec.containers[0].image: Required value`},
		{c, c + "  - {name: c, image: b}\n", `line 8: spec.containers[1].name: Duplicate value: "c"`},
		{c, c + "    volumeMounts: [{name: v, mountPath: /x}]\n", `line 8: spec.containers[0].volumeMounts[0].name: Not found: "v"`},
		{c, c + "    ports: [{containerPort: 70000}]\n", `spec.containers[0].ports[0].containerPort: Invalid value: 70000`},
		{c, c + "    ports: [{containerPort: 1, hostPort: 5},{containerPort: 2, hostPort: 5}]\n", `ports[1].hostPort: Invalid value: 5: already taken by spec.containers[0].ports[0]`},
		{c, c + "    env: [{name: A=B}]\n", `spec.containers[0].env[0].name: Invalid value: "A=B"`},
		{c, c + "    env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nope}}}]\n", `env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.nope"`},
		{c, c + "    resources: {limits: {cpu: 1}, requests: {cpu: 2}}\n", `spec.containers[0].resources.requests[cpu]: Invalid value: "2": must be at most the limit, 1`},
		{c, c + "    livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}\n", `livenessProbe.tcpSocket: Forbidden: only one of exec, tcpSocket`},
		{c, c + "    livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}\n", `livenessProbe.successThreshold: Invalid value: 2: must be 1`},
		{c, c + "    livenessProbe: {tcpSocket: {port: a b}}\n", `livenessProbe.tcpSocket.port: Invalid value: "a b"`},
		{c, c + "    securityContext: {privileged: true, allowPrivilegeEscalation: false}\n", `allowPrivilegeEscalation: Invalid value: false`},
		{c, c + "    lifecycle: {preStop: {}}\n", `spec.containers[0].lifecycle.preStop: Required value`},
		{s, s + "  restartPolicy: Sometimes\n", `line 5: spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`},
		{s, s + "  activeDeadlineSeconds: 0\n", `spec.activeDeadlineSeconds: Invalid value: 0`},
		{s, s + "  volumes: [{name: a, emptyDir: {}, hostPath: {path: /}}]\n", `spec.volumes[0]: Forbidden: a volume has one source: it has hostPath and emptyDir`},
		{s, s + "  volumes: [{name: a, hostPath: {path: /a/../b}}]\n", `spec.volumes[0].hostPath.path: Invalid value`},
		{s, s + "  volumes: [{name: a, configMap: {name: m, items: [{key: k, path: ../x}]}}]\n", `configMap.items[0].path: Invalid value: "../x"`},
		{s, s + "  volumes: [{name: a, configMap: {name: m, items: [{key: k, path: ./}]}}]\n", `configMap.items[0].path: Invalid value: "./": must name a file`},
		{s, s + "  volumes: [{name: a},{name: a}]\n", `spec.volumes[1].name: Duplicate value: "a"`},
		{s, s + "  serviceAccountName: x\n", `spec.serviceAccountName: Forbidden: only pods of an API server have service accounts`},
		{s, s + "  dnsPolicy: None\n", `spec.dnsConfig.nameservers: Required value`},
		{s, s + "  securityContext: {sysctls: [{name: net..x, value: \"1\"}]}\n", `spec.securityContext.sysctls[0].name: Invalid value`},
		{s, s + "  securityContext: {runAsUser: -1}\n", `spec.securityContext.runAsUser: Invalid value: -1`},
	} {
		t.Run(x.add, func(t *testing.T) {
			objects, problems := decode(t, strings.Replace(minimal, x.old, x.add, 1))
			if len(objects) != 0 || len(problems) != 1 || !strings.Contains(problems[0], x.want) {
				t.Errorf("%d objects, problems %q, want %q", len(objects), problems, x.want)
			}
		})
	}
}

func TestValidate_HoldsObjectsToTheirRules(t *testing.T) {
	for in, want := range map[string]string{
		"kind: PersistentVolume\nmetadata: {name: v}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}":                          "spec: Required value: a volume needs a source",
		"kind: PersistentVolume\nmetadata: {name: v}\nspec: {capacity: {storage: 1Gi}, accessModes: [RWO], csi: {driver: d, volumeHandle: h}}": `spec.accessModes[0]: Unsupported value: "RWO"`,
		"kind: PersistentVolumeClaim\nmetadata: {name: v}\nspec: {accessModes: [ReadWriteOnce]}":                                               "spec.resources.requests[storage]: Required value",
		"kind: Secret\nmetadata: {name: v}\ntype: kubernetes.io/tls\ndata: {tls.crt: eA==}":                                                    "data[tls.key]: Required value",
		"kind: ConfigMap\nmetadata: {name: v}\ndata: {a/b: x}":                                                                                 `data[a/b]: Invalid value: "a/b"`,
	} {
		if _, problems := decode(t, "apiVersion: v1\n"+in+"\n"); len(problems) != 1 || !strings.Contains(problems[0], want) {
			t.Errorf("%s: %q", in, problems)
		}
	}
}

func TestDecode_TakesTheExamples(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := decode(t, string(data)); len(problems) > 0 {
			t.Errorf("%s: %q", f, problems)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(fmt.Sprint(minimal))
	for b.Loop() {
		Decode(data, here)
	}
}
