package config

import (
	"cmp"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

// defaults fills in the kubelet's own defaults of what the agent acts on.
func defaults(kc *kubelet.KubeletConfiguration) {
	orDuration(&kc.FileCheckFrequency, 20*time.Second)
	orDuration(&kc.HTTPCheckFrequency, 20*time.Second)
	kc.EnableServer = cmp.Or(kc.EnableServer, new(true))
	kc.Address = cmp.Or(kc.Address, "0.0.0.0")
	kc.Port = cmp.Or(kc.Port, 10250)
	kc.HealthzPort = cmp.Or(kc.HealthzPort, new(int32(10248)))
	kc.HealthzBindAddress = cmp.Or(kc.HealthzBindAddress, "127.0.0.1")
	kc.EnableDebuggingHandlers = cmp.Or(kc.EnableDebuggingHandlers, new(true))
	kc.EnableSystemLogHandler = cmp.Or(kc.EnableSystemLogHandler, new(true))
	kc.EnableDebugFlagsHandler = cmp.Or(kc.EnableDebugFlagsHandler, new(true))
	kc.EnableProfilingHandler = cmp.Or(kc.EnableProfilingHandler, new(true))
	orDuration(&kc.StreamingConnectionIdleTimeout, 4*time.Hour)
	kc.Authentication.Anonymous.Enabled = cmp.Or(kc.Authentication.Anonymous.Enabled, new(false))
	kc.Authentication.Webhook.Enabled = cmp.Or(kc.Authentication.Webhook.Enabled, new(true))
	orDuration(&kc.Authentication.Webhook.CacheTTL, 2*time.Minute)
	kc.Authorization.Mode = cmp.Or(kc.Authorization.Mode, kubelet.KubeletAuthorizationModeWebhook)
	orDuration(&kc.Authorization.Webhook.CacheAuthorizedTTL, 5*time.Minute)
	orDuration(&kc.Authorization.Webhook.CacheUnauthorizedTTL, 30*time.Second)
	kc.ContainerRuntimeEndpoint = cmp.Or(kc.ContainerRuntimeEndpoint, "unix:///run/containerd/containerd.sock")
	orDuration(&kc.RuntimeRequestTimeout, 2*time.Minute)
	defaultNode(kc)
	defaultPods(kc)
	defaultShown(kc)
}

// defaultShown fills in what the agent does anyway, for those who ask a node what it is told.
func defaultShown(kc *kubelet.KubeletConfiguration) {
	kc.CPUManagerPolicy = cmp.Or(kc.CPUManagerPolicy, "none")
	orDuration(&kc.CPUManagerReconcilePeriod, 10*time.Second)
	kc.MemoryManagerPolicy = cmp.Or(kc.MemoryManagerPolicy, "None")
	kc.TopologyManagerPolicy = cmp.Or(kc.TopologyManagerPolicy, "none")
	kc.TopologyManagerScope = cmp.Or(kc.TopologyManagerScope, "container")
	kc.ContentType = cmp.Or(kc.ContentType, "application/vnd.kubernetes.protobuf")
	kc.ConfigMapAndSecretChangeDetectionStrategy = cmp.Or(kc.ConfigMapAndSecretChangeDetectionStrategy, kubelet.WatchChangeDetectionStrategy)
	kc.HairpinMode = cmp.Or(kc.HairpinMode, kubelet.PromiscuousBridge)
	kc.MakeIPTablesUtilChains = cmp.Or(kc.MakeIPTablesUtilChains, new(true))
	kc.FailCgroupV1 = cmp.Or(kc.FailCgroupV1, new(false))
	kc.EnableSystemLogQuery = cmp.Or(kc.EnableSystemLogQuery, new(false))
	kc.MergeDefaultEvictionSettings = cmp.Or(kc.MergeDefaultEvictionSettings, new(false))
	kc.MaxOpenFiles = cmp.Or(kc.MaxOpenFiles, 1000000)
	kc.IPTablesMasqueradeBit = cmp.Or(kc.IPTablesMasqueradeBit, new(int32(14)))
	kc.IPTablesDropBit = cmp.Or(kc.IPTablesDropBit, new(int32(15)))
	kc.MemoryReservationPolicy = cmp.Or(kc.MemoryReservationPolicy, kubelet.NoneMemoryReservationPolicy)
	kc.MemoryThrottlingFactor = cmp.Or(kc.MemoryThrottlingFactor, new(0.9))
	kc.VolumePluginDir = cmp.Or(kc.VolumePluginDir, pluginDir)
	orDuration(&kc.SyncFrequency, time.Minute)
	if kc.Logging.FlushFrequency.Duration.Duration == 0 {
		kc.Logging.FlushFrequency.Duration.Duration, kc.Logging.FlushFrequency.SerializeAsString = 5*time.Second, true
	}
}

func defaultNode(kc *kubelet.KubeletConfiguration) {
	kc.RegisterNode = cmp.Or(kc.RegisterNode, new(true))
	kc.MaxPods = cmp.Or(kc.MaxPods, 110)
	kc.PodPidsLimit = cmp.Or(kc.PodPidsLimit, new(int64(-1)))
	if kc.NodeStatusReportFrequency.Duration == 0 { // as often as it is computed when only that is set
		orDuration(&kc.NodeStatusReportFrequency, cmp.Or(kc.NodeStatusUpdateFrequency.Duration, 5*time.Minute))
	}
	orDuration(&kc.NodeStatusUpdateFrequency, 10*time.Second)
	kc.NodeLeaseDurationSeconds = cmp.Or(kc.NodeLeaseDurationSeconds, 40)
	kc.NodeStatusMaxImages = cmp.Or(kc.NodeStatusMaxImages, new(int32(50)))
	kc.KubeAPIQPS = cmp.Or(kc.KubeAPIQPS, new(int32(50)))
	kc.KubeAPIBurst = cmp.Or(kc.KubeAPIBurst, 100)
	kc.EventRecordQPS = cmp.Or(kc.EventRecordQPS, new(int32(50)))
	kc.EventBurst = cmp.Or(kc.EventBurst, 100)
	kc.ResolverConfig = cmp.Or(kc.ResolverConfig, new("/etc/resolv.conf"))
	kc.CgroupsPerQOS = cmp.Or(kc.CgroupsPerQOS, new(true))
	kc.CPUCFSQuota = cmp.Or(kc.CPUCFSQuota, new(true))
	kc.CPUCFSQuotaPeriod = cmp.Or(kc.CPUCFSQuotaPeriod, &metav1.Duration{Duration: 100 * time.Millisecond})
	kc.OOMScoreAdj = cmp.Or(kc.OOMScoreAdj, new(int32(-999)))
	kc.FailSwapOn = cmp.Or(kc.FailSwapOn, new(true))
	switch { // what is set to nothing is written out: an empty value cannot be shown
	case kc.EnforceNodeAllocatable == nil:
		kc.EnforceNodeAllocatable = []string{"pods"}
	case len(kc.EnforceNodeAllocatable) == 0:
		kc.EnforceNodeAllocatable = []string{"none"}
	}
	if hard := defaultHard(); kc.EvictionHard == nil {
		kc.EvictionHard = hard
	} else if kc.MergeDefaultEvictionSettings != nil && *kc.MergeDefaultEvictionSettings {
		maps.Copy(hard, kc.EvictionHard)
		kc.EvictionHard = hard
	} else if len(kc.EvictionHard) == 0 {
		for signal := range hard {
			kc.EvictionHard[signal] = "0%"
		}
	}
	orDuration(&kc.EvictionPressureTransitionPeriod, 5*time.Minute)
}

func defaultPods(kc *kubelet.KubeletConfiguration) {
	kc.SerializeImagePulls = cmp.Or(kc.SerializeImagePulls, new(kc.MaxParallelImagePulls == nil || *kc.MaxParallelImagePulls == 1))
	kc.RegistryPullQPS = cmp.Or(kc.RegistryPullQPS, new(int32(5)))
	kc.RegistryBurst = cmp.Or(kc.RegistryBurst, 10)
	kc.ImagePullCredentialsVerificationPolicy = cmp.Or(kc.ImagePullCredentialsVerificationPolicy, kubelet.NeverVerifyPreloadedImages)
	kc.ImageGCHighThresholdPercent = cmp.Or(kc.ImageGCHighThresholdPercent, new(int32(85)))
	kc.ImageGCLowThresholdPercent = cmp.Or(kc.ImageGCLowThresholdPercent, new(int32(80)))
	orDuration(&kc.ImageMinimumGCAge, 2*time.Minute)
	kc.PodLogsDir = cmp.Or(kc.PodLogsDir, "/var/log/pods")
	kc.ContainerLogMaxSize = cmp.Or(kc.ContainerLogMaxSize, "10Mi")
	kc.ContainerLogMaxFiles = cmp.Or(kc.ContainerLogMaxFiles, new(int32(5)))
	kc.ContainerLogMaxWorkers = cmp.Or(kc.ContainerLogMaxWorkers, new(int32(1)))
	kc.ContainerLogMonitorInterval = cmp.Or(kc.ContainerLogMonitorInterval, &metav1.Duration{Duration: 10 * time.Second})
	kc.CrashLoopBackOff.MaxContainerRestartPeriod = cmp.Or(kc.CrashLoopBackOff.MaxContainerRestartPeriod, &metav1.Duration{Duration: 5 * time.Minute})
	kc.EnableControllerAttachDetach = cmp.Or(kc.EnableControllerAttachDetach, new(true))
	kc.SeccompDefault = cmp.Or(kc.SeccompDefault, new(false))
	kc.LocalStorageCapacityIsolation = cmp.Or(kc.LocalStorageCapacityIsolation, new(true))
	kc.Logging.Format = cmp.Or(kc.Logging.Format, "text")
}

func orDuration(d *metav1.Duration, value time.Duration) {
	d.Duration = cmp.Or(d.Duration, value)
}

func defaultHard() map[string]string {
	return map[string]string{
		"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%", "imagefs.inodesFree": "5%",
	}
}

func orZero(n *int32) int {
	if n == nil {
		return 0
	}
	return int(*n)
}
