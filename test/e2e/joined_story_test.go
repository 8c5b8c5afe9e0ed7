package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const storyStorage = `
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: %[1]s}
spec: {attachRequired: true, podInfoOnMount: true, volumeLifecycleModes: [Persistent, Ephemeral]}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: shop-data}
spec:
  capacity: {storage: 16Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  csi: {driver: %[1]s, volumeHandle: %[2]s, fsType: ext4}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: "", volumeName: shop-data, accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
`

const storyShop = `
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {motto: fresh every day, unused: "no"}
---
apiVersion: v1
kind: Secret
metadata: {name: shop}
stringData: {key: s3cret}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 5
      initContainers:
      - name: stock
        image: docker.io/library/busybox:1.36
        command: [sh, -c, "echo stocked >> /data/stock"]
        volumeMounts: [{name: data, mountPath: /data}]
      containers:
      - name: web
        image: %[2]s
        env:
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: MOTTO, valueFrom: {configMapKeyRef: {name: shop, key: motto}}}
        ports: [{name: http, containerPort: 8080}]
        startupProbe: {httpGet: {path: /startupz, port: http}, periodSeconds: 1, failureThreshold: 30}
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [/web, test, /data/stock]}}}
        resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
        volumeMounts:
        - {name: data, mountPath: /data}
        - {name: scratch, mountPath: /scratch}
        - {name: cache, mountPath: /cache}
        - {name: config, mountPath: /etc/shop}
        - {name: keys, mountPath: /etc/keys, readOnly: true}
        - {name: about, mountPath: /etc/about}
      - name: shell
        image: docker.io/library/busybox:1.36
        command: [sh, -c, "trap 'exit 0' TERM; sleep 3600 & wait"]
        livenessProbe: {exec: {command: ["true"]}, periodSeconds: 2}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes:
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: scratch, csi: {driver: %[1]s, volumeAttributes: {size: "8388608"}}}
      - {name: cache, emptyDir: {}}
      - {name: config, configMap: {name: shop, items: [{key: motto, path: motto}]}}
      - {name: keys, secret: {secretName: shop}}
      - {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
`

// TestStory_OfADeploymentFromKubectlToNothingLeft is the whole product in one run: every part is real, and what comes is
// asked for by kubectl alone. `go test -v` prints it as a timeline.
func TestStory_OfADeploymentFromKubectlToNothingLeft(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	registry := j.env.Registry(testbed.RegistryConfig{})
	image := registry.Push(testbed.Images(t)[2], "shop/web", "1")
	driver := j.env.CSIDriver(testbed.CSIDriverConfig{Agent: j.agent, Attach: j.ControlPlane})
	handle := driver.CreateVolume("shop-data", 16<<20)
	j.eventually("the CSINode names the driver", func() error {
		out, err := j.Kubectl("get", "csinode", j.agent.NodeName, "-o", "jsonpath={.spec.drivers[*].name}")
		if err == nil && out != driver.Name {
			err = fmt.Errorf("drivers: %q", out)
		}
		return err
	})
	l := watchTimeline(t, j.admin, func(volume string) {
		if err := unstaged(driver, handle); err != nil {
			t.Errorf("%s was detached while it was in use: %v", volume, err)
		}
	})
	t.Cleanup(func() { t.Logf("TIMELINE\n%s", l) })

	l.note("kubectl", "apply: CSIDriver, PersistentVolume and Claim, ConfigMap, Secret, Service, Deployment")
	j.Apply(fmt.Sprintf(storyStorage, driver.Name, handle) + "---" + fmt.Sprintf(storyShop, driver.Name, image))
	pods := j.waitShop(1)
	j.eventually("the Node tells that the volume is in use and attached", func() error {
		out, err := j.Kubectl("get", "node", j.agent.NodeName, "-o", "jsonpath={.status.volumesInUse[*]} {.status.volumesAttached[*].name}")
		if name := "kubernetes.io/csi/" + driver.Name + "^" + handle; err == nil && out != name+" "+name {
			err = fmt.Errorf("in use and attached: %q", out)
		}
		return err
	})
	s := story{joined: j, l: l, image: image, first: pods[0]}
	s.answers()
	s.logs()
	s.execs()
	s.measures()

	l.note("kubectl", "scale to 3")
	j.kubectl("scale", "deployment/shop", "--replicas=3")
	pods = j.waitShop(3)
	for _, p := range pods {
		if p.UID == s.first.UID && restarts(p) != 0 {
			t.Errorf("%s was restarted: %s", p.Name, describeStatus(p.Status))
		}
	}
	l.note("kubectl", "scale to 2")
	j.kubectl("scale", "deployment/shop", "--replicas=2")
	pods = j.waitShop(2)
	j.eventually("nothing is left of the third", func() error { return j.agent.LeftBeside(string(pods[0].UID), string(pods[1].UID)) })
	l.note("node", "nothing is left of the third pod")

	log := j.follow("logs", "-f", pods[0].Name, "-c", "web")
	j.eventually("the log is being followed", func() error { return log.has("GET /readyz") })
	l.note("kubectl", "delete Deployment, Service and Claim")
	j.kubectl("delete", "deployment/shop", "service/shop", "pvc/data", "--cascade=foreground", "--timeout=30s")
	if err := <-log.done; err != nil {
		t.Errorf("kubectl logs -f of a deleted pod: %v\n%s", err, log)
	}
	j.eventually("no pod is left in the API", func() error {
		return gone(j.Kubectl("get", "pods", "-o", "wide", "--no-headers", "--ignore-not-found"))
	})
	l.note("api", "no pod is left")
	j.eventually("nothing is left on the node", j.agent.NothingLeft)
	l.note("node", "nothing is left: no sandbox, container, mount, namespace, veth, address, directory or cgroup")
	j.eventually("the volume is detached", func() error { return gone(j.Kubectl("get", "volumeattachments", "-o", "name")) })
	if err := unstaged(driver, handle); err != nil {
		t.Error(err)
	}
	j.waitEvents(s.first.Name, "Pulling: ", "Pulled: Successfully pulled image", "Created: ", "Started: ", "Killing: Stopping container web")
}

// unstaged fails unless the last that a driver did for a volume was to unstage it.
func unstaged(d *testbed.CSIDriver, handle string) error {
	calls := d.Calls(handle)
	if len(calls) == 0 || calls[len(calls)-1] != "NodeUnstageVolume" {
		return fmt.Errorf("calls for the volume: %q", calls)
	}
	return nil
}

// waitShop waits until the shop has n pods, all Ready, and the EndpointSlice names just these.
func (j *joined) waitShop(n int) []v1.Pod {
	j.t.Helper()
	var pods []v1.Pod
	j.eventually(fmt.Sprintf("%d Ready pods and endpoints", n), func() error {
		list, err := j.admin.CoreV1().Pods("default").List(j.t.Context(), metav1.ListOptions{LabelSelector: "app=shop"})
		if err != nil {
			return err
		}
		pods = list.Items
		if len(pods) != n {
			err = fmt.Errorf("%d pods", len(pods))
		}
		var ips []string
		for i := range pods {
			if e := ready(&pods[i]); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w: %s", pods[i].Name, e, describeStatus(pods[i].Status)))
			}
			ips = append(ips, pods[i].Status.PodIP)
		}
		if err != nil {
			return err
		}
		slices.Sort(ips)
		out, err := j.Kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=shop", "-o", `jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}`)
		if have := slices.Sorted(slices.Values(strings.Fields(out))); err == nil && !slices.Equal(have, ips) {
			err = fmt.Errorf("endpoints %v, pods %v", have, ips)
		}
		return err
	})
	return pods
}

func restarts(p v1.Pod) (n int32) {
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

// story is the first pod of the shop.
type story struct {
	*joined
	l     *timeline
	image string
	first v1.Pod
}

// answers asks the pod's web server for itself, and through it for what it was given.
func (s *story) answers() {
	s.t.Helper()
	ip := s.first.Status.PodIP
	for path, want := range map[string]string{
		"/":                                 "hello from",
		"/env?name=POD_IP":                  ip,
		"/env?name=MOTTO":                   "fresh every day",
		"/env?name=KUBERNETES_SERVICE_HOST": fmt.Sprintf("10.242.%d.1", s.env.N),
		"/file?path=/data/stock":            "stocked",
		"/file?path=/etc/shop/motto":        "fresh every day",
		"/file?path=/etc/keys/key":          "s3cret",
		"/file?path=/etc/about/labels":      `app="shop"`,
		"/file?path=/etc/hosts":             ip,
		"/file?path=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt":    "BEGIN CERTIFICATE",
		"/file?path=/var/run/secrets/kubernetes.io/serviceaccount/namespace": "default",
	} {
		if out, err := s.web(ip, path); err != nil || !strings.Contains(out, want) {
			s.t.Errorf("GET %s: %q, %v; want %q", path, out, err, want)
		}
	}
	s.l.note("curl", "the pod answers on %s: env, claim, configMap, secret and downwardAPI are there", ip)
	token, err := s.web(ip, "/file?path=/var/run/secrets/kubernetes.io/serviceaccount/token")
	if err != nil {
		s.t.Fatal(err)
	}
	if out := s.kubectl("auth", "whoami", "--token="+token, "--kubeconfig="+s.anonymous(), "-o", "jsonpath={.status.userInfo.username}"); out != "system:serviceaccount:default:default" {
		s.t.Errorf("the pod's token is %q's", out)
	}
	s.l.note("kubectl", "the pod's token is that of its service account")
}

// anonymous is a kubeconfig without credentials.
func (s *story) anonymous() string {
	return s.env.WriteFile(fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u"}]}`,
		s.URL, s.CA.CertFile), "anonymous.kubeconfig")
}

// measures asks how full the claim is, of the summary and of the metrics.
func (s *story) measures() {
	s.t.Helper()
	node := "/api/v1/nodes/" + s.agent.NodeName + "/proxy"
	s.eventually("the summary tells how full the claim is", func() error {
		var all statsapi.Summary
		if err := json.Unmarshal([]byte(s.kubectl("get", "--raw", node+"/stats/summary")), &all); err != nil {
			return err
		}
		for _, p := range all.Pods {
			for _, v := range p.VolumeStats {
				if v.Name == "data" && v.PVCRef != nil && v.PVCRef.Name == "data" && *v.CapacityBytes > 8<<20 && *v.UsedBytes > 0 && *v.Inodes > 0 {
					return nil
				}
			}
		}
		return fmt.Errorf("no claim among %+v", all.Pods)
	})
	text := s.kubectl("get", "--raw", node+"/metrics")
	for _, name := range []string{"capacity_bytes", "available_bytes", "used_bytes", "inodes", "inodes_free", "inodes_used"} {
		if v, ok := sample(text, "kubelet_volume_stats_"+name+`{namespace="default",persistentvolumeclaim="data"}`); !ok || v <= 0 {
			s.t.Errorf("kubelet_volume_stats_%s is %v (found: %v)", name, v, ok)
		}
	}
	s.l.note("kubectl", "stats/summary and metrics tell how full the claim is")
}

// logs reads the log through the API server, and follows it.
func (s *story) logs() {
	s.t.Helper()
	if out := s.kubectl("logs", s.first.Name, "-c", "web"); !strings.Contains(out, "GET /startupz") {
		s.t.Errorf("kubectl logs: %s", out)
	}
	log := s.follow("logs", "-f", "--tail=0", s.first.Name, "-c", "web")
	s.eventually("the followed log has a new line", func() error {
		if _, err := s.web(s.first.Status.PodIP, "/env?name=FOLLOWED"); err != nil {
			return err
		}
		return log.has("FOLLOWED")
	})
	s.l.note("kubectl", "logs and logs -f show the requests")
}

// execs runs commands in the pod through the API server.
func (s *story) execs() {
	s.t.Helper()
	if out := s.kubectl("exec", s.first.Name, "-c", "web", "--", "/web", "echo", "from", "inside"); out != "from inside" {
		s.t.Errorf("kubectl exec: %q", out)
	}
	out, err := s.KubectlIn("piped\n", "exec", "-i", s.first.Name, "-c", "shell", "--", "sh", "-c", "cat > /scratch/f; cat /scratch/f; exit 7")
	exit, ok := errors.AsType[*exec.ExitError](err)
	if out != "piped\n" || !ok || exit.ExitCode() != 7 {
		s.t.Errorf("kubectl exec -i: %q, %v; want exit code 7", out, err)
	}
	if out, err := s.web(s.first.Status.PodIP, "/file?path=/scratch/f"); err != nil || out != "piped" {
		s.t.Errorf("the containers do not share the inline volume: %q, %v", out, err)
	}
	s.l.note("kubectl", "exec: output, input and exit code 7 come through; the inline volume is shared")
}
