package e2e

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// TestVolumesOlderRuntime asks a containerd that is older than some mounts for them: it would make others without a word.
func TestVolumesOlderRuntime(t *testing.T) {
	t.Parallel()
	s := newStandalone(t, testbed.ContainerdConfig{Version: "1.6"}, testbed.AgentConfig{})
	const body = `
metadata: {name: %s}
spec: {terminationGracePeriodSeconds: 0, restartPolicy: Never,
  containers: [{name: c, image: $busybox, command: [sh, -c, "touch /v/f 2>/dev/null && echo written || echo refused"], volumeMounts: [{name: v, mountPath: /v, readOnly: true%s}]}], volumes: [{name: v, %s}]}
`
	s.WriteManifest("pods.yaml", pods(fmt.Sprintf(body, "strict", ", recursiveReadOnly: Enabled", "emptyDir: {}"))+
		pods(fmt.Sprintf(body, "may", ", recursiveReadOnly: IfPossible", "emptyDir: {}"))+
		pods(fmt.Sprintf(body, "image", "", "image: {reference: $web}")))
	s.until("strict", "is refused", waits("c", "CreateContainerConfigError", "the container runtime cannot do it; use recursiveReadOnly: IfPossible"))
	p := s.phase("may", v1.PodSucceeded)
	if m := container(p, "c").VolumeMounts[0]; m.RecursiveReadOnly == nil || *m.RecursiveReadOnly != v1.RecursiveReadOnlyDisabled {
		t.Errorf("the mount is told as %v", m.RecursiveReadOnly)
	}
	s.prints("may", "c", "refused\n")
	s.event("image", "FailedMount", "the container runtime has no image volumes: containerd 2.1 or newer is needed")
	s.gone("pods.yaml")
}
