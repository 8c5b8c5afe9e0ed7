package cri

import (
	"context"
	"errors"
	"fmt"

	utilversion "k8s.io/apimachinery/pkg/util/version"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version names the runtime.
type Version struct {
	Name    string // containerd
	Version string // 1.6.20, v2.4.2
	API     string // v1
}

// String is the form of Node.status.nodeInfo.containerRuntimeVersion: containerd://2.4.2. As in a kubelet's, what is no part
// of the number is left out.
func (v Version) String() string {
	number := v.Version
	if parsed, err := utilversion.ParseSemantic(number); err == nil {
		number = parsed.String()
	} else if parsed, err := utilversion.ParseGeneric(number); err == nil {
		number = parsed.String()
	}
	return v.Name + "://" + number
}

// MountsImages reports whether the runtime can mount images. CRI does not tell; containerd has them since 2.1.
func (v Version) MountsImages() bool { return v.atLeast(2, 1) }

// TellsResources reports whether the runtime tells the cgroup values of containers. containerd does since 1.7.
func (v Version) TellsResources() bool { return v.atLeast(1, 7) }

// atLeast compares containerd's version; of other runtimes, and of a version that does not parse, the best is taken.
func (v Version) atLeast(major, minor uint) bool {
	parsed, err := utilversion.ParseGeneric(v.Version)
	return v.Name != "containerd" || err != nil || parsed.AtLeast(utilversion.MajorMinor(major, minor))
}

// Version asks for the runtime's name and fails for a runtime that does not speak CRI v1.
func (c *Client) Version(ctx context.Context) (Version, error) {
	const v1 = "v1"
	r, err := call(ctx, c.op("ask for the runtime's version"), c.runtime.Version, &runtimeapi.VersionRequest{Version: v1})
	if errors.Is(err, ErrUnimplemented) {
		return Version{}, fmt.Errorf("cannot use the container runtime at %s: it does not serve CRI v1; enable its CRI plugin "+
			"(containerd: remove \"cri\" from disabled_plugins) or update it: %w", c.endpoint, err)
	}
	if err != nil {
		return Version{}, err
	}
	if r.RuntimeApiVersion != v1 {
		return Version{}, fmt.Errorf("cannot use %s %s at %s: it speaks CRI %q, not %q; update it",
			r.RuntimeName, r.RuntimeVersion, c.endpoint, r.RuntimeApiVersion, v1)
	}
	return Version{Name: r.RuntimeName, Version: r.RuntimeVersion, API: r.RuntimeApiVersion}, nil
}

// Condition is one readiness condition of the runtime.
type Condition struct {
	Ready           bool
	Reason, Message string // of what is not ready
}

// Handler is a runtime handler, as a RuntimeClass names it; the default one has the name "".
type Handler struct {
	Name              string
	RecursiveReadOnly bool // mounts (KEP-3857)
	UserNamespaces    bool // KEP-127
}

// Status is the runtime's readiness and abilities. A runtime that does not tell its handlers (containerd 1.6) has none.
type Status struct {
	Runtime, Network         Condition
	Handlers                 []Handler
	SupplementalGroupsPolicy bool              // KEP-3619
	Info                     map[string]string // by key, JSON; only when asked for
}

// Status asks for the runtime's conditions; verbose adds Info.
func (c *Client) Status(ctx context.Context, verbose bool) (Status, error) {
	r, err := call(ctx, c.op("ask for the runtime's status"), c.runtime.Status, &runtimeapi.StatusRequest{Verbose: verbose})
	if err != nil {
		return Status{}, err
	}
	missing := Condition{Reason: "ConditionMissing", Message: "the runtime does not report this condition"}
	s := Status{Runtime: missing, Network: missing, Info: r.Info, SupplementalGroupsPolicy: r.GetFeatures().GetSupplementalGroupsPolicy()}
	for _, cond := range r.GetStatus().GetConditions() {
		v := Condition{Ready: cond.Status, Reason: cond.Reason, Message: cond.Message}
		switch cond.Type {
		case runtimeapi.RuntimeReady:
			s.Runtime = v
		case runtimeapi.NetworkReady:
			s.Network = v
		}
	}
	for _, h := range r.RuntimeHandlers {
		s.Handlers = append(s.Handlers, Handler{
			Name:              h.Name,
			RecursiveReadOnly: h.GetFeatures().GetRecursiveReadOnlyMounts(),
			UserNamespaces:    h.GetFeatures().GetUserNamespaces(),
		})
	}
	return s, nil
}

// CgroupDriver is how the runtime wants cgroup parents to be named.
type CgroupDriver string

// The cgroup drivers, as KubeletConfiguration names them.
const (
	Cgroupfs CgroupDriver = "cgroupfs"
	Systemd  CgroupDriver = "systemd"
)

// CgroupDriver asks the runtime for its cgroup driver. It is empty, with no error, when the runtime cannot tell
// (containerd before 2.0): then the configuration decides.
func (c *Client) CgroupDriver(ctx context.Context) (CgroupDriver, error) {
	r, err := call(ctx, c.op("ask for the runtime's cgroup driver"), c.runtime.RuntimeConfig, &runtimeapi.RuntimeConfigRequest{})
	switch {
	case errors.Is(err, ErrUnimplemented):
		return "", nil
	case err != nil:
		return "", err
	case r.GetLinux() == nil:
		return "", nil
	case r.Linux.CgroupDriver == runtimeapi.CgroupDriver_CGROUPFS:
		return Cgroupfs, nil
	}
	return Systemd, nil
}

// SetPodCIDR tells the runtime the node's pod CIDRs, comma separated, for a runtime that templates its own CNI
// configuration.
func (c *Client) SetPodCIDR(ctx context.Context, cidr string) error {
	_, err := call(ctx, c.op("tell the runtime the pod CIDR"), c.runtime.UpdateRuntimeConfig, &runtimeapi.UpdateRuntimeConfigRequest{
		RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: cidr}},
	})
	return err
}
