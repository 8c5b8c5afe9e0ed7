package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// told is a pod that tells what it sees of its volumes, and ends.
type told struct {
	spec    string // more of the pod's spec
	init    string // what an init container of root does before, with the same mounts
	more    string // more of the container
	mounts  string
	volumes string
	script  string
	want    string
}

func (c told) manifest(name string) string {
	const body = `
metadata: {name: %s, labels: {app: shop}, annotations: {note: "two\nlines", color: red}}
spec: {terminationGracePeriodSeconds: 0, restartPolicy: Never, %s initContainers: [%s],
  containers: [{name: c, image: $busybox, command: [sh, -c, %q], volumeMounts: [%s]%s}], volumes: [%s]}
`
	init := ""
	if c.init != "" {
		init = fmt.Sprintf("{name: i, image: $busybox, securityContext: {runAsUser: 0}, command: [sh, -c, %q], volumeMounts: [%s]}", c.init, c.mounts)
	}
	if c.spec != "" && !strings.HasSuffix(c.spec, ",") {
		c.spec += ","
	}
	if c.more != "" {
		c.more = ", " + c.more
	}
	return pods(fmt.Sprintf(body, name, c.spec, init, c.script, c.mounts, c.more, c.volumes))
}

// nested mounts other volumes within a volume of files: at a place of its own, beside its files, over one of them, deeper, and
// single files.
const (
	nestedMounts = `{name: v, mountPath: /v}, {name: work, mountPath: /v/work}, {name: work, mountPath: /v/conf.d/work, subPath: sub},
    {name: keys, mountPath: /v/a/b/token, subPath: token}, {name: keys, mountPath: /v/keys}, {name: work, mountPath: /v/work/deeper, subPath: deep}`
	nestedVolumes = "{name: work, emptyDir: {}}, {name: keys, secret: {secretName: keys}}"
	nestedMore    = "terminationMessagePath: /v/last/words"
	nestedScript  = `cd /v; cat color conf.d/color a/b/token keys/token; echo; echo kept >work/f; echo sub >conf.d/work/f; echo deep >work/deeper/f; cat work/f conf.d/work/f work/deeper/f
echo bye >last/words; touch new 2>/dev/null || echo read-only; ls conf.d`
	nestedWant = "redredhushhush\nkept\nsub\ndeep\nread-only\ncolor\nwork\n"
)

// volumeCases are pods whose volumes hold what they should. $host is a directory of the node, as the test has made it.
var volumeCases = map[string]told{
	"empty": {
		mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {}}", script: "stat -c '%a %u %g' /v", want: "777 0 0\n",
	},
	"empty-group": {
		spec: "securityContext: {fsGroup: 2000, runAsUser: 1000, runAsGroup: 1000}", mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {}}",
		script: "stat -c '%a %u %g' /v; touch /v/f && stat -c '%u %g' /v/f", want: "2777 0 2000\n1000 2000\n",
	},
	"memory-limited": {
		mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}",
		script: "df -k /v | tail -1 | awk '{print $1, $2}'; dd if=/dev/zero of=/v/f bs=1M count=2 2>&1 | grep -c 'No space left'", want: "tmpfs 1024\n1\n",
	},
	"memory-of-the-pod": {
		mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {medium: Memory}}", more: "resources: {limits: {memory: 64Mi}}",
		script: "df -k /v | tail -1 | awk '{print $2}'", want: "65536\n",
	},
	"memory-of-the-pod-level": {
		spec: "resources: {limits: {memory: 64Mi}}", mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {medium: Memory}}",
		script: "df -k /v | tail -1 | awk '{print $2}'", want: "65536\n",
	},
	"memory-more-than-the-pod": {
		mounts: "{name: v, mountPath: /v}", volumes: "{name: v, emptyDir: {medium: Memory, sizeLimit: 1Gi}}", more: "resources: {limits: {memory: 64Mi}}",
		script: "df -k /v | tail -1 | awk '{print $2}'", want: "65536\n",
	},
	"host-types": {
		mounts: "{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: c, mountPath: /c}, {name: d, mountPath: /d}, {name: e, mountPath: /e}, {name: f, mountPath: /f}, {name: g, mountPath: /g}",
		volumes: `{name: a, hostPath: {path: $host/dir, type: Directory}}, {name: b, hostPath: {path: $host/new/dir, type: DirectoryOrCreate}},
    {name: c, hostPath: {path: $host/file, type: File}}, {name: d, hostPath: {path: $host/newfile, type: FileOrCreate}},
    {name: e, hostPath: {path: $host/socket, type: Socket}}, {name: f, hostPath: {path: /dev/null, type: CharDevice}}, {name: g, hostPath: {path: /dev/loop0, type: BlockDevice}}`,
		script: "stat -c '%F %a' /a /b /c /d; stat -c %F /e /f /g", want: "directory 711\ndirectory 755\nregular file 600\nregular empty file 644\nsocket\ncharacter special file\nblock special file\n",
	},
	"config": {
		mounts: "{name: v, mountPath: /v}, {name: w, mountPath: /w}",
		volumes: `{name: v, configMap: {name: settings, defaultMode: 0640, items: [{key: color, path: deep/er/color, mode: 0400}, {key: bytes, path: bytes}]}},
    {name: w, configMap: {name: settings}}`,
		script: "cd /v; cat deep/er/color; echo; od -An -tx1 bytes; stat -Lc '%n %a' deep/er/color bytes; ls /v /w; readlink /v/bytes; stat -Lc %a /w/color; touch /w/new 2>/dev/null || echo read-only",
		want:   "red\n 00 ff 0a\ndeep/er/color 400\nbytes 640\n/v:\nbytes\ndeep\n\n/w:\nbytes\ncolor\nlarge\n..data/bytes\n644\nread-only\n",
	},
	"nested-config": {
		mounts: nestedMounts, more: nestedMore, volumes: nestedVolumes + `, {name: v, configMap: {name: settings, items: [{key: color, path: color}, {key: color, path: conf.d/color}]}}`,
		script: nestedScript, want: nestedWant,
	},
	"nested-secret": {
		mounts: nestedMounts, more: nestedMore, volumes: nestedVolumes + `, {name: v, secret: {secretName: keys, items: [{key: color, path: color}, {key: color, path: conf.d/color}]}}`,
		script: nestedScript, want: nestedWant,
	},
	"nested-projected": {
		mounts: nestedMounts, more: nestedMore, volumes: nestedVolumes + `, {name: v, projected: {sources: [{configMap: {name: settings, items: [{key: color, path: color}]}}, {secret: {name: keys, items: [{key: color, path: conf.d/color}]}}]}}`,
		script: nestedScript, want: nestedWant,
	},
	"nested-downward": {
		mounts: nestedMounts, more: nestedMore, volumes: nestedVolumes + `, {name: v, downwardAPI: {items: [{path: color, fieldRef: {fieldPath: "metadata.annotations['color']"}}, {path: conf.d/color, fieldRef: {fieldPath: "metadata.annotations['color']"}}]}}`,
		script: nestedScript, want: nestedWant,
	},
	"sub-nested": {
		mounts: "{name: v, mountPath: /v, subPath: conf.d}, {name: work, mountPath: /v/work}", volumes: nestedVolumes + ", {name: v, configMap: {name: settings, items: [{key: color, path: conf.d/color}]}}",
		script: "cat /v/color; echo; echo kept >/v/work/f; cat /v/work/f", want: "red\nkept\n",
	},
	"roots": {
		mounts:  "{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: c, mountPath: /c}, {name: d, mountPath: /d}",
		volumes: `{name: a, configMap: {name: settings}}, {name: b, secret: {secretName: keys}}, {name: c, downwardAPI: {}}, {name: d, projected: {sources: [{secret: {name: keys}}]}}`,
		script:  "stat -c '%a %u %g' /a /b /c /d", want: "777 0 0\n1777 0 0\n1777 0 0\n1777 0 0\n",
	},
	"roots-group": {
		spec: "securityContext: {fsGroup: 2000}", mounts: "{name: a, mountPath: /a}, {name: b, mountPath: /b}",
		volumes: `{name: a, configMap: {name: settings}}, {name: b, secret: {secretName: keys}}`,
		script:  "stat -c '%a %u %g' /a /b", want: "2777 0 2000\n3777 0 2000\n",
	},
	"paths": {
		mounts:  "{name: v, mountPath: /v}",
		volumes: "{name: v, configMap: {name: settings, items: [{key: color, path: ./conf.d/a.ini}, {key: color, path: conf.d//b.ini}]}}",
		script:  "cat /v/conf.d/a.ini /v/conf.d/b.ini", want: "redred",
	},
	"config-large": {
		mounts: "{name: v, mountPath: /v}", volumes: "{name: v, configMap: {name: settings}}", script: "wc -c </v/large", want: "1000000\n",
	},
	"secret-group": {
		spec: "securityContext: {fsGroup: 2000, runAsUser: 1000}", mounts: "{name: v, mountPath: /v}", volumes: "{name: v, secret: {secretName: keys, defaultMode: 0400}}",
		script: "stat -Lc '%a %u %g' /v/token; cat /v/token; echo; df /v | tail -1 | awk '{print $1}'", want: "440 0 2000\nhush\ntmpfs\n",
	},
	"secret-closed": {
		spec: "securityContext: {runAsUser: 1000}", mounts: "{name: v, mountPath: /v}", volumes: "{name: v, secret: {secretName: keys, defaultMode: 0400}}",
		script: "stat -Lc '%a %u %g' /v/token; cat /v/token 2>/dev/null || echo denied", want: "400 0 0\ndenied\n",
	},
	"downward": {
		mounts: "{name: v, mountPath: /v}", more: "resources: {limits: {memory: 64Mi, cpu: 250m}}",
		volumes: `{name: v, downwardAPI: {defaultMode: 0444, items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}},
    {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}, {path: deep/memory, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}, mode: 0400}]}}`,
		script: "cd /v; for f in labels note cpu deep/memory; do cat $f; echo; done; stat -Lc %a labels deep/memory", want: "app=\"shop\"\ntwo\nlines\n250\n64\n444\n400\n",
	},
	"projected": {
		mounts: "{name: v, mountPath: /v}",
		volumes: `{name: v, projected: {defaultMode: 0440, sources: [{configMap: {name: settings, items: [{key: color, path: a/color}]}}, {secret: {name: keys, items: [{key: token, path: a/token, mode: 0400}]}},
    {downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.namespace}}]}}, {configMap: {name: absent, optional: true}}, {secret: {name: keys, optional: true, items: [{key: none, path: none}]}}]}}`,
		script: "cd /v; find . -name '[a-z]*' | sort | grep -v '\\.\\.2'; cat a/color a/token name; echo; stat -Lc %a a/color a/token", want: "./a\n./name\nredhushdefault\n440\n400\n",
	},
	"optional": {
		mounts:  "{name: v, mountPath: /v}, {name: w, mountPath: /w}",
		volumes: "{name: v, configMap: {name: absent, optional: true}}, {name: w, secret: {secretName: keys, optional: true, items: [{key: none, path: none}, {key: token, path: t}]}}",
		script:  "ls /v /w", want: "/v:\n\n/w:\nt\n",
	},
	"sub": {
		init:   "mkdir -p /all/real/deep && echo found >/all/real/deep/f && ln -s real /all/link",
		mounts: "{name: v, mountPath: /all}, {name: v, mountPath: /new, subPath: made/up}",
		// the link stays beneath the volume: it may be followed
		volumes: "{name: v, emptyDir: {}}", script: "stat -c '%F %a' /new; touch /new/x; ls /all /all/made/up; cat /all/link/deep/f", want: "directory 777\n/all:\nlink\nmade\nreal\n\n/all/made/up:\nx\nfound\n",
	},
	"sub-expression": {
		more:    "env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]",
		mounts:  "{name: v, mountPath: /all}, {name: v, mountPath: /mine, subPathExpr: logs/$(WHO)/$$(WHO)}",
		volumes: "{name: v, emptyDir: {}}", script: "touch /mine/f; find /all -type f", want: "/all/logs/default/$(WHO)/f\n",
	},
	"host-ro": {
		mounts:  "{name: v, mountPath: /v, readOnly: true}, {name: v, mountPath: /r, readOnly: true, recursiveReadOnly: Enabled}, {name: v, mountPath: /p, readOnly: true, recursiveReadOnly: IfPossible}, {name: v, mountPath: /w}",
		volumes: "{name: v, hostPath: {path: $host/tree}}",
		script:  "for d in /v /r /p /w; do for s in '' /below; do touch $d$s/f 2>/dev/null && echo $d$s written || echo $d$s refused; done; done",
		want:    "/v refused\n/v/below written\n/r refused\n/r/below refused\n/p refused\n/p/below refused\n/w written\n/w/below written\n",
	},
}

// refused are pods that cannot have their volumes, and what their events say.
type refused struct {
	told
	reason, message string
}

var refusedCases = map[string]refused{
	"no-dir":    {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, hostPath: {path: $host/none, type: Directory}}"}, "FailedMount", "hostPath type check failed: $host/none is not a directory"},
	"no-file":   {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, hostPath: {path: $host/dir, type: File}}"}, "FailedMount", "hostPath type check failed: $host/dir is not a file"},
	"no-socket": {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, hostPath: {path: $host/file, type: Socket}}"}, "FailedMount", "$host/file is not a socket file"},
	"no-char":   {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, hostPath: {path: /dev/loop0, type: CharDevice}}"}, "FailedMount", "/dev/loop0 is not a character device"},
	"no-block":  {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, hostPath: {path: /dev/null, type: BlockDevice}}"}, "FailedMount", "/dev/null is not a block device"},
	"no-config": {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, configMap: {name: absent}}"}, "FailedMount", `MountVolume.SetUp failed for volume "v" : ConfigMap "absent" not found`},
	"no-secret": {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, secret: {secretName: absent}}"}, "FailedMount", `MountVolume.SetUp failed for volume "v" : Secret "absent" not found`},
	"no-key":    {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, configMap: {name: settings, items: [{key: later, path: l}]}}", script: "cat /v/l", want: "here\n"}, "FailedMount", "references non-existent key: later"},
	"no-nfs":    {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, nfs: {server: 192.0.2.1, path: /}}"}, "FailedMount", "volumes of type nfs are not supported: this agent mounts them through CSI alone; install the driver nfs.csi.k8s.io"},
	"no-iscsi":  {told{mounts: "{name: v, mountPath: /v}", volumes: "{name: v, iscsi: {targetPortal: 192.0.2.1, iqn: iqn.2001-04.com.example:x, lun: 0}}"}, "FailedMount", "install the driver iscsi.csi.k8s.io"},
	"sub-absolute": {told{init: "ln -sfn /etc /all/link", mounts: "{name: v, mountPath: /all}", more: "",
		volumes: "{name: v, emptyDir: {}}, {name: w, emptyDir: {}}"}, "Failed", "leads out of"},
	"sub-up":    {told{init: "ln -sfn ../../../../.. /all/link", mounts: "{name: v, mountPath: /all}", volumes: "{name: v, emptyDir: {}}"}, "Failed", "leads out of"},
	"sub-magic": {told{init: "ln -sfn /proc/1/root /all/link", mounts: "{name: v, mountPath: /all}", volumes: "{name: v, emptyDir: {}}"}, "Failed", "leads out of"},
}

const caseObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red, large: "%s"%s}
binaryData: {bytes: AP8K}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hush, color: red}
`

// hostTree makes what the cases find on the node, and returns its directory.
func hostTree(t *testing.T, s *standalone) string {
	t.Helper()
	host := s.env.Path("host")
	for _, dir := range []string{"dir", "tree/below"} {
		if err := os.MkdirAll(filepath.Join(host, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(host, "dir"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(host, "socket"), unix.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(host, "tree", "below")
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(below, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return host
}

// TestVolumesContent mounts every kind of volume that a node has without a driver, all pods side by side, and sees what
// containers see; then those that cannot be had, and what mends them.
func TestVolumesContent(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	host := hostTree(t, s)
	large := strings.Repeat("x", 1_000_000)
	s.WriteManifest("objects.yaml", fmt.Sprintf(caseObjects, large, ""))
	here := func(text string) string { return strings.ReplaceAll(text, "$host", host) }
	all := ""
	for _, name := range slices.Sorted(maps.Keys(volumeCases)) {
		all += here(volumeCases[name].manifest(name))
	}
	for _, name := range slices.Sorted(maps.Keys(refusedCases)) {
		c := refusedCases[name].told
		if strings.HasPrefix(name, "sub-") { // the init container sees the volume, the other what its link leads to
			init, main, _ := strings.Cut(c.manifest(name), "containers: [{name: c")
			all += init + "containers: [{name: c" + strings.Replace(main, "mountPath: /all", "mountPath: /all, subPath: link", 1)
			continue
		}
		all += here(c.manifest(name))
	}
	s.WriteManifest("pods.yaml", all)
	for name, c := range volumeCases {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			s.phase(name, v1.PodSucceeded)
			s.prints(name, "c", c.want)
		})
	}
	for name, c := range refusedCases {
		t.Run(name, func(t *testing.T) {
			s := s.on(t)
			s.event(name, c.reason, here(c.message))
			p, err := s.pod(name)
			if err != nil || p.Status.Phase != v1.PodPending {
				t.Errorf("the pod is %v, %v", p.Status.Phase, err)
			}
		})
	}
	t.Run("status of mounts", func(t *testing.T) {
		p, err := s.on(t).pod("host-ro")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, m := range container(p, "c").VolumeMounts {
			if m.RecursiveReadOnly != nil {
				got[m.MountPath] = string(*m.RecursiveReadOnly)
			}
		}
		if want := map[string]string{"/v": "Disabled", "/r": "Enabled", "/p": "Enabled"}; !maps.Equal(got, want) {
			t.Errorf("recursiveReadOnly is %v, want %v", got, want)
		}
	})
	t.Run("a key that comes", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("objects.yaml", fmt.Sprintf(caseObjects, large, `, later: "here\n"`))
		s.phase("no-key", v1.PodSucceeded)
		s.prints("no-key", "c", "here\n")
	})
	t.Run("nothing stays but what is the node's", func(t *testing.T) {
		s.on(t).gone("pods.yaml")
		for _, path := range []string{"dir", "new/dir", "file", "newfile", "socket", "tree/below/f"} {
			if _, err := os.Lstat(filepath.Join(host, path)); err != nil {
				t.Error(err)
			}
		}
	})
}

const liveContent = `
metadata: {name: live}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: mark, image: $busybox, command: [sh, -c, "echo -n kept >/work/mark"], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - name: web
    image: $web
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
    volumeMounts:
    - {name: config, mountPath: /config}
    - {name: config, mountPath: /sub/color, subPath: color}
    - {name: work, mountPath: /config/work}
    - {name: work, mountPath: /all/deep/mark, subPath: mark}
    - {name: secret, mountPath: /secret}
    - {name: all, mountPath: /all}
  volumes:
  - {name: config, configMap: {name: settings}}
  - {name: secret, secret: {secretName: keys}}
  - {name: all, projected: {sources: [{configMap: {name: settings}}, {secret: {name: keys}}]}}
  - {name: work, emptyDir: {}}
`

const liveObjects = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: "%[1]s"%[2]s}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: "%[1]s"}
`

// TestVolumesFollowTheirObjects changes objects under a running container: files change all at once, come and go; what is
// mounted by subPath stays as it was, and so does what is mounted within.
func TestVolumesFollowTheirObjects(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	s.WriteManifest("objects.yaml", fmt.Sprintf(liveObjects, "red", `, old: x`))
	s.WriteManifest("pod.yaml", pods(liveContent))
	p := s.ready("live")
	file := func(path string) string {
		got, err := get("http://" + p.Status.PodIP + ":8080/file?path=" + path)
		if err != nil {
			return err.Error()
		}
		return got
	}
	s.WriteManifest("objects.yaml", fmt.Sprintf(liveObjects, "blue", `, fresh: new`))
	for path, want := range map[string]string{"/config/color": "blue", "/secret/token": "blue", "/all/color": "blue", "/all/token": "blue", "/config/fresh": "new"} {
		testbed.Eventually(t, soon, path+" follows", func() error {
			if got := file(path); got != want {
				return fmt.Errorf("it holds %q, want %q", got, want)
			}
			return nil
		})
	}
	if got := file("/config/old"); !strings.Contains(got, "404") {
		t.Errorf("a key that is gone still shows %q", got)
	}
	for _, path := range []string{"/config/work/mark", "/all/deep/mark"} {
		if got := file(path); got != "kept" {
			t.Errorf("%s, of another volume, holds %q after the update", path, got)
		}
	}
	if got := file("/sub/color"); got != "red" {
		t.Errorf("the subPath followed: %q", got)
	}
	if c := container(s.ready("live"), "web"); c.RestartCount != 0 {
		t.Errorf("the container was restarted %d times", c.RestartCount)
	}
	s.gone("pod.yaml")
}
