package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

type hostPort struct {
	port     int32
	protocol v1.Protocol
	ip       string
}

// containers validates the containers of one pod, one after the other: their names and host ports must be different.
type containers struct {
	spec    *v1.PodSpec
	volumes map[string]*v1.Volume
	names   sets.Set[string]
	ports   map[hostPort]string
	errs    field.ErrorList
}

func (c *containers) add(errs ...*field.Error) { c.errs = append(c.errs, errs...) }

// hostPorts starts a new count: init containers run one after another, and have ended when the main ones take their ports.
func (c *containers) hostPorts() { clear(c.ports) }

func (c *containers) validate(in *v1.Container, role pod.Role, at *field.Path) {
	if in.Name == "" {
		c.add(field.Required(at.Child("name"), ""))
	} else {
		c.add(messages(at.Child("name"), in.Name, validation.IsDNS1123Label(in.Name))...)
		if c.names.Has(in.Name) {
			c.add(field.Duplicate(at.Child("name"), in.Name))
		}
		c.names.Insert(in.Name)
	}
	switch {
	case in.Image == "":
		c.add(field.Required(at.Child("image"), ""))
	case strings.TrimSpace(in.Image) != in.Image:
		c.add(field.Invalid(at.Child("image"), in.Image, "must not have spaces around it"))
	}
	c.add(oneOf(at.Child("imagePullPolicy"), in.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)...)
	c.add(oneOf(at.Child("terminationMessagePolicy"), in.TerminationMessagePolicy,
		v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)...)
	c.validatePorts(in.Ports, at.Child("ports"))
	c.validateEnv(in, at)
	c.validateMounts(in, at)
	c.add(validateResources(&in.Resources, c.spec.ResourceClaims, at.Child("resources"))...)
	c.add(validateResizePolicy(in, role, c.spec.RestartPolicy, at.Child("resizePolicy"))...)
	c.add(validateSecurity(in.SecurityContext, c.spec, at.Child("securityContext"))...)
	c.validateRestart(in, role, at)
	c.validateProbes(in, role, at)
}

func (c *containers) validateRestart(in *v1.Container, role pod.Role, at *field.Path) {
	if p := in.RestartPolicy; p != nil {
		c.add(oneOf(at.Child("restartPolicy"), *p, v1.ContainerRestartPolicyAlways,
			v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever)...)
	}
	rules := at.Child("restartPolicyRules")
	if len(in.RestartPolicyRules) > 0 && in.RestartPolicy == nil {
		c.add(field.Required(at.Child("restartPolicy"), "restartPolicyRules need it"))
	}
	if len(in.RestartPolicyRules) > 20 {
		c.add(field.TooMany(rules, len(in.RestartPolicyRules), 20))
	}
	for i, r := range in.RestartPolicyRules {
		c.add(oneOf(rules.Index(i).Child("action"), r.Action, v1.ContainerRestartRuleActionRestart,
			v1.ContainerRestartRuleActionRestartAllContainers)...)
		if r.ExitCodes == nil {
			c.add(field.Required(rules.Index(i).Child("exitCodes"), ""))
			continue
		}
		c.add(oneOf(rules.Index(i).Child("exitCodes", "operator"), r.ExitCodes.Operator,
			v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)...)
	}
	if in.Lifecycle != nil && role == pod.Init && !pod.IsSidecar(in) {
		c.add(field.Forbidden(at.Child("lifecycle"), "an init container has none, unless it is a sidecar (restartPolicy: Always)"))
	}
}

func (c *containers) validatePorts(ports []v1.ContainerPort, at *field.Path) {
	names := sets.New[string]()
	for i, p := range ports {
		here := at.Index(i)
		if p.Name != "" {
			c.add(messages(here.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
			if names.Has(p.Name) {
				c.add(field.Duplicate(here.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		if p.ContainerPort == 0 {
			c.add(field.Required(here.Child("containerPort"), ""))
		} else {
			c.add(messages(here.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		}
		c.add(oneOf(here.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
		if p.HostIP != "" {
			c.add(validateIP(here.Child("hostIP"), p.HostIP)...)
		}
		if p.HostPort == 0 {
			continue
		}
		c.add(messages(here.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
		k := hostPort{p.HostPort, p.Protocol, p.HostIP}
		if other, taken := c.ports[k]; taken {
			c.add(field.Invalid(here.Child("hostPort"), p.HostPort, "already taken by "+other))
		} else {
			c.ports[k] = here.String()
		}
	}
}

func (c *containers) validateMounts(in *v1.Container, at *field.Path) {
	seen := map[string]bool{}
	for i, m := range in.VolumeMounts {
		here := at.Child("volumeMounts").Index(i)
		if m.Name == "" {
			c.add(field.Required(here.Child("name"), ""))
		} else if v := c.volumes[m.Name]; v == nil {
			c.add(field.NotFound(here.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			c.add(field.Required(here.Child("mountPath"), ""))
		case seen[m.MountPath]:
			c.add(field.Invalid(here.Child("mountPath"), m.MountPath, "must be unique in the container"))
		default:
			seen[m.MountPath] = true
		}
		if m.SubPath != "" && m.SubPathExpr != "" {
			c.add(field.Invalid(here.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath exclude each other"))
		}
		for name, sub := range map[string]string{"subPath": m.SubPath, "subPathExpr": m.SubPathExpr} {
			if sub != "" && !beneath(sub) {
				c.add(field.Invalid(here.Child(name), sub, "must be a relative path without '..'"))
			}
		}
		if p := m.MountPropagation; p != nil {
			c.add(oneOf(here.Child("mountPropagation"), *p, v1.MountPropagationNone,
				v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional)...)
			if *p == v1.MountPropagationBidirectional && !privileged(in.SecurityContext) {
				c.add(field.Forbidden(here.Child("mountPropagation"), "Bidirectional is only for privileged containers"))
			}
		}
		if r := m.RecursiveReadOnly; r != nil {
			c.add(oneOf(here.Child("recursiveReadOnly"), *r, v1.RecursiveReadOnlyDisabled,
				v1.RecursiveReadOnlyIfPossible, v1.RecursiveReadOnlyEnabled)...)
			if *r != v1.RecursiveReadOnlyDisabled && !m.ReadOnly {
				c.add(field.Forbidden(here.Child("recursiveReadOnly"), "needs readOnly: true"))
			} else if *r != v1.RecursiveReadOnlyDisabled && m.MountPropagation != nil && *m.MountPropagation != v1.MountPropagationNone {
				c.add(field.Forbidden(here.Child("recursiveReadOnly"), "excludes mountPropagation: "+string(*m.MountPropagation)))
			}
		}
	}
	c.validateDevices(in, seen, at.Child("volumeDevices"))
}

// validateDevices: a device of a container has a path and a volume that no mount has.
func (c *containers) validateDevices(in *v1.Container, paths map[string]bool, at *field.Path) {
	names := map[string]bool{}
	for _, m := range in.VolumeMounts {
		names[m.Name] = true
	}
	for i, d := range in.VolumeDevices {
		here := at.Index(i)
		if v := c.volumes[d.Name]; v == nil || v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
			c.add(field.Invalid(here.Child("name"), d.Name, "must be a volume of the pod with a persistentVolumeClaim"))
		}
		if names[d.Name] {
			c.add(field.Invalid(here.Child("name"), d.Name, "the container has the volume already, as a mount or device"))
		}
		switch {
		case d.DevicePath == "":
			c.add(field.Required(here.Child("devicePath"), ""))
		case paths[d.DevicePath]:
			c.add(field.Invalid(here.Child("devicePath"), d.DevicePath, "must be unique in the container"))
		case slices.Contains(strings.Split(d.DevicePath, "/"), ".."):
			c.add(field.Invalid(here.Child("devicePath"), d.DevicePath, "must not contain '..'"))
		}
		names[d.Name], paths[d.DevicePath] = true, true
	}
}

func (c *containers) validateProbes(in *v1.Container, role pod.Role, at *field.Path) {
	for _, p := range []struct {
		name  string
		probe *v1.Probe
	}{{"livenessProbe", in.LivenessProbe}, {"readinessProbe", in.ReadinessProbe}, {"startupProbe", in.StartupProbe}} {
		if p.probe == nil {
			continue
		}
		here := at.Child(p.name)
		if role == pod.Init && !pod.IsSidecar(in) {
			c.add(field.Forbidden(here, "an init container has none, unless it is a sidecar (restartPolicy: Always)"))
			continue
		}
		c.validateProbe(p.probe, here)
		if p.name != "readinessProbe" && p.probe.SuccessThreshold != 1 {
			c.add(field.Invalid(here.Child("successThreshold"), p.probe.SuccessThreshold, "must be 1"))
		}
		if p.name == "readinessProbe" && p.probe.TerminationGracePeriodSeconds != nil {
			c.add(field.Invalid(here.Child("terminationGracePeriodSeconds"), *p.probe.TerminationGracePeriodSeconds,
				"must not be set for readiness probes"))
		}
	}
	if in.Lifecycle == nil {
		return
	}
	for name, h := range map[string]*v1.LifecycleHandler{"postStart": in.Lifecycle.PostStart, "preStop": in.Lifecycle.PreStop} {
		if h == nil {
			continue
		}
		here := at.Child("lifecycle", name)
		c.validateHandler(handler{h.Exec, h.HTTPGet, h.TCPSocket, nil, h.Sleep}, here)
		if grace := c.spec.TerminationGracePeriodSeconds; h.Sleep != nil && grace != nil && (h.Sleep.Seconds < 0 || h.Sleep.Seconds > *grace) {
			c.add(field.Invalid(here.Child("sleep", "seconds"), h.Sleep.Seconds,
				fmt.Sprintf("must be between 0 and terminationGracePeriodSeconds, %d", *grace)))
		}
	}
	if s := in.Lifecycle.StopSignal; s != nil {
		switch here := at.Child("lifecycle", "stopSignal"); {
		case c.spec.OS == nil:
			c.add(field.Forbidden(here, "needs os: {name: linux} in the pod's spec"))
		case !signal(*s):
			c.add(field.Invalid(here, *s, "must be the name of a signal of Linux, such as SIGUSR1 or SIGRTMIN+3"))
		}
	}
}

// signal reports whether a signal has a name as the CRI has them.
func signal(s v1.Signal) bool {
	if n, ok := strings.CutPrefix(string(s), "SIGRTMIN+"); ok {
		i, err := strconv.Atoi(n)
		return err == nil && i >= 1 && i <= 15 && n == strconv.Itoa(i)
	}
	if n, ok := strings.CutPrefix(string(s), "SIGRTMAX-"); ok {
		i, err := strconv.Atoi(n)
		return err == nil && i >= 1 && i <= 14 && n == strconv.Itoa(i)
	}
	return slices.Contains(strings.Fields(`SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT
		SIGKILL SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU
		SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN SIGRTMAX`), string(s))
}

func (c *containers) validateProbe(p *v1.Probe, at *field.Path) {
	c.validateHandler(handler{p.Exec, p.HTTPGet, p.TCPSocket, p.GRPC, nil}, at)
	for _, n := range []struct {
		name  string
		value int32
		least int32
	}{{"initialDelaySeconds", p.InitialDelaySeconds, 0}, {"timeoutSeconds", p.TimeoutSeconds, 1}, {"periodSeconds", p.PeriodSeconds, 1},
		{"successThreshold", p.SuccessThreshold, 1}, {"failureThreshold", p.FailureThreshold, 1}} {
		if n.value < n.least {
			c.add(field.Invalid(at.Child(n.name), n.value, fmt.Sprintf("must be at least %d", n.least)))
		}
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g < 1 {
		c.add(field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be at least 1"))
	}
}

type handler struct {
	exec  *v1.ExecAction
	http  *v1.HTTPGetAction
	tcp   *v1.TCPSocketAction
	grpc  *v1.GRPCAction
	sleep *v1.SleepAction
}

func (c *containers) validateHandler(h handler, at *field.Path) {
	var set []string
	for name, is := range map[string]bool{"exec": h.exec != nil, "httpGet": h.http != nil, "tcpSocket": h.tcp != nil,
		"grpc": h.grpc != nil, "sleep": h.sleep != nil} {
		if is {
			set = append(set, name)
		}
	}
	slices.Sort(set)
	switch {
	case len(set) == 0:
		c.add(field.Required(at, "must say how: exec, httpGet, tcpSocket or another"))
	case len(set) > 1:
		c.add(field.Forbidden(at.Child(set[1]), "only one of "+strings.Join(set, ", ")+" may be set"))
	}
	if h.exec != nil && len(h.exec.Command) == 0 {
		c.add(field.Required(at.Child("exec", "command"), ""))
	}
	if h.http != nil {
		c.add(validatePort(h.http.Port, at.Child("httpGet", "port"))...)
		c.add(oneOf(at.Child("httpGet", "scheme"), h.http.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS)...)
		for i, header := range h.http.HTTPHeaders {
			c.add(messages(at.Child("httpGet", "httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
		}
	}
	if h.tcp != nil {
		c.add(validatePort(h.tcp.Port, at.Child("tcpSocket", "port"))...)
	}
	if h.grpc != nil {
		c.add(validatePort(intstr.FromInt32(h.grpc.Port), at.Child("grpc", "port"))...)
	}
}

// validatePort does not ask whether a named port exists: probes of one that does not never tell anything.
func validatePort(port intstr.IntOrString, at *field.Path) field.ErrorList {
	if port.Type == intstr.Int {
		return messages(at, port.IntVal, validation.IsValidPortNum(port.IntValue()))
	}
	return messages(at, port.StrVal, validation.IsValidPortName(port.StrVal))
}
