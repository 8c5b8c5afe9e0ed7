package certs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// SelfSigned returns the files of a serving certificate and of its key in a directory, which the agent signs itself unless
// they are there.
func SelfSigned(dir, name string, addresses []netip.Addr) (files []string, err error) {
	files = []string{filepath.Join(dir, "kubelet.crt"), filepath.Join(dir, "kubelet.key")}
	if ok, _ := cert.CanReadCertAndKey(files[0], files[1]); ok {
		return files, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of certificates: %w", err)
	}
	var ips []net.IP
	for _, ip := range addresses {
		ips = append(ips, ip.AsSlice())
	}
	c, k, err := cert.GenerateSelfSignedCertKey(name, ips, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot sign a serving certificate: %w", err)
	}
	return files, errors.Join(
		atomicfile.Write(files[0], c, 0o640, atomicfile.None), atomicfile.Write(files[1], k, 0o600, atomicfile.None))
}
