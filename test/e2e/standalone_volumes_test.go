package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const volumeObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: %s, shape: round}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hush}
`

const everyVolume = `
metadata: {name: volumes, labels: {app: shop}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 2000}
  initContainers:
  - name: write
    image: $busybox
    command: [sh, -c, "echo kept >/disk/file && echo quick >/memory/file && echo shared >/host/file"]
    volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: host, mountPath: /host}]
  containers:
  - name: web
    image: $web
    env:
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    envFrom: [{secretRef: {name: keys}, prefix: KEY_}]
    resources: {limits: {memory: 64Mi}}
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: disk, mountPath: /one, subPath: file}
    - {name: memory, mountPath: /memory}
    - {name: host, mountPath: /host, readOnly: true}
    - {name: config, mountPath: /config}
    - {name: secret, mountPath: /secret}
    - {name: downward, mountPath: /downward}
    - {name: all, mountPath: /all}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: host, hostPath: {path: "%s", type: DirectoryOrCreate}}
  - {name: config, configMap: {name: settings, items: [{key: color, path: deep/color, mode: 0400}]}}
  - {name: secret, secret: {secretName: keys, defaultMode: 0440}}
  - name: downward
    downwardAPI:
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: memory, resourceFieldRef: {containerName: web, resource: limits.memory, divisor: 1Mi}}
  - name: all
    projected: {sources: [{configMap: {name: settings}}, {secret: {name: keys}}, {configMap: {name: absent, optional: true}}]}
`

// TestStandaloneVolumes mounts one volume of each kind and sees what the container sees.
func TestStandaloneVolumes(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	hostDir := s.env.Path("shared", "dir")
	s.WriteManifest("objects.yaml", fmt.Sprintf(volumeObjects, "red"))
	s.WriteManifest("pod.yaml", pods(fmt.Sprintf(everyVolume, hostDir)))
	p := s.ready("volumes")
	file := func(path string) string {
		got, err := get("http://" + p.Status.PodIP + ":8080/file?path=" + path)
		if err != nil {
			return err.Error()
		}
		return got
	}
	for path, want := range map[string]string{
		"/disk/file": "kept\n", "/one": "kept\n", "/memory/file": "quick\n", "/host/file": "shared\n", "/config/deep/color": "red",
		"/secret/token": "hush", "/downward/labels": `app="shop"`, "/downward/memory": "64", "/all/shape": "round", "/all/token": "hush",
	} {
		if got := file(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	for name, want := range map[string]string{"COLOR": "red\n", "KEY_token": "hush\n"} {
		if got, err := get("http://" + p.Status.PodIP + ":8080/env?name=" + name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	dir := s.RootDir + "/pods/" + string(p.UID) + "/volumes/"
	if info, err := os.Stat(dir + "kubernetes.io~secret/secret/token"); err != nil || info.Mode().Perm() != 0o440 {
		t.Errorf("the secret on the node: %v, %v", info, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(mounts), "tmpfs "+dir+"kubernetes.io~empty-dir/memory tmpfs rw") {
		t.Errorf("the memory volume is no tmpfs: %v", err)
	}

	s.WriteManifest("objects.yaml", fmt.Sprintf(volumeObjects, "blue"))
	testbed.Eventually(t, soon, "the changed ConfigMap reaches the running container", func() error {
		if got := file("/config/deep/color"); got != "blue" {
			return fmt.Errorf("it holds %q", got)
		}
		return nil
	})
	if c := container(s.ready("volumes"), "web"); c.RestartCount != 0 {
		t.Errorf("the container was restarted %d times", c.RestartCount)
	}
	s.gone("pod.yaml")
	if b, err := os.ReadFile(hostDir + "/file"); err != nil || string(b) != "shared\n" {
		t.Errorf("the host's directory: %q, %v", b, err)
	}
}

const claimObjects = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 32Mi}
  accessModes: [ReadWriteOnce]
  csi: {driver: %s, volumeHandle: %q, fsType: ext4}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {volumeName: disk, storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 32Mi}}}
`

const onCSI = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 3000}
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "echo %[1]s >>/data/log; grep -c ' /data ext4 ' /proc/mounts; cat /data/log; exec sleep 3600"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, %s}]
`

// TestStandaloneCSI gives pods volumes of a real CSI driver: an inline one that lives as long as its pod, and a claim
// whose content outlives it.
func TestStandaloneCSI(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	const claim = "persistentVolumeClaim: {claimName: data}"
	inline := "csi: {driver: " + testbed.CSIDriverName + ", volumeAttributes: {size: 16Mi}}"
	s.WriteManifest("early.yaml", pods(fmt.Sprintf(onCSI, "early", inline)))
	s.until("early", "waits for the driver", waits("c", "ContainerCreating", testbed.CSIDriverName))
	d := s.env.CSIDriver(testbed.CSIDriverConfig{Agent: s.Agent})
	s.ready("early")
	s.prints("early", "c", "1\nearly\n")

	handle := d.CreateVolume("disk", 32<<20)
	s.WriteManifest("first.yaml", pods(fmt.Sprintf(onCSI, "first", claim)))
	s.until("first", "names the claim that is missing", waits("c", "ContainerCreating", `PersistentVolumeClaim "data" not found`))
	s.WriteManifest("claim.yaml", fmt.Sprintf(claimObjects, d.Name, handle))
	early, first := s.ready("early"), s.ready("first")
	s.prints("first", "c", "1\nfirst\n")
	calls := func() []string {
		return slices.DeleteFunc(d.Calls(handle), func(m string) bool {
			return !strings.HasPrefix(m, "Node") || m == "NodeGetVolumeStats" || strings.Contains(m, ":")
		})
	}
	if got, want := calls(), []string{"NodeStageVolume", "NodePublishVolume"}; !slices.Equal(got, want) {
		t.Errorf("the driver was called %q, want %q", got, want)
	}
	s.gone("first.yaml", string(early.UID))
	testbed.Eventually(t, soon, "the volume is unstaged", func() error {
		if got, want := calls(), []string{"NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"}; !slices.Equal(got, want) {
			return fmt.Errorf("the driver was called %q, want %q", got, want)
		}
		return nil
	})
	s.WriteManifest("second.yaml", pods(fmt.Sprintf(onCSI, "second", claim)))
	second := s.ready("second")
	s.prints("second", "c", "1\nfirst\nsecond\n")
	if first.UID == second.UID {
		t.Error("both pods are one")
	}
	d.Fail("NodeUnpublishVolume Unavailable the disk is busy")
	s.RemoveManifest("second.yaml")
	s.event("second", "FailedUnmount", "the disk is busy")
	d.Fail()
	testbed.Eventually(t, soon, "the second pod is gone", func() error { return s.LeftBeside(string(early.UID)) })
	s.gone("early.yaml")
}
