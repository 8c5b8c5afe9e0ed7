package cri

// Labels of sandboxes and containers in the runtime; other programs on a node (crictl, log shippers, cAdvisor) read them.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// Annotations of containers in the runtime: what an agent wants to know of a container when the pod's specification has
// changed or is gone. The last two, in JSON, are for other programs and for a kubelet that takes the node over.
const (
	annotationHash          = "io.kubernetes.container.hash"
	annotationRestartCount  = "io.kubernetes.container.restartCount"
	annotationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	annotationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	annotationGracePeriod   = "io.kubernetes.pod.terminationGracePeriod"
	annotationDeletionGrace = "io.kubernetes.pod.deletionGracePeriod"
	annotationPorts         = "io.kubernetes.container.ports"
	annotationPreStop       = "io.kubernetes.container.preStopHandler"
)
