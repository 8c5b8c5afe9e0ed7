package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// act does what a step says.
func (s *story) act(step *Step, words []string) error {
	ctx, sandbox := s.t.Context(), s.requests.id(s.c.namespace(), "")
	switch words[0] {
	case "create":
		return s.createPod(s.c)
	case "delete":
		o := metav1.DeleteOptions{}
		if seconds, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			o.GracePeriodSeconds = &seconds
		}
		return s.admin.CoreV1().Pods(s.c.namespace()).Delete(ctx, s.c.podName(), o)
	case "drop":
		path := resourcePath(s.c.namespace(), metav1.TypeMeta{APIVersion: "v1", Kind: words[1]})
		return s.admin.CoreV1().RESTClient().Delete().AbsPath(path, words[2]).Do(ctx).Error()
	case "kill":
		return s.kill(words[1])
	case "kill-sandbox":
		return s.kill("")
	case "stop-sandbox":
		_, err := s.cd.Runtime().StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox})
		return err
	case "drop-sandbox":
		_, err := s.cd.Runtime().StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: sandbox})
		_, err2 := s.cd.Runtime().RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: sandbox})
		return errors.Join(err, err2)
	case "image":
		return s.bringImage(words[1])
	}
	return s.actOnFile(step, words)
}

// bringImage makes an image of its own under a name, and waits until the runtime knows it.
func (s *story) bringImage(name string) error {
	im := testbed.BusyboxNamed(s.t, name)
	im.Config.Env = append(slices.Clone(im.Config.Env), "IMAGE="+name)
	archive := s.env.Path(s.c.Name + ".tar")
	if err := ociarchive.WriteFile(archive, im); err != nil {
		return err
	}
	if _, err := s.cd.Ctr("images", "import", archive); err != nil {
		return err
	}
	known := func() bool {
		r, err := s.cd.Images().ImageStatus(s.t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
		return err == nil && r.Image != nil
	}
	if !s.until(known) {
		return errors.New("the runtime does not know it")
	}
	return os.Remove(archive)
}

// actOnFile does what a step says of the manifest directory.
func (s *story) actOnFile(step *Step, words []string) error {
	file := s.manifest(s.c, words[1])
	content := []byte(strings.ReplaceAll(string(step.manifest), "%", s.c.Name))
	if err := errors.Join(os.MkdirAll(s.env.Path("away"), 0o755), os.MkdirAll(filepath.Dir(file), 0o755)); err != nil {
		return err
	}
	switch words[0] {
	case "write":
		return os.WriteFile(file, content, 0o600)
	case "replace":
		temp := s.manifest(s.c, "/%.tmp")
		return errors.Join(os.WriteFile(temp, content, 0o600), os.Rename(temp, file))
	case "move":
		return os.Rename(file, s.manifest(s.c, words[2]))
	case "link":
		return os.Symlink(s.manifest(s.c, words[2]), file)
	case "remove":
		return os.RemoveAll(file)
	}
	return fmt.Errorf("nothing does %q", words[0])
}

// disturb does to the node what its stories say.
func (n *node) disturb(do string) {
	n.t.Helper()
	switch do {
	case "stop-agent":
		n.agent.Kill()
	case "start-agent":
		n.agent.Start()
	case "stop-runtime":
		n.cd.Kill()
	case "start-runtime":
		n.cd.Start()
	case "stop-apiserver":
		n.cp.StopAPI()
	case "start-apiserver":
		n.cp.StartAPI()
	case "power-off":
		n.cd.PowerOff()
		n.cd.Start()
		n.agent.PowerOn()
	}
}

// kill ends the first process of a container, or, of none, that of the sandbox.
func (s *story) kill(container string) error {
	pid, err := s.pid(container)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// pid is that of a container's first process.
func (s *story) pid(container string) (int, error) {
	id := s.requests.id(s.c.namespace(), container)
	if id == "" {
		return 0, fmt.Errorf("there is no container %q", container)
	}
	b, err := os.ReadFile(filepath.Join(s.cd.Tasks(), id, "init.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// file is what a file in a container says.
func (s *story) file(container, path string) string {
	pid, err := s.pid(container)
	if err != nil {
		return ""
	}
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "root", path))
	return string(b)
}

// log is all that a container has logged, over its restarts.
func (s *story) log(container string) (all string) {
	files, _ := filepath.Glob(filepath.Join(s.agent.PodLogs, s.c.namespace()+"_*", container, "*.log"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		all += string(b)
	}
	return all
}

// apply patches an object, or creates it.
func (s *story) apply(o json.RawMessage) error {
	var meta struct {
		metav1.TypeMeta
		Metadata    metav1.ObjectMeta `json:"metadata"`
		Subresource string            `json:"subresource"`
	}
	var fields map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(o, &meta), json.Unmarshal(o, &fields)); err != nil {
		return err
	}
	if meta.APIVersion == "" {
		meta.APIVersion = "v1"
		fields["apiVersion"] = json.RawMessage(`"v1"`)
	}
	delete(fields, "subresource")
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	name := meta.Metadata.Name
	if name == "" && meta.Kind == "Pod" {
		name = s.c.podName()
	}
	path := resourcePath(s.c.namespace(), meta.TypeMeta) + "/" + name
	if meta.Subresource != "" {
		path += "/" + meta.Subresource
	}
	err = s.admin.CoreV1().RESTClient().Patch(types.StrategicMergePatchType).AbsPath(path).Body(body).Do(s.t.Context()).Error()
	if apierrors.IsNotFound(err) && meta.Subresource == "" {
		return s.createObject(s.t.Context(), s.c.namespace(), body)
	}
	return err
}

// look is what there is to see at this moment.
func (s *story) look(what string) (l Lines) {
	s.mu.Lock()
	p := s.pod().pod.DeepCopy()
	s.mu.Unlock()
	var err error
	switch what {
	case "status":
		err = l.addJSON("status", p.Status)
	case "pod":
		p.Status, p.UID, p.Generation = v1.PodStatus{}, "", 0
		l = podLines(p)
	case "files":
		latest := map[string]*runtimeapi.CreateContainerRequest{}
		for _, q := range s.requests.of(s.c.namespace()) {
			if r, ok := q.message.(*runtimeapi.CreateContainerRequest); ok {
				latest[q.container] = r
			}
		}
		// What a volume held before is there for a moment beside what it holds now.
		for range 20 {
			before := l
			l = nil
			for _, name := range slices.Sorted(maps.Keys(latest)) {
				l = append(l, mountedFiles(s.env.Dir, latest[name])...)
			}
			if slices.Equal(before, l) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	case "cgroups":
		for _, c := range p.Spec.Containers {
			l = append(l, s.cgroups(c.Name)...)
		}
	case "node":
		l, err = s.nodeLines()
	}
	if err != nil {
		l.add(what, err)
	}
	return l
}

func (s *story) cgroups(container string) (l Lines) {
	spec, _, err := readSpec(s.cd.Tasks(), s.requests.id(s.c.namespace(), container))
	if err != nil {
		l.add("cgroup "+container, err)
		return l
	}
	return cgroupLines(container, spec.Linux.CgroupsPath)
}

// nodeLines are what others may change of a Node.
func (s *story) nodeLines() (l Lines, err error) {
	node, err := s.admin.CoreV1().Nodes().Get(s.t.Context(), nodeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return l, errors.Join(l.addJSON("node.labels", node.Labels), l.addJSON("node.annotations", node.Annotations), l.addJSON("node.spec", node.Spec),
		l.addJSON("node.status.addresses", node.Status.Addresses))
}
