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
	AnnotationHash          = "io.kubernetes.container.hash"
	AnnotationRestartCount  = "io.kubernetes.container.restartCount"
	AnnotationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	AnnotationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationGracePeriod   = "io.kubernetes.pod.terminationGracePeriod"
	AnnotationDeletionGrace = "io.kubernetes.pod.deletionGracePeriod"
	AnnotationPorts         = "io.kubernetes.container.ports"
	AnnotationPreStop       = "io.kubernetes.container.preStopHandler"
)
