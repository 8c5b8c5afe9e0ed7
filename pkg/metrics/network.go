package metrics

import (
	"os"
	"strconv"
	"strings"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// link is what a network interface has carried.
type link struct {
	name           string
	received, sent traffic
}

type traffic struct{ bytes, packets, errors, dropped uint64 }

// links reads /proc/net/dev, or that of a process. Loopback is left out, and what leads to containers.
func links(path string) ([]link, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []link
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(f) < 12 || name == "lo" || strings.HasPrefix(name, "veth") || strings.HasPrefix(name, "docker") {
			continue
		}
		l := link{name: name}
		for i, p := range []*uint64{&l.received.bytes, &l.received.packets, &l.received.errors, &l.received.dropped} {
			*p, _ = strconv.ParseUint(f[i], 10, 64)
		}
		for i, p := range []*uint64{&l.sent.bytes, &l.sent.packets, &l.sent.errors, &l.sent.dropped} {
			*p, _ = strconv.ParseUint(f[8+i], 10, 64)
		}
		out = append(out, l)
	}
	return out, nil
}

// interfaces are the node's, in the form of a summary.
func interfaces() ([]statsapi.InterfaceStats, error) {
	all, err := links("/proc/net/dev")
	out := make([]statsapi.InterfaceStats, 0, len(all))
	for _, l := range all {
		out = append(out, statsapi.InterfaceStats{
			Name: l.name, RxBytes: &l.received.bytes, RxErrors: &l.received.errors, TxBytes: &l.sent.bytes, TxErrors: &l.sent.errors,
		})
	}
	return out, err
}
