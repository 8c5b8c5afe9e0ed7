package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// disk is a block device of the node: a loop device on a file of the test's.
func disk(t *testing.T, e *testbed.Env, name string) string {
	t.Helper()
	image := e.Path("disks", name)
	if err := os.MkdirAll(filepath.Dir(image), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 16<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return device
}

// bound is a PersistentVolume and the claim of the same name that is bound to it.
func bound(name, mode, more string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec: {capacity: {storage: 16Mi}, accessModes: [ReadWriteOnce], volumeMode: %[2]s, %[3]s}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s}
spec: {volumeName: %[1]s, storageClassName: "", accessModes: [ReadWriteOnce], volumeMode: %[2]s, resources: {requests: {storage: 16Mi}}}
`, name, mode, more)
}

func onNode(node string) string {
	return fmt.Sprintf("nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%q]}]}]}}", node)
}

const claimant = `
metadata: {name: %[1]s}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  %[4]s
  containers: [{name: c, image: $busybox, command: [sh, -c, %[3]q], %[5]s}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %[2]s}}]
`

func claims2(name, claim, script, more, use string) string {
	return pods(fmt.Sprintf(claimant, name, claim, script, more, use))
}

// TestVolumesDisks gives pods the node's own directories and disks, as file systems and as they are, and the block
// devices of a real CSI driver.
func TestVolumesDisks(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	driver := s.env.CSIDriver(testbed.CSIDriverConfig{Agent: s.Agent})
	handle := driver.CreateVolume("raw", 32<<20)
	plain, raw := disk(t, s.env, "plain"), disk(t, s.env, "raw")
	host := s.env.Path("host")
	for _, dir := range []string{"kept", "changed"} {
		if err := os.MkdirAll(filepath.Join(host, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, dir, "old"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(host, dir), 0, 2000); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(host, dir), 0o775|os.ModeSetgid); err != nil {
			t.Fatal(err)
		}
	}
	const mounted, device = "volumeMounts: [{name: data, mountPath: /d}]", "volumeDevices: [{name: data, devicePath: /dev/xvda}]"
	here := onNode(s.NodeName)
	s.WriteManifest("claims.yaml", bound("plain", "Filesystem", "local: {path: "+plain+"}, "+here)+
		bound("raw", "Block", "local: {path: "+raw+"}, "+here)+bound("kept", "Filesystem", "local: {path: "+host+"/kept}, "+here)+
		bound("changed", "Filesystem", "local: {path: "+host+"/changed}, "+here)+
		bound("closed", "Filesystem", "mountOptions: [ro, nosuid], local: {path: "+host+"/kept}, "+here)+
		bound("elsewhere", "Filesystem", "local: {path: "+host+"/kept}, "+onNode("another"))+
		bound("nfs", "Filesystem", "nfs: {server: 192.0.2.1, path: /}")+
		bound("csi", "Block", "csi: {driver: "+driver.Name+", volumeHandle: "+handle+"}"))
	const write = "printf hello | dd of=/dev/xvda bs=512 conv=notrunc,sync 2>/dev/null; stat -c %F /dev/xvda; dd if=/dev/xvda bs=5 count=1 2>/dev/null"
	s.WriteManifest("first.yaml", claims2("plain1", "plain", "echo kept >/d/f; grep ' /d ' /proc/mounts | cut -d' ' -f3", "securityContext: {fsGroup: 3000}", mounted)+
		claims2("raw1", "raw", write, "", device)+claims2("csi1", "csi", write, "", device)+
		claims2("kept", "kept", "stat -c %g /d /d/old", "securityContext: {fsGroup: 2000, fsGroupChangePolicy: OnRootMismatch}", mounted)+
		claims2("changed", "changed", "stat -c '%g %a' /d /d/old", "securityContext: {fsGroup: 2000, fsGroupChangePolicy: Always}", mounted)+
		claims2("closed", "closed", "touch /d/f 2>/dev/null || echo read-only", "", mounted)+claims2("elsewhere", "elsewhere", "true", "", mounted)+claims2("nfs", "nfs", "true", "", mounted)+
		claims2("crossed", "raw", "true", "", mounted)+claims2("crossed2", "kept", "true", "", device))
	s.phase("plain1", v1.PodSucceeded) // who mounts it first gives it its group
	s.WriteManifest("plain2.yaml", claims2("plain2", "plain", "cat /d/f; stat -c %g /d", "", mounted))
	for name, want := range map[string]string{
		"plain1": "ext4\n", "plain2": "kept\n3000\n", "raw1": "block special file\nhello", "csi1": "block special file\nhello",
		"kept": "2000\n0\n", "changed": "2000 2775\n2000 660\n", "closed": "read-only\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			s.phase(name, v1.PodSucceeded)
			s.prints(name, "c", want)
		})
	}
	for name, want := range map[string]string{
		"elsewhere": "PersistentVolume elsewhere cannot be used on this node: its nodeAffinity does not match the node's labels",
		"nfs":       "PersistentVolume nfs: volumes of type nfs are not supported: this agent mounts them through CSI alone; install the driver nfs.csi.k8s.io",
		"crossed":   "volume data has volumeMode Block, but is specified in volumeMounts of container c: use volumeDevices",
		"crossed2":  "volume data has volumeMode Filesystem, but is specified in volumeDevices of container c: use volumeMounts",
	} {
		t.Run(name, func(t *testing.T) { s.on(t).event(name, "FailedMount", want) })
	}
	t.Run("what is on a disk outlives the pods and the agent", func(t *testing.T) {
		s := s.on(t)
		s.RemoveManifest("plain2.yaml")
		s.gone("first.yaml")
		if left, err := exec.Command("losetup", "--associated", s.env.Path("csi-"+driver.Name, "volumes", handle+".img")).Output(); err != nil || len(left) > 0 {
			t.Errorf("the driver's device is not released: %s, %v", left, err)
		}
		s.Restart()
		const read = "dd if=/dev/xvda bs=5 count=1 2>/dev/null"
		s.WriteManifest("second.yaml", claims2("plain3", "plain", "cat /d/f", "", mounted)+claims2("raw2", "raw", read, "", device)+claims2("csi2", "csi", read, "", device))
		for name, want := range map[string]string{"plain3": "kept\n", "raw2": "hello", "csi2": "hello"} {
			s.phase(name, v1.PodSucceeded)
			s.prints(name, "c", want)
		}
		s.gone("second.yaml")
	})
}

const propagating = `
metadata: {name: %[1]s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, %[4]q]
    securityContext: {privileged: %[5]s}
    volumeMounts: [{name: host, mountPath: /host, mountPropagation: %[3]s}]
  volumes: [{name: host, hostPath: {path: %[2]s}}]
`

// TestVolumesPropagation mounts on the node and in a container while both run, and sees what reaches the other.
func TestVolumesPropagation(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	host := s.env.Path("shared")
	if err := os.MkdirAll(filepath.Join(host, "node"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(host, "pod"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []uintptr{unix.MS_BIND, unix.MS_SHARED} {
		if err := unix.Mount(host, host, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, path := range []string{host + "/pod", host + "/node", host} {
			_ = unix.Unmount(path, unix.MNT_DETACH)
		}
	})
	const look = "while true; do test -e /host/node/f && echo seen && break; test -e /host/go && echo unseen && break; sleep 0.1; done; sleep 3600"
	s.WriteManifest("pods.yaml", pods(fmt.Sprintf(propagating, "none", host, "None", look, "false"))+
		pods(fmt.Sprintf(propagating, "in", host, "HostToContainer", look, "false"))+
		pods(fmt.Sprintf(propagating, "both", host, "Bidirectional", "mount -t tmpfs inner /host/pod && touch /host/pod/f && echo mounted; sleep 3600", "true")))
	for _, name := range []string{"none", "in", "both"} {
		s.ready(name)
	}
	if err := unix.Mount("tmpfs", host+"/node", "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(host+"/node/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.prints("in", "c", "seen\n")
	if err := os.WriteFile(host+"/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.prints("none", "c", "unseen\n")
	s.prints("both", "c", "mounted\n")
	if _, err := os.Stat(host + "/pod/f"); err != nil {
		t.Errorf("what the container mounted does not reach the node: %v", err)
	}
	s.gone("pods.yaml")
}
