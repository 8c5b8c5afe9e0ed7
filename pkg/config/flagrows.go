package config

import "slices"

// flagRow is a flag that stands for a field of KubeletConfiguration.
type flagRow struct {
	name  string
	field string
	kind  flagKind
	usage string
}

// fieldFlags are the kubelet's flags of fields. Defaults are the fields'.
func fieldFlags() []flagRow {
	return slices.Concat(podFlags(), nodeFlags(), resourceFlags(), apiFlags(), otherFlags())
}

// podFlags are of pods, where they come from, and what runs them.
func podFlags() []flagRow {
	return []flagRow{
		{"pod-manifest-path", "staticPodPath", text, "directory with manifests of pods"},
		{"manifest-url", "staticPodURL", text, "URL of a manifest of pods"},
		{"manifest-url-header", "staticPodURLHeader", headers, "headers of requests to the URL"},
		{"file-check-frequency", "fileCheckFrequency", duration, "how often the manifest directory is read without an event"},
		{"http-check-frequency", "httpCheckFrequency", duration, "how often the URL is read"},
		{"max-pods", "maxPods", number, "how many pods run at most"},
		{"pods-per-core", "podsPerCore", number, "how many pods run per core at most; 0: no such limit"},
		{"pod-max-pids", "podPidsLimit", number, "processes per pod at most; -1: no limit"},
		{"pod-cidr", "podCIDR", text, "addresses of pods on the agent's own bridge network"},
		{"seccomp-default", "seccompDefault", boolean, "containers that name no seccomp profile get RuntimeDefault"},
		{"allowed-unsafe-sysctls", "allowedUnsafeSysctls", list, "sysctls beside the safe ones that pods may set; a pattern may end in *"},
		{"sync-frequency", "syncFrequency", duration, "without effect: nothing is polled"},
		{"container-runtime-endpoint", "containerRuntimeEndpoint", text, "the runtime's CRI socket"},
		{"image-service-endpoint", "imageServiceEndpoint", text, "CRI socket for images, when it is another one"},
		{"runtime-request-timeout", "runtimeRequestTimeout", duration, "deadline of runtime calls, except the long ones"},
		{"serialize-image-pulls", "serializeImagePulls", boolean, "pull one image at a time"},
		{"registry-qps", "registryPullQPS", number, "pulls begun per second; 0: no limit"},
		{"registry-burst", "registryBurst", number, "pulls begun at once at most"},
		{"image-gc-high-threshold", "imageGCHighThresholdPercent", number, "disk usage in per cent at which images begin to be removed; 100: never"},
		{"image-gc-low-threshold", "imageGCLowThresholdPercent", number, "disk usage in per cent down to which they are removed"},
		{"minimum-image-ttl-duration", "imageMinimumGCAge", duration, "age below which an unused image stays"},
		{"container-log-max-size", "containerLogMaxSize", text, "size at which a container's log is rotated"},
		{"container-log-max-files", "containerLogMaxFiles", number, "files of a container's log at most"},
	}
}

// nodeFlags are of the node and of the agent itself.
func nodeFlags() []flagRow {
	return []flagRow{
		{"register-node", "registerNode", boolean, "make the Node object"},
		{"register-with-taints", "registerWithTaints", taints, "taints of the Node"},
		{"provider-id", "providerID", text, "how a cloud provider knows the node"},
		{"node-status-update-frequency", "nodeStatusUpdateFrequency", duration, "how often the node's status is computed"},
		{"node-status-max-images", "nodeStatusMaxImages", number, "images in the node's status at most; -1: all"},
		{"kube-api-qps", "kubeAPIQPS", number, "requests to the API server per second"},
		{"kube-api-burst", "kubeAPIBurst", number, "requests to the API server at once"},
		{"kube-api-content-type", "contentType", text, "encoding of requests to the API server"},
		{"event-qps", "eventRecordQPS", number, "events per second; 0: no limit"},
		{"event-burst", "eventBurst", number, "events at once at most"},
		{"fail-swap-on", "failSwapOn", boolean, "do not start on a node that has swap on"},
		{"oom-score-adj", "oomScoreAdj", number, "oom_score_adj of the agent, -1000 to 1000"},
		{"enable-controller-attach-detach", "enableControllerAttachDetach", boolean, "the controller attaches volumes"},
		{"local-storage-capacity-isolation", "localStorageCapacityIsolation", boolean, "ephemeral storage is counted and limited"},
		{"feature-gates", "featureGates", switches, "feature gates, only with the value that they have in this agent"},
		{"v", "logging.verbosity", number, "verbosity of the log: 0 to 1 info, 2 and more debug"},
		{"logging-format", "logging.format", text, "text or json"},
		{"rotate-certificates", "rotateCertificates", boolean, "renew the client certificate before it expires"},
		{"rotate-server-certificates", "serverTLSBootstrap", boolean, "have the cluster sign the certificate of the HTTPS API"},
		{"protect-kernel-defaults", "protectKernelDefaults", boolean, "not supported"},
	}
}

// resourceFlags are of cgroups, reserves and eviction.
func resourceFlags() []flagRow {
	return []flagRow{
		{"cgroup-driver", "cgroupDriver", text, "cgroupfs or systemd; empty: what the runtime says"},
		{"cgroup-root", "cgroupRoot", text, "cgroup below which pods run"},
		{"cgroups-per-qos", "cgroupsPerQOS", boolean, "make a cgroup for each QoS class and pod"},
		{"cpu-cfs-quota", "cpuCFSQuota", boolean, "enforce CPU limits"},
		{"cpu-cfs-quota-period", "cpuCFSQuotaPeriod", duration, "period of CPU limits"},
		{"cpu-manager-policy", "cpuManagerPolicy", text, "none"},
		{"memory-manager-policy", "memoryManagerPolicy", text, "None"},
		{"topology-manager-policy", "topologyManagerPolicy", text, "none"},
		{"kube-reserved", "kubeReserved", pairs, "resources that are kept from pods for Kubernetes"},
		{"system-reserved", "systemReserved", pairs, "resources that are kept from pods for the system"},
		{"enforce-node-allocatable", "enforceNodeAllocatable", list, "pods or none"},
		{"eviction-hard", "evictionHard", limits, "thresholds at which pods are evicted at once"},
		{"eviction-soft", "evictionSoft", limits, "thresholds at which pods are evicted after a grace period"},
		{"eviction-soft-grace-period", "evictionSoftGracePeriod", pairs, "how long a soft threshold must be crossed"},
		{"eviction-minimum-reclaim", "evictionMinimumReclaim", pairs, "how much more than the threshold must be free again"},
		{"eviction-max-pod-grace-period", "evictionMaxPodGracePeriod", number, "grace period in seconds of pods that a soft threshold evicts"},
		{"eviction-pressure-transition-period", "evictionPressureTransitionPeriod", duration, "how long a pressure stands after it was seen last"},
	}
}

// apiFlags are of DNS and of the HTTPS API.
func apiFlags() []flagRow {
	return []flagRow{
		{"cluster-dns", "clusterDNS", list, "addresses of the cluster's DNS servers"},
		{"cluster-domain", "clusterDomain", text, "DNS domain of the cluster"},
		{"resolv-conf", "resolvConf", text, "file that pods inherit their DNS settings from; empty: none"},
		{"enable-server", "enableServer", boolean, "serve the HTTPS API"},
		{"address", "address", text, "address of the HTTPS API"},
		{"port", "port", number, "port of the HTTPS API"},
		{"read-only-port", "readOnlyPort", number, "0: there is none"},
		{"healthz-bind-address", "healthzBindAddress", text, "address of healthz"},
		{"healthz-port", "healthzPort", number, "port of healthz; 0: off"},
		{"enable-debugging-handlers", "enableDebuggingHandlers", boolean, "serve exec, attach, port-forward, run and logs"},
		{"streaming-connection-idle-timeout", "streamingConnectionIdleTimeout", duration, "how long a stream may be silent; 0: for ever"},
		{"tls-cert-file", "tlsCertFile", text, "certificate of the HTTPS API; without it the agent signs its own"},
		{"tls-private-key-file", "tlsPrivateKeyFile", text, "its key"},
		{"tls-cipher-suites", "tlsCipherSuites", list, "cipher suites of TLS 1.2; empty: Go's"},
		{"tls-min-version", "tlsMinVersion", text, "VersionTLS12 or VersionTLS13"},
		{"client-ca-file", "authentication.x509.clientCAFile", text, "who signs the certificates of the API's clients"},
		{"anonymous-auth", "authentication.anonymous.enabled", boolean, "serve requests without credentials"},
		{"authentication-token-webhook", "authentication.webhook.enabled", boolean, "ask the API server about bearer tokens"},
		{"authentication-token-webhook-cache-ttl", "authentication.webhook.cacheTTL", duration, "how long its answers hold"},
		{"authorization-mode", "authorization.mode", text, "Webhook or AlwaysAllow"},
		{"authorization-webhook-cache-authorized-ttl", "authorization.webhook.cacheAuthorizedTTL", duration, "how long a yes holds"},
		{"authorization-webhook-cache-unauthorized-ttl", "authorization.webhook.cacheUnauthorizedTTL", duration, "how long a no holds"},
	}
}

// otherFlags stand for fields that have no effect, or that are refused when they are set: the error then says so, and a unit
// that gives a kubelet's default goes on working. Those that are refused do not stand in the help.
func otherFlags() []flagRow {
	const none, refused = "without effect", "not supported"
	return []flagRow{
		{"hairpin-mode", "hairpinMode", text, none},
		{"make-iptables-util-chains", "makeIPTablesUtilChains", boolean, none},
		{"cpu-manager-reconcile-period", "cpuManagerReconcilePeriod", duration, none},
		{"volume-stats-agg-period", "volumeStatsAggPeriod", duration, none},
		{"fail-cgroupv1", "failCgroupV1", boolean, "false: both versions of cgroups do"},
		{"topology-manager-scope", "topologyManagerScope", text, "container"},
		{"contention-profiling", "enableContentionProfiling", boolean, refused},
		{"cpu-manager-policy-options", "cpuManagerPolicyOptions", pairs, refused},
		{"kernel-memcg-notification", "kernelMemcgNotification", boolean, refused},
		{"kube-reserved-cgroup", "kubeReservedCgroup", text, refused},
		{"kubelet-cgroups", "kubeletCgroups", text, refused},
		{"max-open-files", "maxOpenFiles", number, refused},
		{"qos-reserved", "qosReserved", pairs, refused},
		{"reserved-cpus", "reservedSystemCPUs", text, refused},
		{"runonce", "runOnce", boolean, refused},
		{"system-cgroups", "systemCgroups", text, refused},
		{"system-reserved-cgroup", "systemReservedCgroup", text, refused},
		{"topology-manager-policy-options", "topologyManagerPolicyOptions", pairs, refused},
		{"volume-plugin-dir", "volumePluginDir", text, refused},
	}
}
