package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const sleeper = `
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: $busybox, command: [sleep, "%s"]}]
`

func sleeping(name, seconds string) string { return pods(fmt.Sprintf(sleeper, name, seconds)) }

const needy = `
metadata: {name: needy}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: $busybox
    command: [sh, -c, "echo $COLOR; cat /etc/late/text; echo; exec sleep 3600"]
    env: [{name: COLOR, valueFrom: {secretKeyRef: {name: later, key: color}}}]
    volumeMounts: [{name: late, mountPath: /etc/late}]
  volumes: [{name: late, configMap: {name: late}}]
`

// TestStandaloneSources adds, changes, breaks and removes files beside running pods.
func TestStandaloneSources(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{}, testbed.AgentConfig{})
	s.WriteManifest("many.yaml", sleeping("first", "3601")+sleeping("second", "3602"))
	s.WriteManifest("pod.json", jsonPod("third"))
	s.WriteManifest("needy.yml", pods(needy))
	s.WriteManifest("notes.txt", "this is no manifest")

	t.Run("several documents and JSON run", func(t *testing.T) {
		s := s.on(t)
		for _, name := range []string{"first", "second", "third"} {
			p := s.ready(name)
			if a := p.Annotations; a["kubernetes.io/config.source"] != "file" || a["kubernetes.io/config.hash"] == "" || a["kubernetes.io/config.seen"] == "" {
				t.Errorf("the annotations of %s are %v", name, a)
			}
		}
	})
	t.Run("a broken file is one clear error and stops nothing else", func(t *testing.T) { breaksOneFile(s.on(t)) })
	t.Run("a pod waits for a missing object, says what to add, and starts when it comes", func(t *testing.T) { waitsForObjects(s.on(t)) })
	t.Run("a changed file replaces its pod alone", func(t *testing.T) {
		s := s.on(t)
		first, second := s.ready("first"), s.ready("second")
		s.WriteManifest("many.yaml", sleeping("first", "3601")+sleeping("second", "3603"))
		s.until("second", "is another one", func(p *v1.Pod) error {
			if p.UID == second.UID {
				return fmt.Errorf("it is the old one")
			}
			return isReady(p)
		})
		if p := s.ready("first"); p.UID != first.UID || container(p, "c").ContainerID != container(first, "c").ContainerID || container(p, "c").RestartCount != 0 {
			t.Errorf("the first pod was touched: %+v", container(p, "c"))
		}
	})
	t.Run("a removed document takes its pod away", func(t *testing.T) {
		s := s.on(t)
		s.WriteManifest("many.yaml", sleeping("first", "3601"))
		var keep []string
		for _, name := range []string{"first", "third", "needy"} {
			keep = append(keep, string(s.ready(name).UID))
		}
		testbed.Eventually(t, soon, "the second pod is gone", func() error { return s.LeftBeside(keep...) })
		if _, err := s.pod("second"); err == nil {
			t.Error("the second pod is still there")
		}
	})
	t.Run("nothing stays when every file is gone", func(t *testing.T) {
		s := s.on(t)
		for _, f := range []string{"many.yaml", "pod.json", "needy.yml"} {
			s.RemoveManifest(f)
		}
		testbed.Eventually(t, soon, "nothing is left", s.NothingLeft)
	})
}

func jsonPod(name string) string {
	p := v1.Pod{Spec: v1.PodSpec{
		TerminationGracePeriodSeconds: new(int64(0)),
		Containers:                    []v1.Container{{Name: "c", Image: testbed.BusyboxImage, Command: []string{"sleep", "3600"}}},
	}}
	p.APIVersion, p.Kind, p.Name = "v1", "Pod", name
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func breaksOneFile(s *standalone) {
	before := s.uids()
	s.WriteManifest("broken.yaml", sleeping("fine", "3604")+"---\napiVersion: v1\nkind: Pod\nmetadata: {name: wrong}\nspec:\n  containers: [{name: c, imagee: x}]\n")
	var line string
	testbed.Eventually(s.t, soon, "the log tells of the broken file", func() error {
		for l := range strings.Lines(s.Log()) {
			if strings.Contains(l, "broken.yaml") && strings.Contains(l, "imagee") {
				line = l
				return nil
			}
		}
		return fmt.Errorf("it does not")
	})
	s.t.Log(line)
	var list v1.EventList
	testbed.Eventually(s.t, soon, "an event tells of the broken file", func() error {
		err := s.local("/api/v1/events", &list)
		for _, e := range list.Items {
			if e.Reason == "InvalidManifest" && strings.Contains(e.Message, "broken.yaml") && strings.Contains(e.Message, "imagee") {
				return err
			}
		}
		return fmt.Errorf("none does: %v", err)
	})
	out, err := testbed.Run(s.t.Context(), "", testbed.AgentBinary(s.t), "validate", s.Manifests+"/broken.yaml")
	if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(out+err.Error(), "imagee") {
		s.t.Errorf("validate says %q, %v", out, err)
	}
	s.RemoveManifest("broken.yaml")
	testbed.Eventually(s.t, soon, "what was running runs on", func() error {
		now := s.uids()
		for uid, id := range before {
			if now[uid] != id {
				return fmt.Errorf("pod %s had container %s and has %s", uid, id, now[uid])
			}
		}
		if len(now) != len(before) {
			return fmt.Errorf("there are %d pods, want %d", len(now), len(before))
		}
		return nil
	})
}

// uids are the pods of the node and the IDs of their first containers.
func (s *standalone) uids() map[types.UID]string {
	s.t.Helper()
	var list v1.PodList
	if err := s.local("/api/v1/pods", &list); err != nil {
		s.t.Fatal(err)
	}
	out := map[types.UID]string{}
	for i := range list.Items {
		out[list.Items[i].UID] = container(&list.Items[i], "c").ContainerID
	}
	return out
}

func waitsForObjects(s *standalone) {
	const missing = `ConfigMap "late" not found: add a file with kind: ConfigMap, name: late, namespace: default to the manifest directory`
	s.until("needy", "says that the ConfigMap is missing", waits("c", "ContainerCreating", missing))
	s.event("needy", "FailedMount", missing)
	if out, err := s.CLI("describe", "pod", "needy"); err != nil || !strings.Contains(out, missing) {
		s.t.Errorf("describe says %s, %v", out, err)
	}
	// Some failures more, so that the backoff is longer than what the test allows.
	testbed.Eventually(s.t, soon, "the mount failed a few times", func() error {
		if n := strings.Count(s.Log(), "action=volume-mount/late"); n < 4 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	s.WriteManifest("late.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {text: hello}\n")
	s.until("needy", "waits for the Secret", waits("c", "CreateContainerConfigError", `Secret "later" not found: add a file with kind: Secret, name: later`))
	s.WriteManifest("later.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: later}\nstringData: {color: red}\n")
	s.ready("needy")
	s.prints("needy", "c", "red\nhello\n")
}
