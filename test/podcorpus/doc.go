// Package podcorpus is a set of small pods, and of what they name, good and bad, one a line and by families of fields, each with what a real API
// server of Kubernetes 1.36 says of it. The tests of package manifest hold the node to it; a test against a real API
// server proves that the record is true, and that both fill in the same defaults. Only tests call it.
//
// A line is what a pod sets beside a name and one container, then the fields that the API server complains of:
//
//	c: {imagePullPolicy: Sometimes} -> spec.containers[0].imagePullPolicy
//
// Nothing after it means that the pod is taken. Where the node differs for a reason it says so:
//
//	spec: {serviceAccountName: x} -> ok | spec.serviceAccountName: a static pod has no service account
//
// The keys are spec, meta (metadata), c (the container), init (an init container), volume (one named v), mount (of v in
// the container, at /m), security (of the pod) and top. Other objects have a key of their own: configmap, secret, pv and
// claim, the last two with their spec alone.
package podcorpus
