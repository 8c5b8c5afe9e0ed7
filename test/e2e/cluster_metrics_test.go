package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// busy asks for more pods than it begins with. Metrics-server tells nothing of a pod of which one container lacks a figure:
// one has ended here, and one idles.
const busy = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
      - {name: once, image: "docker.io/library/busybox:1.36", command: ["true"]}
      - {name: beside, image: "minikubelet.dev/web:1", restartPolicy: Always, resources: {requests: {cpu: 10m}}}
      containers:
      - name: loop
        image: docker.io/library/busybox:1.36
        command: [sh, -c, 'dd if=/dev/zero of=/dev/shm/held bs=1M count=24; while :; do :; done']
        resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: busy}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 10}}}]
`

// measured waits until metrics-server has scraped what runs on both nodes, as the cgroups have it, and the autoscaler has
// acted on it.
func (c *cluster) measured() {
	c.t.Helper()
	began := map[string]consumption{}
	testbed.Eventually(c.t, 3*soon, "kubectl top tells what the cgroups have, and the busy one is scaled up", func() error {
		nodes, err1 := c.top("node", "--no-headers")
		containers, err2 := c.top("pod", "--no-headers", "--all-namespaces", "--containers")
		err := errors.Join(err1, err2)
		for _, m := range c.nodes {
			err = errors.Join(err, plausible(m.name, nodes[m.name], "", began))
			for _, p := range c.onNode(m) {
				if p.Status.Phase == v1.PodRunning && p.DeletionTimestamp == nil { // those of a CronJob come and go
					err = errors.Join(err, plausiblePod(m, p, containers, began))
				}
			}
		}
		scaled, err3 := c.Kubectl("get", "deployment", "busy", "-o", "jsonpath={.status.readyReplicas}")
		if err3 == nil && scaled != "2" {
			autoscaler, _ := c.Kubectl("get", "hpa", "busy", "-o", "jsonpath={.status}")
			err3 = fmt.Errorf("%q pods are busy, by %s", scaled, autoscaler)
		}
		return errors.Join(err, err3)
	})
	c.t.Logf("kubectl top:\n%s\n%s", c.kubectl("top", "node"), c.kubectl("top", "pod", "--all-namespaces", "--containers"))
}

// consumption is what was used until a moment, or, as kubectl top tells it, at that moment.
type consumption struct {
	at     time.Time
	cpu    float64 // seconds of a core; of kubectl top, cores
	memory float64 // bytes
}

// top is what kubectl top tells: by the name of a node, or by namespace/pod/container.
func (c *cluster) top(args ...string) (map[string]consumption, error) {
	out, err := c.Kubectl(append([]string{"top"}, args...)...)
	told := map[string]consumption{}
	for line := range strings.Lines(out) {
		f := slices.DeleteFunc(strings.Fields(line), func(s string) bool { return strings.HasSuffix(s, "%") })
		if len(f) < 3 {
			return nil, fmt.Errorf("kubectl top says %q", line)
		}
		cpu, err1 := resource.ParseQuantity(f[len(f)-2])
		memory, err2 := resource.ParseQuantity(f[len(f)-1])
		err = errors.Join(err, err1, err2)
		told[strings.Join(f[:len(f)-2], "/")] = consumption{cpu: cpu.AsApproximateFloat64(), memory: memory.AsApproximateFloat64()}
	}
	return told, err
}

// plausiblePod holds the figures of a pod's containers that run against their cgroups.
func plausiblePod(m *machine, p *v1.Pod, told map[string]consumption, began map[string]consumption) (err error) {
	class := map[v1.PodQOSClass]string{v1.PodQOSBurstable: "/burstable", v1.PodQOSBestEffort: "/besteffort"}[p.Status.QOSClass]
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if s.State.Running != nil {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			name := p.Namespace + "/" + p.Name + "/" + s.Name
			err = errors.Join(err, plausible(name, told[name], m.env.CgroupRoot()+"/kubepods"+class+"/pod"+string(p.UID)+"/"+id, began))
		}
	}
	return err
}

// plausible holds what is told of one against its cgroup: its memory now, its CPU time since the first look.
func plausible(name string, told consumption, cgroup string, began map[string]consumption) error {
	now, err := consumed(cgroup)
	if err != nil {
		return err
	}
	first, looked := began[cgroup]
	if !looked {
		began[cgroup], first = now, now
	}
	if told == (consumption{}) {
		return fmt.Errorf("nothing is told of %s", name)
	}
	cores := (now.cpu - first.cpu) / max(now.at.Sub(first.at).Seconds(), 1)
	if told.cpu < cores/2-0.02 || told.cpu > cores*2+0.02 || told.memory < now.memory/1.5-4<<20 || told.memory > now.memory*1.5+4<<20 {
		return fmt.Errorf("%s is told to use %.3f cores and %.0f bytes, and uses %.3f and %.0f", name, told.cpu, told.memory, cores, now.memory)
	}
	return nil
}

// consumed reads a cgroup; without a name, that of the machine.
func consumed(cgroup string) (consumption, error) {
	cpu, err1 := os.ReadFile("/sys/fs/cgroup/cpuacct" + cgroup + "/cpuacct.usage")
	used, err2 := os.ReadFile("/sys/fs/cgroup/memory" + cgroup + "/memory.usage_in_bytes")
	stat, err3 := os.ReadFile("/sys/fs/cgroup/memory" + cgroup + "/memory.stat")
	c := consumption{at: time.Now()}
	if err := errors.Join(err1, err2, err3); err != nil {
		return c, err
	}
	_, inactive, _ := strings.Cut(string(stat), "\ntotal_inactive_file ")
	var idle float64
	_, err1 = fmt.Sscan(string(cpu), &c.cpu)
	_, err2 = fmt.Sscan(string(used), &c.memory)
	_, err3 = fmt.Sscan(inactive, &idle)
	c.cpu, c.memory = c.cpu/1e9, c.memory-idle
	return c, errors.Join(err1, err2, err3)
}
