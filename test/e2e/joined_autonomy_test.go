package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
metadata: {name: leaving}
spec:
  nodeName: %[1]s
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
	j := join(t, nil)
	j.agent.WriteManifest("filed.yaml", filed)
	j.Apply(fmt.Sprintf(alone, j.agent.NodeName))
	j.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/alone", "pod/leaving", "pod/filed-"+j.agent.NodeName)
	p, err := j.pod("alone")
	if err != nil {
		t.Fatal(err)
	}
	uid := p.UID
	kept := filepath.Join(j.agent.RootDir, "minikubelet", "objects")
	j.eventually("what the pod needs is on disk, for root alone", func() error { return onlyRoot(kept, "configmaps/default/alone.json", "secrets/default/alone.json") })
	if err := j.admin.CoreV1().Pods("default").Delete(t.Context(), "leaving", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	j.eventually("the agent knows that a pod is to leave", func() error {
		if out, err := j.agent.CLI("get", "events"); err != nil || !strings.Contains(out, "Stopping container main") {
			return fmt.Errorf("%s %w", out, err)
		}
		return nil
	})

	// Away go the API server and the power.
	j.StopAPI()
	j.agent.Kill()
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
	cut()
	restart("never")
	if err := j.locally("filed-"+j.agent.NodeName, "Running"); err == nil {
		t.Error("never: a pod was started without the API server")
	}
	cut()
	restart("always")
	begin := time.Now()
	j.eventually("all pods run again by themselves", func() error {
		return errors.Join(j.locally("filed-"+j.agent.NodeName, "Running"), j.locally("alone", "Running"))
	})
	t.Logf("running %.1f s after the agent was healthy, without an API server", time.Since(begin).Seconds())
	j.eventually("the pod has all that it had", func() error {
		out, err := j.agent.CLI("logs", "alone")
		if err != nil || out != "hello hellosesame\ntoken\n" {
			return fmt.Errorf("it says %q, %w", out, err)
		}
		return nil
	})
	if out, _ := j.agent.CLI("get", "pods"); strings.Contains(out, "leaving") && strings.Contains(lineOf(out, "leaving"), "Running") {
		t.Errorf("a pod that was being deleted was started:\n%s", out)
	}

	j.StartAPI()
	testbed.Eventually(t, 2*soon, "the API server knows all", func() error {
		p, err := j.admin.CoreV1().Pods("default").Get(t.Context(), "alone", metav1.GetOptions{})
		if err != nil {
			return err
		}
		switch {
		case p.UID != uid:
			t.Fatalf("the pod is another one: %s, was %s", p.UID, uid)
		case p.Status.Phase != v1.PodRunning || len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].RestartCount == 0 || !p.Status.ContainerStatuses[0].Ready:
			return fmt.Errorf("status %+v", p.Status)
		}
		if _, err := j.admin.CoreV1().Pods("default").Get(t.Context(), "leaving", metav1.GetOptions{}); err == nil {
			return errors.New("the pod that was being deleted is still there")
		}
		return nil
	})

	// What nobody needs any more is not kept.
	j.kubectl("delete", "pod", "alone", "--timeout=30s")
	j.eventually("nothing of the pod is kept", func() error { return nothingKept(kept, uid) })
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
