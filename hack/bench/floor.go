package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// floor drives the same pods through bare CRI calls: what no agent can beat.
func floor(t *bench, o options) figures {
	e := testbed.New(t)
	f := bare{t: t, e: e, cd: e.Containerd(testbed.ContainerdConfig{})}
	out := figures{}
	var up, down []time.Duration
	f.cycle("warm-up") // the first pod makes the bridge and fills caches
	for i := range o.pods {
		u, d := f.cycle(fmt.Sprint("one-", i))
		up, down = append(up, u), append(down, d)
	}
	out["one pod, up, p50"], out["one pod, away, p50"] = median(up), median(down)
	for _, n := range []int{10, 20, o.many} {
		name := fmt.Sprint(n, " pods")
		if n == o.many {
			name = "many pods"
		}
		for _, parallel := range []int{n, 4} {
			m := f.many(n, parallel)
			t.Logf("floor, %d pods, %d at a time: %.2f s all up, %.2f s all gone", n, parallel, m["up, all"], m["away, all"])
			for what, v := range m {
				keepBest(out, name+", "+what, v)
			}
		}
	}
	out["8 containers, up"] = f.eight()
	if o.only != "standalone" {
		maps.Copy(out, f.told(o.many))
	}
	return out
}

// told is many at an API server: pods are created there, and each is told to be ready by one write, by a loop that knows
// all in advance. It is what no agent can beat where the control plane has the same cores.
func (f bare) told(n int) figures {
	api := f.e.ControlPlane().Client().CoreV1().Pods("default")
	ctx := context.Background()
	name := func(i int) string { return fmt.Sprint("told-", i) }
	created := make(chan error, n)
	cpu, begin := nodeCPU(f.t), time.Now()
	go func() {
		for i := range n {
			_, err := api.Create(ctx, boundPod(name(i), "nobody", pauses(1)), metav1.CreateOptions{})
			created <- err
		}
	}()
	ready := v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}}
	patch, err := json.Marshal(map[string]any{"status": ready})
	f.check(err)
	pods, up := make([]barePod, n), make([]time.Duration, n)
	f.each(n, 4, func(i int) {
		f.check(<-created) // of as many pods as have begun, and they begin in order
		pods[i] = f.start(name(i))
		_, err := api.Patch(ctx, name(i), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		f.check(err)
		up[i] = time.Since(begin)
	})
	out := figures{
		"many pods, told, all": time.Since(begin).Seconds(), "many pods, told, p50": median(up), "many pods, told, CPU": nodeCPU(f.t) - cpu,
	}
	f.each(n, 4, func(i int) { f.stop(pods[i]) })
	return out
}

// keepBest keeps the better of the ways to drive the runtime: all at once, or four at a time.
func keepBest(f figures, name string, v float64) {
	if old, ok := f[name]; !ok || v < old {
		f[name] = v
	}
}

type bare struct {
	t  *bench
	e  *testbed.Env
	cd *testbed.Containerd
}

type barePod struct{ sandbox, container string }

func (f bare) cycle(name string) (up, down time.Duration) {
	begin := time.Now()
	p := f.start(name)
	up = time.Since(begin)
	begin = time.Now()
	f.stop(p)
	return up, time.Since(begin)
}

func (f bare) start(name string) barePod {
	box, cfg := f.sandbox(name)
	return barePod{box, f.container(box, cfg, "main")}
}

func (f bare) sandbox(name string) (string, *runtimeapi.PodSandboxConfig) {
	ctx := context.Background()
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
		Hostname:     name,
		LogDirectory: f.e.Path("pods", name),
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: f.e.CgroupRoot() + "/" + name},
	}
	box, err := f.cd.Runtime().RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: cfg})
	f.check(err)
	return box.PodSandboxId, cfg
}

func (f bare) container(box string, cfg *runtimeapi.PodSandboxConfig, name string) string {
	ctx := context.Background()
	c, err := f.cd.Runtime().CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: box, SandboxConfig: cfg,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: testbed.PauseImage},
			LogPath: name + ".log", Linux: &runtimeapi.LinuxContainerConfig{},
		},
	})
	f.check(err)
	_, err = f.cd.Runtime().StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: c.ContainerId})
	f.check(err)
	return c.ContainerId
}

// eight starts a pod of 8 containers, all at once, and returns seconds.
func (f bare) eight() float64 {
	begin := time.Now()
	box, cfg := f.sandbox("eight")
	ids := make([]string, 8)
	f.each(len(ids), len(ids), func(i int) { ids[i] = f.container(box, cfg, fmt.Sprint("c", i)) })
	took := time.Since(begin).Seconds()
	f.stop(barePod{box, ids[0]})
	return took
}

func (f bare) stop(p barePod) {
	ctx := context.Background()
	_, err := f.cd.Runtime().StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: p.container, Timeout: 30})
	f.check(err)
	_, err = f.cd.Runtime().StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.sandbox})
	f.check(err)
	_, err = f.cd.Runtime().RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.sandbox})
	f.check(err)
}

// many starts n pods and then stops them, so many at a time, and returns seconds.
func (f bare) many(n, parallel int) figures {
	pods, up, away := make([]barePod, n), make([]time.Duration, n), make([]time.Duration, n)
	cpu, begin := nodeCPU(f.t), time.Now()
	f.each(n, parallel, func(i int) {
		pods[i] = f.start(fmt.Sprintf("many-%d-%d-%d", n, parallel, i))
		up[i] = time.Since(begin)
	})
	out := figures{"up, all": time.Since(begin).Seconds(), "up, p50": median(up), "up, CPU": nodeCPU(f.t) - cpu}
	begin = time.Now()
	f.each(n, parallel, func(i int) {
		f.stop(pods[i])
		away[i] = time.Since(begin)
	})
	out["away, all"], out["away, p50"] = time.Since(begin).Seconds(), median(away)
	return out
}

func (f bare) each(n, parallel int, do func(i int)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed any
	turns := make(chan struct{}, parallel)
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					mu.Lock()
					failed = r
					mu.Unlock()
				}
				<-turns
			}()
			do(i)
		})
	}
	wg.Wait()
	if failed != nil {
		panic(failed)
	}
}

func (f bare) check(err error) {
	if err != nil {
		f.t.Fatalf("a call failed: %v", err)
	}
}
