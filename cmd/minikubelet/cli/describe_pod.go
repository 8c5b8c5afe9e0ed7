package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/minikubelet/minikubelet/pkg/status/show"
)

func describePod(w io.Writer, p *v1.Pod, events []v1.Event, now time.Time) error {
	t := newPage(w)
	t.line("Name", "%s", p.Name)
	t.line("Namespace", "%s", p.Namespace)
	t.line("UID", "%s", p.UID)
	t.line("Source", "%s", p.Annotations["kubernetes.io/config.source"])
	t.line("Node", "%s", p.Spec.NodeName)
	t.list("Labels", pairs(p.Labels))
	t.line("Status", "%s", show.State(p))
	if m := p.Status.Message; m != "" {
		t.line("Message", "%s", m)
	}
	t.line("Waits for", "%s", show.WaitsFor(p))
	t.line("Age", "%s", show.Age(p, now))
	var ips []string
	for _, ip := range p.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	t.line("IP", "%s", strings.Join(ips, ", "))
	t.line("QoS class", "%s", p.Status.QOSClass)
	if p.Spec.Priority != nil && *p.Spec.Priority != 0 {
		t.line("Priority", "%d %s", *p.Spec.Priority, p.Spec.PriorityClassName)
	}
	t.line("Restart policy", "%s", p.Spec.RestartPolicy)
	if p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil {
		t.line("Ends by", "%s, grace period %d s", p.DeletionTimestamp.Format(time.RFC3339), *p.DeletionGracePeriodSeconds)
	}
	var ephemeral []v1.Container
	for _, e := range p.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, v1.Container(e.EphemeralContainerCommon))
	}
	for _, g := range []struct {
		title string
		specs []v1.Container
		state []v1.ContainerStatus
	}{
		{"Init containers", p.Spec.InitContainers, p.Status.InitContainerStatuses},
		{"Containers", p.Spec.Containers, p.Status.ContainerStatuses},
		{"Ephemeral containers", ephemeral, p.Status.EphemeralContainerStatuses},
	} {
		if len(g.specs) > 0 {
			fmt.Fprintf(t, "%s:\n", g.title)
		}
		for i := range g.specs {
			describeContainer(t, &g.specs[i], g.state)
		}
	}
	if len(p.Spec.Volumes) > 0 {
		fmt.Fprintln(t, "Volumes:")
	}
	for _, v := range p.Spec.Volumes {
		fmt.Fprintf(t, "  %s\t%s\n", v.Name, volumeText(&v))
	}
	fmt.Fprintln(t, "Conditions:")
	for _, c := range p.Status.Conditions {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", c.Type, c.Status, strings.TrimSpace(c.Reason+" "+c.Message))
	}
	t.events(events, now)
	return t.Flush()
}

func describeContainer(t page, c *v1.Container, states []v1.ContainerStatus) {
	fmt.Fprintf(t, "  %s:\n", c.Name)
	line := func(key, format string, args ...any) { t.line("    "+key, format, args...) }
	line("Image", "%s", c.Image)
	i := slices.IndexFunc(states, func(s v1.ContainerStatus) bool { return s.Name == c.Name })
	if i >= 0 {
		s := states[i]
		line("State", "%s", containerState(s.State))
		if last := containerState(s.LastTerminationState); last != "" {
			line("Last state", "%s", last)
		}
		line("Ready", "%t", s.Ready)
		line("Restarts", "%d", s.RestartCount)
		if s.ContainerID != "" {
			line("ID", "%s", s.ContainerID)
		}
	}
	if len(c.Command)+len(c.Args) > 0 {
		line("Command", "%s", show.Clip(strings.Join(slices.Concat(c.Command, c.Args), " ")))
	}
	var ports []string
	for _, p := range c.Ports {
		text := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		if p.HostPort != 0 {
			text += fmt.Sprintf(" on the node's %d", p.HostPort)
		}
		ports = append(ports, text)
	}
	t.list("    Ports", ports)
	for _, p := range []struct {
		key   string
		probe *v1.Probe
	}{{"Startup probe", c.StartupProbe}, {"Readiness probe", c.ReadinessProbe}, {"Liveness probe", c.LivenessProbe}} {
		if p.probe != nil {
			line(p.key, "%s", probeText(p.probe))
		}
	}
	t.list("    Requests", quantities(c.Resources.Requests))
	t.list("    Limits", quantities(c.Resources.Limits))
	var env, mounts []string
	for _, e := range c.Env {
		env = append(env, e.Name+envText(&e))
	}
	for _, m := range c.VolumeMounts {
		text := m.MountPath + " from " + m.Name
		if m.ReadOnly {
			text += ", read-only"
		}
		mounts = append(mounts, text)
	}
	t.list("    Environment", env)
	t.list("    Mounts", mounts)
}

func containerState(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running since " + s.Running.StartedAt.Format(time.RFC3339)
	case s.Waiting != nil:
		return strings.TrimSuffix("waiting: "+s.Waiting.Reason+": "+s.Waiting.Message, ": ")
	case s.Terminated != nil:
		t := s.Terminated
		return strings.TrimSuffix(fmt.Sprintf("ended with exit code %d (%s) at %s: %s", t.ExitCode, t.Reason, t.FinishedAt.Format(time.RFC3339), strings.TrimSpace(t.Message)), ": ")
	}
	return ""
}

// envText is a variable's value, or where it comes from: what a secret says is not shown.
func envText(e *v1.EnvVar) string {
	f := e.ValueFrom
	switch {
	case f == nil:
		return "=" + show.Clip(e.Value)
	case f.SecretKeyRef != nil:
		return " from key " + f.SecretKeyRef.Key + " of secret " + f.SecretKeyRef.Name
	case f.ConfigMapKeyRef != nil:
		return " from key " + f.ConfigMapKeyRef.Key + " of config map " + f.ConfigMapKeyRef.Name
	case f.FieldRef != nil:
		return " from " + f.FieldRef.FieldPath
	case f.ResourceFieldRef != nil:
		return " from " + f.ResourceFieldRef.Resource
	}
	return " from elsewhere"
}

func probeText(p *v1.Probe) string {
	var what string
	switch {
	case p.HTTPGet != nil:
		what = fmt.Sprintf("GET %s://:%s%s", strings.ToLower(string(p.HTTPGet.Scheme)), p.HTTPGet.Port.String(), p.HTTPGet.Path)
	case p.TCPSocket != nil:
		what = "TCP :" + p.TCPSocket.Port.String()
	case p.GRPC != nil:
		what = fmt.Sprintf("gRPC :%d", p.GRPC.Port)
	case p.Exec != nil:
		what = "exec " + show.Clip(strings.Join(p.Exec.Command, " "))
	}
	return fmt.Sprintf("%s after %d s, each %d s, timeout %d s, %d to pass, %d to fail",
		what, p.InitialDelaySeconds, p.PeriodSeconds, p.TimeoutSeconds, p.SuccessThreshold, p.FailureThreshold)
}

func volumeText(v *v1.Volume) string {
	switch {
	case v.EmptyDir != nil:
		text := "emptyDir"
		if v.EmptyDir.Medium != "" {
			text += " on " + string(v.EmptyDir.Medium)
		}
		if v.EmptyDir.SizeLimit != nil {
			text += ", at most " + v.EmptyDir.SizeLimit.String()
		}
		return text
	case v.HostPath != nil:
		return "hostPath " + v.HostPath.Path
	case v.ConfigMap != nil:
		return "config map " + v.ConfigMap.Name
	case v.Secret != nil:
		return "secret " + v.Secret.SecretName
	case v.PersistentVolumeClaim != nil:
		return "claim " + v.PersistentVolumeClaim.ClaimName
	case v.Image != nil:
		return "image " + v.Image.Reference
	case v.CSI != nil:
		return "CSI " + v.CSI.Driver
	case v.Projected != nil:
		return "projected, " + count(len(v.Projected.Sources), "source")
	case v.DownwardAPI != nil:
		return "downward API"
	}
	return "other"
}

func pairs(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}

func quantities(l v1.ResourceList) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		out = append(out, string(name)+" "+quantity(name, l[name]))
	}
	return out
}

func quantity(name v1.ResourceName, q resource.Quantity) string {
	if name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage {
		return bytesText(q.Value())
	}
	return q.String()
}
