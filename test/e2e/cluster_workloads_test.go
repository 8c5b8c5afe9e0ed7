package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const tick = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: tick, image: "minikubelet.dev/web:1", args: [echo, tock]}]}}}
`

const workloads = `
apiVersion: batch/v1
kind: Job
metadata: {name: sums}
spec:
  completions: 4
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: OnFailure
      containers: [{name: sum, image: "docker.io/library/busybox:1.36", command: [sh, -c, 'echo $((JOB_COMPLETION_INDEX * 7))']}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "minikubelet.dev/web:1", env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}}
      containers:
      - {name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}
`

// workloads runs one of each kind that a controller makes pods of.
func (c *cluster) workloads() {
	c.Apply(workloads + "---" + busy)
	c.kubectl("scale", "deployment/shop", "--replicas=6")
	c.shop(6)
	c.kubectl("scale", "deployment/shop", "--replicas=2")
	c.daemons()
	c.stateful()
	c.kubectl("wait", "--for=condition=Complete", "--timeout=60s", "job/sums")
	var sums []string
	for i := range 4 {
		sums = append(sums, c.kubectl("logs", "-l", fmt.Sprintf("batch.kubernetes.io/job-completion-index=%d", i)))
	}
	if want := []string{"0", "7", "14", "21"}; !slices.Equal(sums, want) {
		c.t.Errorf("the job's pods say %q, want %q", sums, want)
	}
	c.shop(2)
	c.measured()
	testbed.Eventually(c.t, 2*soon+soon, "the CronJob has run", func() error {
		out, err := c.Kubectl("get", "jobs", "-o", `jsonpath={range .items[?(@.metadata.ownerReferences[0].name=="tick")]}{.status.succeeded}{end}`)
		if err == nil && !strings.Contains(out, "1") {
			err = errors.New("no job of it has succeeded")
		}
		return err
	})
	c.kubectl("delete", "hpa/busy", "deployment/busy", "job/sums", "cronjob/tick", "statefulset/db", "service/db", "--cascade=foreground", "--timeout=60s")
	c.kubectl("delete", "-n", "kube-system", "apiservice/v1beta1.metrics.k8s.io", "deployment/metrics-server", "service/metrics-server", "--timeout=60s")
}

// daemons finds a pod of the DaemonSet on each node.
func (c *cluster) daemons() {
	c.t.Helper()
	c.kubectl("rollout", "status", "daemonset/each", "--timeout=60s")
	list, err := c.admin.CoreV1().Pods("default").List(c.t.Context(), metav1.ListOptions{LabelSelector: "app=each"})
	if err != nil {
		c.t.Fatal(err)
	}
	var on []string
	for _, p := range list.Items {
		out, err := c.web(p.Status.PodIP, "/env?name=NODE")
		if err != nil || out != p.Spec.NodeName {
			c.t.Errorf("%s runs on %s and says %q, %v", p.Name, p.Spec.NodeName, out, err)
		}
		on = append(on, out)
	}
	slices.Sort(on)
	if want := []string{"node-a", "node-b"}; !slices.Equal(on, want) {
		c.t.Errorf("the DaemonSet's pods are on %q, want %q", on, want)
	}
}

// stateful finds the pods of the StatefulSet by their own names, each from the other, also after one was replaced.
func (c *cluster) stateful() {
	c.t.Helper()
	c.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
	c.answers("db-0", "http://db-1.db:8080/", "hello from db-1 on db-1")
	c.answers("db-1", "http://db-0.db.default.svc.cluster.local:8080/", "hello from db-0 on db-0")
	was, err := c.pod("db-0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("delete", "pod", "db-0", "--timeout=30s")
	is := c.waitPod("db-0", "is another one", func(p *v1.Pod) error {
		if p.UID == was.UID {
			return errors.New("not yet")
		}
		return ready(p)
	})
	c.answers("db-1", "http://db-0.db:8080/", "hello from db-0 on db-0 "+is.Status.PodIP)
}
