package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
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
			case c.Rootfs == nil || c.Logs == nil || c.StartTime.IsZero() || c.Swap == nil || p.Swap == nil:
				return fmt.Errorf("container %+v", c)
			case *c.Memory.AvailableBytes == 0 || *c.Memory.AvailableBytes+*c.Memory.WorkingSetBytes > 64<<20:
				return fmt.Errorf("of its 64 MiB the container has %d left and works with %d", *c.Memory.AvailableBytes, *c.Memory.WorkingSetBytes)
			}
			return nil
		}
		return fmt.Errorf("the pod is not among %d", len(s.Pods))
	})
	if n := s.Node; n.NodeName != j.agent.NodeName || *n.CPU.UsageCoreNanoSeconds == 0 || *n.Memory.AvailableBytes == 0 || *n.Fs.CapacityBytes == 0 || *n.Runtime.ImageFs.CapacityBytes == 0 {
		j.t.Errorf("the node in the summary: %+v", n)
	}
	j.nodeMonitored(s.Node)

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
			`machine_cpu_cores{`, `machine_memory_bytes{`, `container_cpu_usage_seconds_total{container="",cpu="total",id="/",`, `container_memory_rss{container="busy"`,
			`container_cpu_usage_seconds_total{container="busy",cpu="total",id="` + j.podGroup("measured"), `container_cpu_user_seconds_total{container="",id="/",`,
			`container_memory_cache{container="",id="/"`, `container_memory_working_set_bytes{container="first"`, `container_fs_limit_bytes{container="",device="/dev/`,
			`container_spec_memory_limit_bytes{container="busy"`, `container_spec_cpu_shares{container="busy"`, `container_threads{container="busy"`,
			`container_processes{container="busy"`, `container_start_time_seconds{container="busy"`, `container_last_seen{container="busy"`,
			`container_network_receive_packets_total{container="",id="` + j.podGroup("measured"),
		},
		"/metrics/probes": {
			`prober_probe_total{container="busy",namespace="default",pod="measured"`, `prober_probe_duration_seconds_count{container="busy",namespace="default",pod="measured"`,
		},
		"/metrics": {
			`kubelet_running_pods `, `kubelet_running_containers{container_state="running"}`, `kubelet_node_name{node="` + j.agent.NodeName + `"}`,
			`kubelet_runtime_operations_total{operation_type="run_podsandbox"}`, `kubelet_runtime_operations_duration_seconds_count{operation_type="start_container"}`,
			`kubelet_started_pods_total `, `kubelet_started_containers_total{container_type="container"}`, `kubelet_pod_start_duration_seconds_count `,
			`process_resident_memory_bytes `, `go_goroutines `, `go_sched_goroutines_goroutines `, `kubelet_cgroup_version `, `kubelet_active_pods{static=""}`,
			`kubelet_pleg_relist_duration_seconds_count `, `kubelet_pleg_last_seen_seconds `, `kubelet_pod_start_total_duration_seconds_count `,
			`kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""}`, `kubelet_cgroup_manager_duration_seconds_count{operation_type="create"}`,
			`kubelet_http_requests_total{long_running="false",method="GET",path="stats",server_type="readwrite"}`, `kubelet_containers_per_pod_count_count `,
			`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="success",volume_plugin="kubernetes.io/empty-dir"}`,
			`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="actual_state_of_world"}`, `rest_client_requests_total{code="200"`,
			`rest_client_request_duration_seconds_count{host=`, `kubernetes_build_info{build_date="",compiler="gc"`,
		},
	} {
		text := j.kubectl("get", "--raw", node+path)
		for _, name := range names {
			if v, ok := sample(text, name); !ok || v <= 0 {
				j.t.Errorf("%s has %v for %s (found: %v)", path, v, name, ok)
			}
		}
	}
	resource := j.kubectl("get", "--raw", node+"/metrics/resource")
	if v, ok := sample(resource, "resource_scrape_error "); v != 0 || !ok {
		j.t.Error("resource_scrape_error is set")
	}
	for _, name := range []string{"node_swap_usage_bytes ", `pod_swap_usage_bytes{namespace="default",pod="measured"}`, `container_swap_usage_bytes{container="busy"`} {
		if _, ok := sample(resource, name); !ok {
			j.t.Errorf("%s is not told", name)
		}
	}
}

// podGroup is the path of a pod's control group.
func (j *joined) podGroup(pod string) string {
	return j.env.CgroupRoot() + "/kubepods/burstable/pod" + j.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
}

// nodeMonitored looks at what the summary says of the node beside what it has of everything.
func (j *joined) nodeMonitored(n statsapi.NodeStats) {
	if m := n.Memory; *m.UsageBytes < *m.WorkingSetBytes || *m.RSSBytes == 0 || *m.RSSBytes >= *m.UsageBytes || *m.PageFaults == 0 || m.MajorPageFaults == nil {
		j.t.Errorf("the node's memory: %+v", m)
	}
	if n.CPU.UsageNanoCores == nil || *n.CPU.UsageNanoCores == 0 || n.Swap == nil || n.Swap.SwapUsageBytes == nil {
		j.t.Errorf("the node's CPU and swap: %+v %+v", n.CPU, n.Swap)
	}
	if _, err := os.Stat("/proc/pressure/cpu"); err == nil && (n.CPU.PSI == nil || n.CPU.PSI.Some.Total == 0 || n.Memory.PSI == nil || n.IO == nil || n.IO.PSI == nil) {
		j.t.Errorf("the pressure on the node: %+v %+v %+v", n.CPU.PSI, n.Memory.PSI, n.IO)
	}
	if f := n.Fs; *f.UsedBytes+*f.AvailableBytes > *f.CapacityBytes || *n.Runtime.ImageFs.UsedBytes > *f.UsedBytes {
		j.t.Errorf("of %d bytes %d are used and %d left; images take %d", *f.CapacityBytes, *f.UsedBytes, *f.AvailableBytes, *n.Runtime.ImageFs.UsedBytes)
	}
	for _, c := range n.SystemContainers {
		if c.Name == statsapi.SystemContainerPods {
			if *c.CPU.UsageCoreNanoSeconds == 0 || *c.Memory.WorkingSetBytes == 0 || c.StartTime.IsZero() {
				j.t.Errorf("all pods together: %+v", c)
			}
			return
		}
	}
	j.t.Errorf("the pods are not among the system's groups: %+v", n.SystemContainers)
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
