package resources

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// NodeFacts is what of the node decides an admission.
type NodeFacts struct {
	Node                     *v1.Node // name, labels and taints are read
	Allocatable              v1.ResourceList
	KernelVersion            string   // as nodeInfo has it; sysctls are safe from certain versions on
	AllowedUnsafeSysctls     []string // allowedUnsafeSysctls: names and patterns that end in *
	SupplementalGroupsPolicy bool     // the runtime implements SupplementalGroupsPolicy Strict
	AppArmor                 bool     // the kernel enforces profiles
	Pressure                 []v1.NodeConditionType
}

// Reasons for which a pod is refused, as status.reason has them; the others name a resource (OutOfcpu) or a rule of the
// scheduler (NodeAffinity).
const (
	reasonEvicted           = "Evicted"
	reasonSysctlForbidden   = "SysctlForbidden"
	reasonOS                = "PodOSNotSupported"
	reasonOSSelector        = "PodOSSelectorNodeLabelDoesNotMatch"
	reasonAppArmor          = "AppArmor"
	reasonSupplementalGroup = "SupplementalGroupsPolicyNotSupported"
	reasonUnexpected        = "UnexpectedAdmissionError"
)

// Admit decides whether a pod may run beside those that were admitted before. It returns nil, or the verdict that
// refuses it, without a time.
func Admit(n NodeFacts, running []*v1.Pod, p *v1.Pod) *pod.Verdict {
	for _, rule := range []func(NodeFacts, []*v1.Pod, *v1.Pod) *pod.Verdict{
		names, pressure, sysctls, system, fits, affinity, ports, taints, appArmor,
	} {
		if v := rule(n, running, p); v != nil {
			return v
		}
	}
	return nil
}

func refuse(reason, format string, args ...any) *pod.Verdict {
	return &pod.Verdict{Phase: v1.PodFailed, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// refusePredicate refuses by a rule that the scheduler has as well.
func refusePredicate(name, why string) *pod.Verdict {
	return refuse(name, "Predicate %s failed: %s", name, why)
}

// names refuses pods for which no directory could be made.
func names(_ NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if why := pod.Unnameable(p); why != "" {
		return refuse(reasonUnexpected, "the name of the pod is %s", why)
	}
	return nil
}

// pressure refuses pods on a node that runs out of something. Critical pods are taken always; when memory alone is
// short, so are pods that are not best effort, and those that tolerate it.
func pressure(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if len(n.Pressure) == 0 || pod.IsCritical(p) {
		return nil
	}
	if len(n.Pressure) == 1 && n.Pressure[0] == v1.NodeMemoryPressure {
		short := v1.Taint{Key: v1.TaintNodeMemoryPressure, Effect: v1.TaintEffectNoSchedule}
		if QOSClass(p) != v1.PodQOSBestEffort || corev1.TolerationsTolerateTaint(klog.Logger{}, p.Spec.Tolerations, &short, false) {
			return nil
		}
	}
	return refuse(reasonEvicted, "The node had condition: %v. ", n.Pressure)
}

// appArmor refuses pods that ask for a profile where the kernel would enforce none.
func appArmor(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if n.AppArmor {
		return nil
	}
	asked := func(profile *v1.AppArmorProfile) bool {
		return profile != nil && profile.Type != v1.AppArmorProfileTypeUnconfined
	}
	required := p.Spec.SecurityContext != nil && asked(p.Spec.SecurityContext.AppArmorProfile)
	for _, c := range pod.Spec(p) {
		required = required || c.SecurityContext != nil && asked(c.SecurityContext.AppArmorProfile)
	}
	for key, value := range p.Annotations { // from before there were fields
		required = required || strings.HasPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) &&
			value != v1.DeprecatedAppArmorBetaProfileNameUnconfined
	}
	if required {
		return refuse(reasonAppArmor, "Cannot enforce AppArmor: AppArmor is not enabled on the host")
	}
	return nil
}

// system refuses pods that are written for another operating system or need what the runtime has not.
func system(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if want, ok := p.Labels[v1.LabelOSStable]; ok && want != string(v1.Linux) {
		return refuse(reasonOSSelector, "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label")
	}
	if p.Spec.OS != nil && p.Spec.OS.Name != v1.Linux {
		return refuse(reasonOS, "Failed to admit pod as the OS field doesn't match node OS")
	}
	if sc := p.Spec.SecurityContext; sc != nil && sc.SupplementalGroupsPolicy != nil &&
		*sc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict && !n.SupplementalGroupsPolicy {
		return refuse(reasonSupplementalGroup, "SupplementalGroupsPolicy=%s is not supported in this node", v1.SupplementalGroupsPolicyStrict)
	}
	return nil
}

// fits compares what the pod requests with what the others leave of the node's allocatable resources.
func fits(n NodeFacts, running []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if capacity := n.Allocatable.Pods().Value(); int64(len(running))+1 > capacity {
		return outOf(v1.ResourcePods, 1, int64(len(running)), capacity)
	}
	requests := Requests(p)
	wanted := make([]v1.ResourceName, 0, len(requests))
	for name, q := range requests {
		_, known := n.Allocatable[name]
		if !q.IsZero() && (known || !isExtended(name)) { // extended resources that no node has are the cluster's own
			wanted = append(wanted, name)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	slices.SortFunc(wanted, func(a, b v1.ResourceName) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	used := v1.ResourceList{}
	for _, other := range running {
		for name, q := range Requests(other) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for _, name := range wanted {
		request, taken, capacity := amount(name, requests), amount(name, used), amount(name, n.Allocatable)
		if request > capacity-taken {
			return outOf(name, request, taken, capacity)
		}
	}
	return nil
}

// Resize decides whether a pod that runs may have other resources, beside those that run with it: nil, or why not now
// (Deferred) or never here (Infeasible).
func Resize(n NodeFacts, others []*v1.Pod, p *v1.Pod) *pod.Reason {
	if v := fits(n, nil, p); v != nil {
		return &pod.Reason{Reason: v1.PodReasonInfeasible, Message: v.Message}
	}
	if v := fits(n, others, p); v != nil {
		return &pod.Reason{Reason: v1.PodReasonDeferred, Message: v.Message}
	}
	return nil
}

func outOf(name v1.ResourceName, requested, used, capacity int64) *pod.Verdict {
	return refuse("OutOf"+string(name), "Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
		name, requested, used, capacity)
}

// amount is a resource in the unit that messages have: milli-CPU, bytes, pieces.
func amount(name v1.ResourceName, l v1.ResourceList) int64 {
	q := l[name]
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// rank is the order in which resources are checked and so named.
func rank(name v1.ResourceName) int {
	if i := slices.Index([]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage}, name); i >= 0 {
		return i
	}
	return 3
}

func isExtended(name v1.ResourceName) bool {
	domain, _, qualified := strings.Cut(string(name), "/")
	return qualified && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

// affinity holds the pod to its own node selector and required node affinity, and to the node that it names.
func affinity(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(n.Node); err != nil || !ok {
		return refusePredicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
	}
	if p.Spec.NodeName != "" && p.Spec.NodeName != n.Node.Name {
		return refusePredicate("NodeName", "node(s) didn't match the requested node name")
	}
	return nil
}

// hostPort is a port of the node that a pod wants.
type hostPort struct {
	ip       string // "" is every address
	protocol v1.Protocol
	port     int32
}

func hostPorts(p *v1.Pod) (all []hostPort) {
	for role, c := range pod.Spec(p) {
		if role != pod.Main && role != pod.Sidecar {
			continue
		}
		for _, port := range c.Ports {
			want := hostPort{ip: port.HostIP, protocol: cmp.Or(port.Protocol, v1.ProtocolTCP), port: port.HostPort}
			if p.Spec.HostNetwork && want.port == 0 {
				want.port = port.ContainerPort
			}
			if want.ip == "0.0.0.0" {
				want.ip = ""
			}
			if want.port > 0 {
				all = append(all, want)
			}
		}
	}
	return all
}

func (h hostPort) conflicts(o hostPort) bool {
	return h.port == o.port && h.protocol == o.protocol && (h.ip == o.ip || h.ip == "" || o.ip == "")
}

func ports(_ NodeFacts, running []*v1.Pod, p *v1.Pod) *pod.Verdict {
	wanted := hostPorts(p)
	if len(wanted) == 0 {
		return nil
	}
	for _, other := range running {
		for _, taken := range hostPorts(other) {
			if slices.ContainsFunc(wanted, taken.conflicts) {
				return refusePredicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
			}
		}
	}
	return nil
}

// taints refuses pods that do not tolerate a NoExecute taint of the node. Static pods run in spite of taints.
func taints(n NodeFacts, _ []*v1.Pod, p *v1.Pod) *pod.Verdict {
	if pod.IsStatic(p) {
		return nil
	}
	noExecute := func(t *v1.Taint) bool { return t.Effect == v1.TaintEffectNoExecute }
	if _, untolerated := corev1.FindMatchingUntoleratedTaint(klog.Logger{}, n.Node.Spec.Taints, p.Spec.Tolerations, noExecute, false); untolerated {
		return refusePredicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
	}
	return nil
}
