package testbed_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const nodePod = `
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: "minikubelet.dev/web:1"}]}
`

// Pods of two nodes and this machine reach one another, each by its own address, and nothing is left of either node.
func TestNodeEnv_JoinsNodesThatHaveNetworksOfTheirOwn(t *testing.T) {
	e := testbed.New(t)
	var agents []*testbed.Agent
	var ips []string
	for _, name := range []string{"node-a", "node-b"} {
		n := e.NodeEnv(name)
		a := n.Agent(testbed.AgentConfig{Containerd: n.Containerd(testbed.ContainerdConfig{}), NodeName: name})
		a.WriteManifest("web.yaml", nodePod)
		var list v1.PodList
		testbed.Eventually(t, 20*time.Second, name+" runs a pod that answers", func() error {
			out, err := a.CLI("get", "pods", "-o", "json")
			if err = errors.Join(err, json.Unmarshal([]byte(out), &list)); err != nil || len(list.Items) == 0 {
				return errors.Join(err, errors.New("no pods"))
			}
			_, err = testbed.Get(t.Context(), "http://"+list.Items[0].Status.PodIP+":8080/")
			return err
		})
		agents, ips = append(agents, a), append(ips, list.Items[0].Status.PodIP)
	}
	for i, a := range agents {
		out, err := a.CLI("exec", "web", "--", "/web", "get", "http://"+ips[1-i]+":8080/")
		if err != nil || !strings.Contains(out, ips[1-i]) {
			t.Errorf("%s asks the other node: %q, %v", a.NodeName, out, err)
		}
	}
	for _, a := range agents {
		a.RemoveManifest("web.yaml")
		testbed.Eventually(t, 20*time.Second, "nothing is left on "+a.NodeName, a.NothingLeft)
	}
}
