package e2e_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

const measured = `
apiVersion: v1
kind: Pod
metadata: {name: measured}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: scratch, emptyDir: {}}]
  containers:
  - name: busy
    image: minikubelet.dev/web:1
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: preparing}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: first, image: "minikubelet.dev/web:1"}]
  containers: [{name: web, image: "minikubelet.dev/web:1"}]
`

// monitored reads what monitoring reads, through the API server.
func (j *joined) monitored() {
	j.Apply(measured)
	j.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/measured")
	j.kubectl("wait", "--for=jsonpath={.status.initContainerStatuses[0].state.running}", "--timeout=30s", "pod/preparing")
	node := "/api/v1/nodes/" + j.agent.NodeName + "/proxy"

	var s statsapi.Summary
	j.eventually("the summary tells what the pod uses", func() error {
		out, err := j.Kubectl("get", "--raw", node+"/stats/summary")
		if err != nil {
			return err
		}
		s = statsapi.Summary{}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err
		}
		for _, p := range s.Pods {
			if p.PodRef.Name != "measured" || len(p.Containers) != 1 {
				continue
			}
			c := p.Containers[0]
			switch {
			case c.Name != "busy" || c.CPU == nil || *c.CPU.UsageCoreNanoSeconds == 0 || c.Memory == nil || *c.Memory.WorkingSetBytes == 0:
				return fmt.Errorf("container %+v", c)
			case p.CPU == nil || p.Memory == nil || p.Network == nil || p.Network.RxBytes == nil || len(p.VolumeStats) != 1 || p.EphemeralStorage == nil:
				return fmt.Errorf("pod %+v", p)
			case c.Rootfs == nil || c.Logs == nil || c.StartTime.IsZero():
				return fmt.Errorf("container %+v", c)
			}
			return nil
		}
		return fmt.Errorf("the pod is not among %d", len(s.Pods))
	})
	if n := s.Node; n.NodeName != j.agent.NodeName || *n.CPU.UsageCoreNanoSeconds == 0 || *n.Memory.AvailableBytes == 0 || *n.Fs.CapacityBytes == 0 || *n.Runtime.ImageFs.CapacityBytes == 0 {
		j.t.Errorf("the node in the summary: %+v", n)
	}

	for path, names := range map[string][]string{
		"/metrics/resource": {
			`node_cpu_usage_seconds_total `, `node_memory_working_set_bytes `, `pod_cpu_usage_seconds_total{namespace="default",pod="measured"}`,
			`pod_memory_working_set_bytes{namespace="default",pod="measured"}`,
			`container_cpu_usage_seconds_total{container="busy",namespace="default",pod="measured"}`,
			`container_memory_working_set_bytes{container="busy",namespace="default",pod="measured"}`,
			`container_start_time_seconds{container="busy",namespace="default",pod="measured"}`,
			`container_memory_working_set_bytes{container="first",namespace="default",pod="preparing"}`,
		},
		"/metrics/cadvisor": {
			`machine_cpu_cores `, `container_cpu_usage_seconds_total{container="busy",cpu="total"`, `container_memory_rss{container="busy"`,
			`container_spec_memory_limit_bytes{container="busy"`, `container_network_receive_bytes_total{container="",`,
		},
		"/metrics/probes": {`prober_probe_total{container="busy",namespace="default",pod="measured"`},
		"/metrics": {
			`kubelet_running_pods `, `kubelet_running_containers{container_state="running"}`, `kubelet_node_name{node="` + j.agent.NodeName + `"}`,
			`kubelet_runtime_operations_total{operation_type="run_podsandbox"}`, `kubelet_runtime_operations_duration_seconds_count{operation_type="start_container"}`,
			`kubelet_started_pods_total `, `kubelet_started_containers_total{container_type="container"}`, `kubelet_pod_start_duration_seconds_count `,
			`process_resident_memory_bytes `, `go_goroutines `,
		},
	} {
		text := j.kubectl("get", "--raw", node+path)
		for _, name := range names {
			if v, ok := sample(text, name); !ok || v <= 0 {
				j.t.Errorf("%s has %v for %s (found: %v)", path, v, name, ok)
			}
		}
	}
	if v, _ := sample(j.kubectl("get", "--raw", node+"/metrics/resource"), "resource_scrape_error "); v != 0 {
		j.t.Error("resource_scrape_error is set")
	}
}

// sample finds the first series that begins so.
func sample(text, begin string) (float64, bool) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, begin) {
			continue
		}
		_, rest, _ := strings.Cut(line, "} ")
		if rest == "" {
			_, rest, _ = strings.Cut(line, " ")
		}
		v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		return v, err == nil
	}
	return 0, false
}
