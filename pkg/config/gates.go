package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// gates are the feature gates of Kubernetes 1.36 that concern a node, with what this agent does: naming the other value is
// an error. The agent has no gates of its own: what a gate stands for is there or is not.
func gates() map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(`
		ClusterTrustBundleProjection ContainerCheckpoint ContainerRestartRules ContainerStopSignals CustomCPUCFSQuotaPeriod EventedPLEG ExecProbeTimeout HostnameOverride
		ImageMaximumGCAge ImageVolume KubeletCgroupDriverFromCRI KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
		KubeletFineGrainedAuthz NodeDeclaredFeatures NodeLogQuery PodCertificateRequest PodLevelResources PodLifecycleSleepAction PodLifecycleSleepActionAllowZero
		PodObservedGenerationTracking PodReadyToStartContainersCondition ProcMountType RecursiveReadOnlyMounts
		RelaxedEnvironmentVariableValidation ReloadKubeletServerCertificateFile RestartAllContainersOnContainerExits
		RotateKubeletServerCertificate SidecarContainers SupplementalGroupsPolicy UserNamespacesSupport`) {
		out[name] = true
	}
	for _, name := range strings.Fields(`
		AllAlpha AllBeta CPUManager CPUManagerPolicyAlphaOptions CPUManagerPolicyBetaOptions CPUManagerPolicyOptions
		CRIListStreaming DisableCPUQuotaWithExclusiveCPUs DynamicResourceAllocation
		ExtendWebSocketsToKubelet GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority
		InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScaling InPlacePodVerticalScalingExclusiveCPUs
		InPlacePodVerticalScalingExclusiveMemory InPlacePodVerticalScalingInitContainers KubeletInUserNamespace
		KubeletSeparateDiskGC KubeletServiceAccountTokenForCredentialProviders KubeletTracing
		LocalStorageCapacityIsolationFSQuotaMonitoring MemoryQoS NodeSwap
		PodLevelResourceManagers PodLogsQuerySplitStreams PreventStaticPodAPIReferences QOSReserved
		ReduceDefaultCrashLoopBackOffDecay ResourceHealthStatus TopologyManagerPolicyAlphaOptions
		TopologyManagerPolicyBetaOptions TopologyManagerPolicyOptions UserNamespacesHostNetworkSupport`) {
		out[name] = false
	}
	return out
}

// foreignGates are gates of the API server, the schedulers and the controllers. One list of gates often goes to all programs
// of a cluster: here they are taken and mean nothing.
func foreignGates() []string {
	return strings.Fields(`
		AnyVolumeDataSource AuthorizeNodeWithSelectors CrossNamespaceVolumeDataSource DeploymentReplicaSetTerminatingReplicas
		GangScheduling GenericWorkload HPAConfigurableTolerance HPAScaleToZero JobBackoffLimitPerIndex JobManagedBy
		JobPodReplacementPolicy JobSuccessPolicy LogarithmicScaleDown MatchLabelKeysInPodAffinity
		MatchLabelKeysInPodTopologySpread MaxUnavailableStatefulSet MultiCIDRServiceAllocator MutableCSINodeAllocatableCount
		NFTablesProxyMode NodeInclusionPolicyInPodTopologySpread OpportunisticBatching OrderedNamespaceDeletion PodDeletionCost
		PodSchedulingReadiness PodTopologyLabelsAdmission PreferSameTrafficDistribution RecoverVolumeExpansionFailure
		RelaxedServiceNameValidation SchedulerAsyncAPICalls SchedulerAsyncPreemption SchedulerPopFromBackoffQ
		SchedulerQueueingHints SeparateTaintEvictionController ServiceAccountNodeAudienceRestriction ServiceAccountTokenJTI
		ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation ServiceAccountTokenPodNodeInfo
		StatefulSetSemanticRevisionComparison StorageVersionMigrator StreamingCollectionEncodingToJSON
		StreamingCollectionEncodingToProtobuf StrictIPCIDRValidation TranslateStreamCloseWebsocketRequests VolumeAttributesClass
		WatchList`)
}

func (c *checks) gates(set map[string]bool) {
	known, foreign := gates(), foreignGates()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		is, ok := known[name]
		switch {
		case slices.Contains(foreign, name):
		case !ok:
			c.fail("featureGates."+name, "%s", unknownGate(name, known))
		case is != set[name]:
			c.fail("featureGates."+name, "always %t in this agent: remove it", is)
		}
	}
}

func unknownGate(name string, known map[string]bool) string {
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if strings.EqualFold(k, name) {
			return fmt.Sprintf("unknown: did you mean %q?", k)
		}
	}
	return "unknown to this agent: remove it"
}
