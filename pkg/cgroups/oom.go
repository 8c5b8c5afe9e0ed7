package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// OOMKills counts the processes of a pod that were killed for want of memory, also in cgroups that are gone. Cgroup v1
// has no such count for a tree: it is 0 there, as for a pod without a cgroup.
func (t *Tree) OOMKills(uid types.UID) (int64, error) {
	if !t.v2 {
		return 0, nil
	}
	for _, class := range classes {
		n, err := t.pod(class, uid)
		if err != nil {
			return 0, err
		}
		b, err := os.ReadFile(filepath.Join(t.all[0].dir, t.drv.path(n), "memory.events"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("cannot count the OOM kills of a pod: %w", err)
		}
		return oomKills(string(b))
	}
	return 0, nil
}

// oomKills reads the count out of memory.events.
func oomKills(events string) (int64, error) {
	for line := range strings.Lines(events) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.ParseInt(strings.TrimSpace(count), 10, 64)
		}
	}
	return 0, nil
}
