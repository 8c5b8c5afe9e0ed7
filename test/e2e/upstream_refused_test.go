package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

func TestUpstream_SaysOnceWhyTheAPIServerRefuses(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	good, err := os.ReadFile(cp.NodeKubeconfig("n1"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := e.WriteFile(strings.ReplaceAll(string(good), cp.CA.CertFile, e.NewCA("other").CertFile), "foreign.kubeconfig")
	for name, c := range map[string]struct{ kubeconfig, remedy string }{
		"another node's identity": {cp.NodeKubeconfig("n2"), "system:node:"},
		"another CA":              {foreign, "certificate-authority"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			said := map[string]int{}
			u := joinUpstreamLogging(t, e, c.kubeconfig, "n1", func(line string) {
				mu.Lock()
				defer mu.Unlock()
				said[line]++
			})
			u.writer.Report(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "u"}}, runningStatus("10.1.2.3"))
			testbed.Eventually(t, 10*time.Second, "the log says what to do", func() error {
				mu.Lock()
				defer mu.Unlock()
				for line := range said {
					if strings.Contains(line, c.remedy) {
						return nil
					}
				}
				return fmt.Errorf("%v", said)
			})
			testbed.Consistently(t, 2*time.Second, "nothing is said twice", func() error {
				mu.Lock()
				defer mu.Unlock()
				for line, n := range said {
					if n > 1 {
						return fmt.Errorf("%d times: %s", n, line)
					}
				}
				return nil
			})
		})
	}
}

func TestUpstream_StaticPodsThatMayNotBeShownAreNamedOnceAndOthersAreShown(t *testing.T) {
	t.Parallel()
	e := testbed.New(t)
	cp := e.ControlPlane()
	var mu sync.Mutex
	refused := 0
	u := joinUpstreamLogging(t, e, cp.NodeKubeconfig("n1"), "n1", func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(line, "pod=strict/refused-n1") {
			refused++
		}
	})
	static := func(name string) *v1.Pod {
		return &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: "default", UID: types.UID(name),
				Annotations: map[string]string{pod.AnnotationSource: "file", pod.AnnotationHash: name},
			},
			Spec: v1.PodSpec{Containers: []v1.Container{{Name: "web", Image: "minikubelet.dev/web:1"}}},
		}
	}
	cp.Apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
	notShown := static("refused-n1")
	notShown.Namespace = "strict"
	for range 5 {
		u.writer.Report(notShown, runningStatus("10.1.2.3"))
		u.writer.Report(static("plain-n1"), runningStatus("10.1.2.4"))
		testbed.Eventually(t, 10*time.Second, "the plain one is shown", func() error {
			_, err := cp.Kubectl("get", "pod", "plain-n1")
			return err
		})
	}
	testbed.Eventually(t, 5*time.Second, "the refusal is said once", func() error {
		mu.Lock()
		defer mu.Unlock()
		if refused != 1 {
			return fmt.Errorf("%d times", refused)
		}
		return nil
	})
}

// upstreamLog is a log that hands over its lines without time and error.
type upstreamLog func(string)

func (l upstreamLog) Write(b []byte) (int, error) {
	_, line, _ := bytes.Cut(b, []byte(" "))
	what, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" error="))
	_, remedy, _ := bytes.Cut(rest, []byte(" remedy="))
	l(string(what) + " " + string(remedy))
	return len(b), nil
}
