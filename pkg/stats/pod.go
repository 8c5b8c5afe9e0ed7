package stats

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Pod is what one pod uses.
type Pod struct {
	WorkingSet int64            // bytes of memory
	Processes  int64            // processes and threads
	Containers []Container      // in spec order
	Volumes    map[string]Usage // emptyDir volumes, also those in memory, by name
	Disk       Usage            // on the node's disks: writable layers, logs, volumes that are not in memory
}

// Container is what one container of a pod uses.
type Container struct {
	Name       string
	WorkingSet int64
	Writable   Usage
	Logs       Usage
}

// Usage is what files take.
type Usage struct{ Bytes, Inodes int64 }

func (u *Usage) add(o Usage) { u.Bytes += o.Bytes; u.Inodes += o.Inodes }

func (u Usage) most(o Usage) Usage {
	return Usage{Bytes: max(u.Bytes, o.Bytes), Inodes: max(u.Inodes, o.Inodes)}
}

// Memory measures the memory and the processes of pods. A pod without a cgroup, or whose cgroup cannot be read, is
// missing in the answer.
func (s *Source) Memory(ctx context.Context, pods []*v1.Pod) (map[types.UID]Pod, error) {
	runtime, err := s.runtime(ctx)
	all := make(map[types.UID]Pod, len(pods))
	for _, p := range pods {
		dir := s.cfg.PodCgroup(p.UID, "memory")
		if dir == "" {
			continue
		}
		ws, wsErr := workingSet(dir, s.cfg.V2)
		if wsErr != nil {
			if !errors.Is(wsErr, os.ErrNotExist) {
				err = errors.Join(err, wsErr)
			}
			continue
		}
		processes, _ := number(filepath.Join(s.cfg.PodCgroup(p.UID, "pids"), "pids.current")) // some nodes do not count them
		all[p.UID] = Pod{WorkingSet: ws, Processes: processes, Containers: containers(p, runtime[p.UID])}
	}
	return all, err
}

// Disk measures what pods keep on the node. Large directories are walked less often than this is called, and a walk that
// takes long goes on beside: until it ends, a directory holds what it held before, or what was counted so far if that is
// more. Run must run meanwhile.
func (s *Source) Disk(ctx context.Context, pods []*v1.Pod) (map[types.UID]Pod, error) {
	runtime, err := s.runtime(ctx)
	dirs := make(map[types.UID][]string, len(pods))
	for _, p := range pods {
		s.measure(p, nil, func(dir string) Usage {
			dirs[p.UID] = append(dirs[p.UID], dir)
			return Usage{}
		})
	}
	s.walks.refresh(ctx, dirs)
	all := make(map[types.UID]Pod, len(pods))
	for _, p := range pods {
		all[p.UID] = s.measure(p, runtime[p.UID], s.walks.usage)
	}
	return all, errors.Join(err, ctx.Err())
}

// measure adds up what a pod keeps, by what used says of each of its directories.
func (s *Source) measure(p *v1.Pod, runtime map[string]RuntimeUsage, used func(dir string) Usage) Pod {
	measured := Pod{Containers: containers(p, runtime), Volumes: map[string]Usage{}}
	logs := filepath.Join(s.cfg.LogDir, pod.LogDirName(p))
	for i := range measured.Containers {
		c := &measured.Containers[i]
		c.Logs = used(filepath.Join(logs, c.Name))
		measured.Disk.add(c.Logs)
		measured.Disk.add(c.Writable)
	}
	for _, v := range p.Spec.Volumes {
		kind := ""
		switch {
		case v.EmptyDir != nil:
			kind = "kubernetes.io~empty-dir"
		case v.ConfigMap != nil:
			kind = "kubernetes.io~configmap"
		default:
			continue
		}
		u := used(filepath.Join(s.podDir(p), "volumes", kind, v.Name))
		if v.EmptyDir != nil {
			measured.Volumes[v.Name] = u
		}
		if v.EmptyDir == nil || v.EmptyDir.Medium == v1.StorageMediumDefault {
			measured.Disk.add(u)
		}
	}
	return measured
}

func (s *Source) runtime(ctx context.Context) (map[types.UID]map[string]RuntimeUsage, error) {
	if s.cfg.Containers == nil {
		return nil, nil
	}
	list, err := s.cfg.Containers(ctx)
	byPod := map[types.UID]map[string]RuntimeUsage{}
	for _, u := range list {
		if byPod[u.Pod] == nil {
			byPod[u.Pod] = map[string]RuntimeUsage{}
		}
		sum := byPod[u.Pod][u.Container] // what ended keeps its writable layer until it is removed
		sum.WorkingSet += u.WorkingSet
		sum.Writable += u.Writable
		sum.WritableInodes += u.WritableInodes
		byPod[u.Pod][u.Container] = sum
	}
	return byPod, err
}

// containers lists a pod's containers, also those that the runtime says nothing of: their logs count.
func containers(p *v1.Pod, runtime map[string]RuntimeUsage) (all []Container) {
	for _, c := range pod.Spec(p) {
		u := runtime[c.Name]
		all = append(all, Container{
			Name: c.Name, WorkingSet: u.WorkingSet, Writable: Usage{Bytes: u.Writable, Inodes: u.WritableInodes},
		})
	}
	return all
}
