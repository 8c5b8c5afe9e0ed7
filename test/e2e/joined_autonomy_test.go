package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// alone are pods that need all that a node gets of the API server: objects in the environment and in volumes, a token.
const alone = `
apiVersion: v1
kind: ConfigMap
metadata: {name: alone}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: alone}
stringData: {word: sesame}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {ports: [{port: 80}], selector: {no: body}}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  nodeName: %[1]s
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: cm, configMap: {name: alone}}
  - {name: secret, secret: {secretName: alone}}
  containers:
  - name: main
    image: docker.io/library/busybox:1.36
    env:
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: alone, key: greeting}}}
    command: [sh, -c, 'test "$SHOP_SERVICE_PORT" = 80 && echo $GREETING $(cat /cm/greeting /secret/word) && test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token; trap "exit 0" TERM; while :; do sleep 1; done']
    volumeMounts:
    - {name: cm, mountPath: /cm}
    - {name: secret, mountPath: /secret}
---
apiVersion: v1
kind: Pod
metadata: {name: driven}
spec:
  nodeName: %[1]s
  tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 3600}]
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: deleted}
spec:
  nodeName: %[1]s
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: leaving}
spec:
  nodeName: %[1]s
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 600
  containers:
  - {name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, 'trap "" TERM; while :; do sleep 1; done']}
`

const filed = `
apiVersion: v1
kind: Pod
metadata: {name: filed}
spec:
  containers:
  - {name: main, image: "docker.io/library/busybox:1.36", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']}
`

// After a power cut, with no API server in reach, the node's pods come up by themselves, and those that must not do not.
// When the server is back, nothing ran twice and it is told everything.
func TestAutonomy_StartsPodsWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	j.agent.WriteManifest("filed.yaml", filed)
	j.Apply(fmt.Sprintf(alone, j.agent.NodeName))
	j.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/alone", "pod/driven", "pod/deleted", "pod/leaving", "pod/filed-"+j.agent.NodeName)
	p, err := j.pod("alone")
	if err != nil {
		t.Fatal(err)
	}
	uid := p.UID
	kept := filepath.Join(j.agent.RootDir, "minikubelet", "objects")
	j.eventually("what the pod needs is on disk, for root alone", func() error {
		return onlyRoot(kept, "configmaps/default/alone.json", "secrets/default/alone.json", "configmaps/default/kube-root-ca.crt.json")
	})
	if err := j.admin.CoreV1().Pods("default").Delete(t.Context(), "leaving", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	j.eventually("the agent knows that a pod is to leave", func() error {
		if out, err := j.agent.CLI("get", "events"); err != nil || !strings.Contains(out, "Stopping container main") {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})

	j.kubectl("taint", "node", j.agent.NodeName, "power=off:NoExecute")
	taints := filepath.Join(j.agent.RootDir, "minikubelet", "taints.json")
	j.eventually("the agent knows the taint", func() error {
		if b, err := os.ReadFile(taints); err != nil || !strings.Contains(string(b), "NoExecute") {
			return fmt.Errorf("%s %w", b, err)
		}
		return nil
	})

	// Away go the power and the API server, and, unknown to the node, a pod between them.
	j.agent.Kill()
	j.kubectl("delete", "pod", "deleted", "--force", "--grace-period=0")
	j.StopAPI()
	j.cd.PowerOff()

	// As a kubelet does: pods of files alone. The remembered ones wait.
	restart := func(mode string) {
		t.Helper()
		j.agent.Configure("autonomy", mode)
		j.cd.Start()
		j.agent.Start()
	}
	cut := func() {
		t.Helper()
		j.agent.Kill()
		j.cd.PowerOff()
	}
	restart("static-only")
	j.eventually("the file pod runs", func() error { return j.locally("filed-"+j.agent.NodeName, "Running") })
	if err := j.locally("alone", "Running"); err == nil {
		t.Error("static-only: a pod of the API server was started without it")
	}
	j.eventually("the pod that was to leave has left", func() error { return gone(j.left("leaving")) })
	if err := onlyRoot(kept, "configmaps/default/alone.json", "configmaps/default/kube-root-ca.crt.json"); err != nil {
		t.Errorf("what a pod needs went with another that named it: %v", err)
	}
	cut()
	restart("never")
	if err := j.locally("filed-"+j.agent.NodeName, "Running"); err == nil {
		t.Error("never: a pod was started without the API server")
	}
	cut()
	letTokenExpire(t, kept, uid)
	j.agent.Configure("autonomy", "always")
	j.cd.Start()
	begin := time.Now()
	j.agent.Start()
	testbed.Eventually(t, 10*time.Second, "all pods run again by themselves", func() error {
		for _, name := range []string{"filed-" + j.agent.NodeName, "alone", "deleted"} {
			if !slices.Contains(slices.Collect(maps.Values(j.containers())), name) {
				return fmt.Errorf("no container of %s runs", name)
			}
		}
		return nil
	})
	t.Logf("running %.1f s after the runtime was ready, without an API server", time.Since(begin).Seconds())
	j.eventually("the pod has all that it had", func() error {
		out, err := j.agent.CLI("logs", "alone")
		if err != nil || out != "hello hellosesame\ntoken\n" {
			return fmt.Errorf("it says %q, %w", out, err)
		}
		return nil
	})
	for _, name := range []string{"leaving", "driven"} {
		if err := j.locally(name, "Running"); err == nil {
			t.Errorf("%s was started: it was being deleted, or driven away", name)
		}
	}
	ran := j.containers()

	j.StartAPI()
	testbed.Eventually(t, 2*soon, "the API server knows all", func() error {
		p, err := j.admin.CoreV1().Pods("default").Get(t.Context(), "alone", metav1.GetOptions{})
		if err != nil {
			return err
		}
		switch {
		case p.UID != uid:
			t.Fatalf("the pod is another one: %s, was %s", p.UID, uid)
		case p.Status.Phase != v1.PodRunning || len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].RestartCount != 1 || !p.Status.ContainerStatuses[0].Ready:
			return fmt.Errorf("status %+v", p.Status)
		}
		if _, err := j.admin.CoreV1().Pods("default").Get(t.Context(), "leaving", metav1.GetOptions{}); err == nil {
			return errors.New("the pod that was being deleted is still there")
		}
		return nil
	})

	j.waitEvents("alone", "TokenExpired: the token of service account default is over since 2001-01-01T00:00:00Z")
	j.waitReady("driven") // the server has not said that it is to go
	j.eventually("the pod that was deleted meanwhile is gone", func() error {
		if _, err := j.localPod("deleted"); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	now := j.containers()
	for id, name := range ran {
		if name != "deleted" && now[id] == "" {
			t.Errorf("%s was started again when the server came back", name)
		}
	}
	j.noneTwice()

	// What nobody needs any more is not kept.
	j.kubectl("taint", "node", j.agent.NodeName, "power-")
	j.kubectl("delete", "pod", "alone", "--timeout=30s")
	j.eventually("nothing of the pod is kept", func() error { return nothingKept(kept, uid) })
}

// letTokenExpire makes the kept token of a pod one whose time is over: the shortest that an API server gives is ten
// minutes.
func letTokenExpire(t *testing.T, kept string, uid types.UID) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(kept, "tokens", string(uid), "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept tokens: %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	var status authenticationv1.TokenRequestStatus
	if err = errors.Join(err, json.Unmarshal(b, &status)); err == nil {
		status.ExpirationTimestamp = metav1.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
		b, err = json.Marshal(status)
	}
	if err := errors.Join(err, os.WriteFile(files[0], b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// left are the agent's volumes of a pod.
func (j *joined) left(name string) (string, error) {
	p, err := j.localPod(name)
	if err != nil {
		return "", nil
	}
	left, err := filepath.Glob(filepath.Join(j.agent.RootDir, "pods", string(p.UID), "*"))
	return strings.Join(left, " "), err
}

func lineOf(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// locally asks the agent itself.
func (j *joined) locally(name, phase string) error {
	out, err := j.agent.CLI("get", "pods", name, "-o", "json")
	if err != nil {
		return err
	}
	if !strings.Contains(strings.ReplaceAll(out, " ", ""), `"phase":"`+phase+`"`) {
		return fmt.Errorf("pod %s is not %s", name, phase)
	}
	return nil
}

func onlyRoot(dir string, files ...string) error {
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
}

func nothingKept(dir string, uid types.UID) error {
	for _, p := range []string{"configmaps/default/alone.json", "secrets/default/alone.json", "tokens/" + string(uid)} {
		if _, err := os.Stat(filepath.Join(dir, p)); err == nil {
			return fmt.Errorf("%s is still there", p)
		}
	}
	return nil
}
