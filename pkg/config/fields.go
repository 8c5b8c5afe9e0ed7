package config

import (
	"slices"
	"strings"
)

// supported are the fields of KubeletConfiguration that this agent takes, by path. A field with values is taken with
// these values alone: they are what the agent does anyway. An empty map or list, false, 0 and "" are never refused.
func supported() map[string][]string {
	out := map[string][]string{
		// What the agent does anyway.
		"cpuManagerPolicy":                          {"none"},
		"memoryManagerPolicy":                       {"None"},
		"topologyManagerPolicy":                     {"none"},
		"topologyManagerScope":                      {"container"},
		"hairpinMode":                               {"hairpin-veth", "promiscuous-bridge", "none"}, // of networks that the kubelet has long left to CNI
		"makeIPTablesUtilChains":                    {"true", "false"},                              // other programs no longer need the chains
		"memorySwap.swapBehavior":                   {"NoSwap"},
		"contentType":                               {"application/vnd.kubernetes.protobuf"},
		"configMapAndSecretChangeDetectionStrategy": {"Watch"},
		"logging.format":                            {"text", "json"},
		"logging.flushFrequency":                    nil, // lines are never held back
		"logging.options.json.infoBufferSize":       nil,
		"logging.options.text.infoBufferSize":       nil,
		"cpuManagerReconcilePeriod":                 nil, // of a policy that is not taken
		"syncFrequency":                             nil, // nothing is polled
		"cgroupsPerQOS":                             {"true"},
		"enableControllerAttachDetach":              {"true"},
		"localStorageCapacityIsolation":             {"true"},
		"failCgroupV1":                              {"true", "false"}, // both versions do
		"singleProcessOOMKill":                      {"false"},
		"maxOpenFiles":                              {"1000000"},
		"iptablesMasqueradeBit":                     {"14"},
		"iptablesDropBit":                           {"15"},
		"memoryReservationPolicy":                   {"None"},
		"memoryThrottlingFactor":                    {"0.9"},
		"volumePluginDir":                           {pluginDir},
		"volumeStatsAggPeriod":                      nil,
	}
	for _, path := range []string{
		"apiVersion", "kind", "enableServer", "staticPodPath", "podLogsDir", "fileCheckFrequency", "httpCheckFrequency",
		"staticPodURL", "staticPodURLHeader", "address", "port", "tlsCertFile", "rotateCertificates", "serverTLSBootstrap", "tlsPrivateKeyFile", "tlsCipherSuites",
		"tlsMinVersion", "authentication.x509.clientCAFile", "authentication.anonymous.enabled", "authentication.webhook.enabled",
		"authentication.webhook.cacheTTL", "authorization.mode", "authorization.webhook.cacheAuthorizedTTL",
		"authorization.webhook.cacheUnauthorizedTTL", "registryPullQPS", "registryBurst", "imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist", "eventRecordQPS", "eventBurst",
		"enableDebuggingHandlers", "enableSystemLogHandler", "enableSystemLogQuery", "enableProfilingHandler", "enableDebugFlagsHandler", "healthzPort", "healthzBindAddress", "oomScoreAdj", "clusterDomain", "clusterDNS",
		"streamingConnectionIdleTimeout", "nodeStatusUpdateFrequency", "nodeStatusReportFrequency", "nodeLeaseDurationSeconds",
		"imageMinimumGCAge", "imageMaximumGCAge", "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "cgroupRoot",
		"cgroupDriver", "runtimeRequestTimeout", "maxPods", "podCIDR", "podPidsLimit", "resolvConf",
		"cpuCFSQuota", "cpuCFSQuotaPeriod", "nodeStatusMaxImages", "kubeAPIQPS", "kubeAPIBurst", "serializeImagePulls",
		"maxParallelImagePulls", "evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionPressureTransitionPeriod",
		"evictionMaxPodGracePeriod", "evictionMinimumReclaim", "mergeDefaultEvictionSettings", "podsPerCore",
		"failSwapOn", "containerLogMaxSize", "containerLogMaxFiles", "containerLogMaxWorkers",
		"containerLogMonitorInterval", "systemReserved", "kubeReserved", "enforceNodeAllocatable", "allowedUnsafeSysctls",
		"providerID", "logging.verbosity", "crashLoopBackOff.maxContainerRestartPeriod", "seccompDefault", "registerWithTaints",
		"registerNode", "containerRuntimeEndpoint", "imageServiceEndpoint", "featureGates",
	} {
		out[path] = nil
	}
	return out
}

// pluginDir is a kubelet's directory of FlexVolume plugins.
const pluginDir = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"

// live reports whether the agent can take up a field's new value while it runs.
func live(path string) bool {
	if i := strings.IndexByte(path, '['); i >= 0 {
		path = path[:i]
	}
	return slices.Contains([]string{
		"logging.verbosity", "evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionMinimumReclaim",
		"evictionMaxPodGracePeriod", "evictionPressureTransitionPeriod", "mergeDefaultEvictionSettings",
		"imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "imageMinimumGCAge", "imageMaximumGCAge",
		"containerLogMaxSize", "containerLogMaxFiles",
	}, path)
}
