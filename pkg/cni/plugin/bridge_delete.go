package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/minikubelet/minikubelet/pkg/cni"
)

// renumber gives the agent's own bridge network other subnets. It reports false, and has done nothing, while the network is
// not in use, and while pods are attached to it: they would lose their gateway.
func renumber(s cni.Settings, b Bridge) (bool, error) {
	path := filepath.Join(s.Dir, cni.OwnNetworkFile)
	if b.Device == "" {
		b.Device = bridgeDevice
	}
	conf, err := b.render(filepath.Join(s.Dir, ipamDir))
	if err != nil {
		return false, fmt.Errorf("cannot render the bridge network: %w", err)
	}
	old, err := os.ReadFile(path)
	if err != nil || string(old) == string(conf) {
		return err == nil, nil
	}
	if err := removeBridge(s.Dir, b); err != nil {
		return false, err
	}
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	return true, writeBridge(s.Dir, b)
}

// yield gives up the agent's own bridge network where the configuration directory has another by now. It returns the
// attachments that hold it up; the bridge, whose subnet may be the other's, goes once there are none.
func yield(s cni.Settings, b Bridge) ([]cni.Attachment, error) {
	if _, err := os.Stat(filepath.Join(s.Dir, cni.OwnNetworkFile)); err != nil || !cni.HasNetwork(s.ConfDir) {
		return nil, nil
	}
	all, err := cni.New(cni.Config{Dir: s.Dir}).List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a cni.Attachment) bool { return a.Network != bridgeNetwork })
	if len(all) > 0 {
		return all, nil
	}
	return nil, removeBridge(s.Dir, b)
}

// removeBridge takes the agent's own bridge network away, unless pods are still on it.
func removeBridge(dir string, b Bridge) error {
	if b.Device == "" {
		b.Device = bridgeDevice
	}
	if had, err := forgetBridge(dir); err != nil || !had {
		return err
	}
	sys := filepath.Join("/sys/class/net", b.Device)
	if _, err := os.Stat(filepath.Join(sys, "bridge")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if ports, err := os.ReadDir(filepath.Join(sys, "brif")); err != nil || len(ports) > 0 {
		return err
	}
	if err := deleteBridge(b.Device); err != nil {
		return fmt.Errorf("cannot delete the bridge %s: %w", b.Device, err)
	}
	return nil
}

// deleteBridge takes a bridge down and deletes it. Its two ioctls are all that the agent needs of a netlink library.
func deleteBridge(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(0) // no IFF_UP
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return err
	}
	// SIOCBRDELBR reads a name, with which an ifreq begins.
	return unix.IoctlIfreq(fd, unix.SIOCBRDELBR, ifr)
}
