package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// mostContent is how much of a file a record has.
const mostContent = 2048

// mountedFiles are what a container that is created will find in the mounts that the agent has made for it.
func mountedFiles(root string, r *runtimeapi.CreateContainerRequest) (l Lines) {
	for _, m := range r.GetConfig().GetMounts() {
		if !strings.HasPrefix(m.GetHostPath(), root+"/") {
			continue
		}
		err := filepath.WalkDir(m.GetHostPath(), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel := strings.TrimPrefix(path, m.GetHostPath())
			said, err := describeFile(path)
			l.add("file "+r.GetConfig().GetMetadata().GetName()+" "+m.GetContainerPath()+rel, said)
			return err
		})
		if err != nil {
			l.add("file "+r.GetConfig().GetMetadata().GetName()+" "+m.GetContainerPath(), err)
		}
	}
	return l
}

func describeFile(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	owner := ""
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
	}
	said := info.Mode().String() + owner
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		return said + " -> " + to, err
	case info.Mode().IsRegular():
		b, err := os.ReadFile(path)
		if len(b) > mostContent {
			return fmt.Sprintf("%s %q and more, %d bytes", said, b[:mostContent], len(b)), err
		}
		return fmt.Sprintf("%s %q", said, b), err // its size tells nothing more, and is one of chance where an address is in it
	}
	return said, nil
}

// printedIn is what a target of probes and hooks has printed of the requests that it got (test/images/web -print): requests are
// the same again and again, and count once.
func printedIn(of part) (l Lines) {
	b, err := os.ReadFile(of.log)
	if len(b) > 0 { // the last of it may be on its way
		time.Sleep(50 * time.Millisecond)
		b, err = os.ReadFile(of.log)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.add("log "+of.container, err)
	}
	for line := range strings.Lines(string(b)) {
		if _, said, ok := strings.Cut(line, " asked "); ok {
			l.add("asked of "+of.container, strings.TrimSpace(said))
		}
	}
	return l
}

// cgroupFiles are the limits that a cgroup of version 1 may have.
var cgroupFiles = map[string][]string{
	"cpu":    {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"},
	"memory": {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness"},
	"pids":   {"pids.max"},
	"cpuset": {"cpuset.cpus", "cpuset.mems"},
}

// ociSpec is what is read of an OCI runtime spec.
type ociSpec struct {
	Process struct {
		Env []string `json:"env"`
	} `json:"process"`
	Linux struct {
		CgroupsPath string `json:"cgroupsPath"`
	} `json:"linux"`
}

// readSpec reads the spec that the runtime made for a container, of which all is returned, too.
func readSpec(bundle, id string) (s ociSpec, all []byte, err error) {
	all, err = os.ReadFile(filepath.Join(bundle, id, "config.json"))
	return s, all, errors.Join(err, json.Unmarshal(all, &s))
}

// startedContainer is what runs: the OCI runtime spec that the runtime made, and the limits of the cgroups.
func startedContainer(bundle, id, name string) (l Lines) {
	spec, b, err := readSpec(bundle, id)
	var all map[string]any
	if err = errors.Join(err, json.Unmarshal(b, &all)); err != nil {
		l.add("oci "+name, err)
		return l
	}
	if process, ok := all["process"].(map[string]any); ok {
		delete(process, "env") // it has no order
	}
	for _, e := range spec.Process.Env {
		l.add("oci "+name+" env", e)
	}
	if linux, ok := all["linux"].(map[string]any); ok && dropNodes(linux) {
		l.add("oci "+name+" devices", "those of the node")
	}
	l.addValue("oci "+name, all)
	return append(l, cgroupLines(name, spec.Linux.CgroupsPath)...)
}

// dropNodes takes the devices of this machine out of a container's, and reports whether it has any: which ones a privileged
// container gets depends on the machine.
func dropNodes(linux map[string]any) bool {
	devices, _ := linux["devices"].([]any)
	own := slices.DeleteFunc(slices.Clone(devices), func(d any) bool {
		device, _ := d.(map[string]any)
		path, _ := device["path"].(string)
		i, err := os.Stat(path)
		return err == nil && i.Mode()&fs.ModeDevice != 0
	})
	linux["devices"] = own
	return len(own) < len(devices)
}

// cgroupLines are the limits of a container's cgroup and of its pod's.
func cgroupLines(name, path string) (l Lines) {
	l.addCgroup("cgroup "+name, path)
	l.addCgroup("cgroup of the pod", filepath.Dir(path))
	return l
}

func (l *Lines) addCgroup(what, path string) {
	for controller, files := range cgroupFiles {
		for _, file := range files {
			if b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, path, file)); err == nil {
				l.add(what+" "+file, strings.TrimSpace(string(b)))
			}
		}
	}
}
