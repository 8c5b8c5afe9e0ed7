package activity

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sync/plan"
)

// told is what a handler of metrics answers.
func told(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	return w.Body.String()
}

// has fails for each line that is not told. Of histograms the buckets matter: rules name them.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is not told", line)
		}
	}
}

func TestOperation_CountsSandboxesByTheirHandler(t *testing.T) {
	c := New("v1.36.3+minikubelet.0123456789ab")
	const run = "/runtime.v1.RuntimeService/RunPodSandbox"
	c.Operation(run, &runtimeapi.RunPodSandboxRequest{RuntimeHandler: "kata"}, 30*time.Second, nil)
	c.Operation(run, &runtimeapi.RunPodSandboxRequest{}, time.Millisecond, errors.New("no network"))
	c.Operation("/runtime.v1.ImageService/ListImages", nil, time.Millisecond, nil)
	has(t, told(t, c.Handler()),
		`kubelet_runtime_operations_total{operation_type="run_podsandbox"} 2`, `kubelet_runtime_operations_total{operation_type="list_images"} 1`,
		`kubelet_runtime_operations_errors_total{operation_type="run_podsandbox"} 1`, `kubelet_started_pods_errors_total 1`,
		`kubelet_run_podsandbox_errors_total{runtime_handler=""} 1`, `kubelet_run_podsandbox_duration_seconds_count{runtime_handler="kata"} 1`,
		`kubelet_runtime_operations_duration_seconds_bucket{operation_type="run_podsandbox",le="47.6837158203125"} 2`,
		`kubelet_runtime_operations_duration_seconds_bucket{operation_type="run_podsandbox",le="745.0580596923828"} 2`)
}

func TestBuildInfo_HasTheLabelsOfAKubelet(t *testing.T) {
	for version, want := range map[string]string{
		"v1.36.3+minikubelet.0123456789ab": `git_commit="0123456789ab",git_tree_state="",git_version="v1.36.3+minikubelet.0123456789ab",`, "dev": `git_commit="",git_tree_state="",git_version="dev",`,
	} {
		if text := told(t, New(version).Handler()); !strings.Contains(text, want) {
			t.Errorf("%s: %s is not told", version, want)
		}
	}
	if text := told(t, New("v1.36.3").Handler()); !strings.Contains(text, `major="1",minor="36",platform="linux/`) {
		t.Error("the version is not taken apart")
	}
}

func TestListed_TellsTheTimeBetweenLists(t *testing.T) {
	c, began := New("v1"), time.Unix(1000, 0)
	c.Listed(began, 2*time.Second)
	c.Listed(began.Add(60*time.Second), time.Second)
	has(t, told(t, c.Handler()), `kubelet_pleg_relist_duration_seconds_sum 3`, `kubelet_pleg_relist_interval_seconds_sum 60`,
		`kubelet_pleg_relist_interval_seconds_count 1`, `kubelet_pleg_last_seen_seconds 1061`)
}

func TestStarts_CountsPodsFromTheirCreation(t *testing.T) {
	c := New("v1")
	s := NewStarts(c)
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))}, Spec: v1.PodSpec{Containers: make([]v1.Container, 3)}}
	for _, phase := range []v1.PodPhase{v1.PodPending, v1.PodPending, v1.PodRunning, v1.PodRunning} {
		s.Report(p, v1.PodStatus{Phase: phase})
	}
	has(t, told(t, c.Handler()), `kubelet_started_pods_total 1`, `kubelet_pod_start_duration_seconds_bucket{le="0.5"} 1`, `kubelet_containers_per_pod_count_bucket{le="2"} 0`,
		`kubelet_containers_per_pod_count_bucket{le="4"} 1`, `kubelet_pod_start_total_duration_seconds_bucket{le="2700"} 0`, `kubelet_pod_start_total_duration_seconds_count 1`)
}

func TestStarts_LeaveOutPullsAndInitContainersFromTheServiceLevel(t *testing.T) {
	c := New("v1")
	s := NewStarts(c)
	now := time.Now()
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: ago(100 * time.Second)}}
	s.Report(p, v1.PodStatus{Phase: v1.PodPending})
	for _, pull := range [][2]time.Duration{{90 * time.Second, 60 * time.Second}, {80 * time.Second, 50 * time.Second}, {75 * time.Second, 70 * time.Second}} {
		s.pulled(p, ago(pull[0]).Time, ago(pull[1]).Time)
	}
	s.Report(p, v1.PodStatus{Phase: v1.PodRunning, InitContainerStatuses: []v1.ContainerStatus{
		{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{StartedAt: ago(45 * time.Second), FinishedAt: ago(20 * time.Second)}}},
	}}) // 100 s, 40 s of them pulls, 25 s an init container
	p2 := p.DeepCopy()
	p2.UID, p2.Spec.Volumes = "u2", []v1.Volume{{VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{}}}}
	s.Report(p2, v1.PodStatus{Phase: v1.PodPending})
	s.Report(p2, v1.PodStatus{Phase: v1.PodRunning})
	has(t, told(t, c.Handler()), `kubelet_pod_start_sli_duration_seconds_bucket{le="45"} 1`, `kubelet_pod_start_sli_duration_seconds_bucket{le="30"} 0`,
		`kubelet_pod_start_sli_duration_seconds_count 1`)
	if text := told(t, c.Handler()); !strings.Contains(text, "\nkubelet_first_network_pod_start_sli_duration_seconds 35.") {
		t.Error(text)
	}
}

func TestCounters_CountWhatComesAndGoes(t *testing.T) {
	c := New("v1")
	for _, reason := range []string{"OutOfcpu", "OutOfexample.com/dongle", "NodeAffinity"} {
		c.Rejected(reason)
	}
	c.Pulled(11<<20, 2*time.Second)
	c.Pulled(0, time.Second)
	c.Removed("age")
	c.Restarted(true)
	c.Synced(20 * time.Millisecond)
	mode := &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD}
	c.Operation("RunPodSandbox", &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{Linux: &runtimeapi.LinuxPodSandboxConfig{
		SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{UsernsOptions: mode}},
	}}}, time.Second, nil)
	c.Operation("RunPodSandbox", &runtimeapi.RunPodSandboxRequest{}, time.Second, nil)
	has(t, told(t, c.Handler()), `kubelet_admission_rejections_total{reason="OutOfcpu"} 1`, `kubelet_admission_rejections_total{reason="OutOfExtendedResources"} 1`,
		`kubelet_admission_rejections_total{reason="Other"} 1`, `kubelet_restarted_pods_total{static="true"} 1`, `kubelet_restarted_pods_total{static=""} 0`, `kubelet_image_pull_duration_seconds_count{image_size_in_bytes="10MB-100MB"} 1`,
		`kubelet_image_pull_duration_seconds_count{image_size_in_bytes="N/A"} 1`, `kubelet_image_garbage_collected_total{reason="age"} 1`,
		`kubelet_pod_status_sync_duration_seconds_bucket{le="0.05"} 1`, `kubelet_started_user_namespaced_pods_total 1`, `kubelet_started_user_namespaced_pods_errors_total 0`)
}

func TestProbed_IsForgottenWithThePod(t *testing.T) {
	c := New("v1")
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	c.Probed("Liveness", "successful", "c", 3*time.Second, p)
	c.Probed("Liveness", "failed", "c", 3*time.Second, p)
	has(t, "\n"+told(t, c.Probes()), `prober_probe_total{container="c",namespace="ns",pod="p",pod_uid="u",probe_type="Liveness",result="failed"} 1`,
		`prober_probe_duration_seconds_bucket{container="c",namespace="ns",pod="p",probe_type="Liveness",le="2.5"} 0`,
		`prober_probe_duration_seconds_count{container="c",namespace="ns",pod="p",probe_type="Liveness"} 1`)
	c.forget(p)
	if text := told(t, c.Probes()); strings.Contains(text, `pod="p"`) {
		t.Error(text)
	}
}

// actor fails as it is told.
type actor struct{ err error }

func (a actor) Do(context.Context, plan.Input, plan.Action) (*pod.Image, error) { return nil, a.err }

func TestActor_CountsVolumesGroupsAndContainersThatDoNotStart(t *testing.T) {
	c := New("v1")
	var in plan.Input
	in.Desired.Pod = &v1.Pod{Spec: v1.PodSpec{
		InitContainers: []v1.Container{{Name: "i"}}, Containers: []v1.Container{{Name: "c"}},
		Volumes: []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}, {Name: "claim"}, {Name: "image", VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{}}}},
	}}
	in.Observed.Mounts = map[string]pod.Mount{"claim": {Kind: "csi"}}
	for _, step := range []struct {
		kind plan.Kind
		name string
		err  error
	}{
		{plan.CgroupCreate, "", nil}, {plan.VolumeMount, "v", nil}, {plan.VolumeMount, "claim", errors.New("no driver")}, {plan.VolumeUnmount, "claim", nil},
		{plan.VolumeMount, "image", nil}, {plan.VolumeUnmount, "image", nil}, {plan.VolumeMount, "image", errors.New("no image")},
		{plan.ContainerStart, "c", nil}, {plan.ContainerStart, "c", errors.New("?")}, {plan.ImagePull, "i", &pod.Error{Class: "ErrImagePull", Err: errors.New("no image")}},
	} {
		_, _ = CountedActor{actor{step.err}, c, NewStarts(c)}.Do(t.Context(), in, plan.Action{Kind: step.kind, Name: step.name})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = CountedActor{actor{over.Err()}, c, NewStarts(c)}.Do(over, in, plan.Action{Kind: plan.ContainerStart, Name: "c"})
	has(t, told(t, c.Handler()),
		`kubelet_cgroup_manager_duration_seconds_count{operation_type="create"} 1`,
		`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="success",volume_plugin="kubernetes.io/empty-dir"} 1`,
		`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="fail-unknown",volume_plugin="kubernetes.io/csi"} 1`,
		`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_unmount",status="success",volume_plugin="kubernetes.io/csi"} 1`,
		`kubelet_image_volume_requested_total 2`, `kubelet_image_volume_mounted_succeed_total 1`, `kubelet_image_volume_mounted_errors_total 1`,
		`kubelet_started_containers_errors_total{code="RunContainerError",container_type="container"} 1`,
		`kubelet_started_containers_errors_total{code="ErrImagePull",container_type="init_container"} 1`)
}

func TestShow_CountsPodsByTheirStatus(t *testing.T) {
	c := New("v1")
	resizing := v1.PodCondition{Type: v1.PodResizeInProgress, Status: v1.ConditionTrue}
	pending := v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: "Deferred"}
	pods := []*v1.Pod{
		{
			Spec:   v1.PodSpec{EphemeralContainers: make([]v1.EphemeralContainer, 2)},
			Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{resizing, pending}, ContainerStatuses: []v1.ContainerStatus{{State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}},
		},
		{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/config.source": "file"}}, Status: v1.PodStatus{Phase: v1.PodSucceeded}},
	}
	err := c.Show(Facts{
		Node: "n", CgroupV2: true, Pods: func() []*v1.Pod { return pods },
		Volumes: func(types.UID) (map[string]pod.Mount, error) {
			return map[string]pod.Mount{"a": {Kind: "emptyDir", Ready: true}, "b": {Kind: "csi"}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := told(t, c.Handler())
	has(t, text, `kubelet_node_name{node="n"} 1`, `kubelet_cgroup_version 2`, `kubelet_running_pods 1`, `kubelet_running_containers{container_state="running"} 1`,
		`kubelet_desired_pods{static=""} 1`, `kubelet_desired_pods{static="true"} 1`, `kubelet_active_pods{static="true"} 0`,
		`kubelet_managed_ephemeral_containers 2`, `kubelet_pod_in_progress_resizes 1`, `kubelet_pod_pending_resizes{reason="Deferred"} 1`,
		`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="actual_state_of_world"} 2`)
	if strings.Contains(text, `plugin_name="kubernetes.io/csi"`) {
		t.Error("a volume is told of that is not mounted")
	}
}

// Who is not let in chooses the path: it must not make series.
func TestRequests_AreOfFewKinds(t *testing.T) {
	c := New("v1")
	h, err := c.Requests(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/metrics/cadvisor", "/exec/ns/p/c", "/a", "/b/c", "/"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW", "/pods", nil))
	has(t, told(t, c.Handler()),
		`kubelet_http_requests_total{long_running="false",method="GET",path="metrics/cadvisor",server_type="readwrite"} 1`,
		`kubelet_http_requests_total{long_running="true",method="GET",path="exec",server_type="readwrite"} 1`,
		`kubelet_http_requests_total{long_running="false",method="GET",path="other",server_type="readwrite"} 3`,
		`kubelet_http_requests_total{long_running="false",method="other",path="pods",server_type="readwrite"} 1`,
		`kubelet_http_inflight_requests{long_running="false",method="GET",path="metrics/cadvisor",server_type="readwrite"} 0`)
}

func TestPlugin(t *testing.T) {
	got := map[string]string{}
	for _, kind := range []string{"emptyDir", "configMap", "secret", "projected", "downwardAPI", "csi", "local"} {
		got[kind] = plugin(kind)
	}
	want := map[string]string{
		"emptyDir": "kubernetes.io/empty-dir", "configMap": "kubernetes.io/configmap", "secret": "kubernetes.io/secret", "projected": "kubernetes.io/projected",
		"downwardAPI": "kubernetes.io/downward-api", "csi": "kubernetes.io/csi", "local": "kubernetes.io/local-volume",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
