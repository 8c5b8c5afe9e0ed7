package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// outagePod is one on node-a: all that is of interest there is that it runs on, or that it does not.
const outagePod = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  nodeName: node-a
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "minikubelet.dev/web:1", args: [%[2]s], readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]
---
`

const churned = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: "minikubelet.dev/web:1", env: [{name: VERSION, value: "%d"}]}]
`

// outage is two minutes without an API server. On node-a containers crash and files change all the while, and a client asks
// a Service; in the end node-b loses its power, too. When the server is back it is told all of it, and nothing has run twice.
func (c *cluster) outage() {
	a, b := c.nodes[0], c.nodes[1]
	c.Apply(fmt.Sprintf(outagePod, "steady", "") + fmt.Sprintf(outagePod, "crasher", `"-exit-after=3s", "-exit-code=4"`))
	c.kubectl("expose", "pod", "steady", "--port=80", "--target-port=8080")
	c.waitReady("steady")
	url := "http://" + c.kubectl("get", "service", "steady", "-o", "jsonpath={.spec.clusterIP}") + "/"
	c.answers("client-"+a.name, url, "hello from steady")
	c.Apply(fmt.Sprintf(asking, "asker", a.name, url))
	c.waitAsked("asker", 5)
	onB, steady := c.onNode(b), c.waitReady("steady")

	began := time.Now()
	c.StopAPI()
	rounds := 0
	for time.Since(began) < 2*time.Minute {
		rounds++
		c.churn(a, rounds)
	}
	crasher := c.told(a, "crasher")
	if restarts(crasher) < 2 {
		c.t.Errorf("crasher: %s", describeStatus(crasher.Status))
	}
	c.t.Logf("%d rounds of churn", rounds)
	c.bootsAlone(b, onB)

	c.StartAPI()
	for _, m := range c.nodes {
		c.waitNode(m.name)
	}
	if err := same(steady, c.waitReady("steady")); err != nil {
		c.t.Errorf("steady: %v", err)
	}
	c.noneFailed("asker")
	c.waitPod("crasher", "its restarts are told", func(p *v1.Pod) error { return atLeast(p, restarts(crasher)) })
	c.waitPod("changing-node-a", "its mirror is the last version", func(p *v1.Pod) error {
		if got := p.Spec.Containers[0].Env[0].Value; got != fmt.Sprint(rounds) {
			return fmt.Errorf("version %s of %d", got, rounds)
		}
		return errors.Join(ready(p), atLeast(p, 1))
	})
	c.allReady(onB, "is back", restartedOnce)
	c.answers("asker", "http://shop/", "hello from shop-")
	if out := c.kubectl("get", "pods", "-o", "name"); strings.Contains(out, "passing") {
		c.t.Errorf("mirrors of files that went during the outage: %s", out)
	}
	for _, m := range c.nodes {
		c.at(m).noneTwice()
	}
	a.agent.RemoveManifest("changing.yaml")
	c.kubectl("delete", "pod/steady", "pod/crasher", "pod/asker", "service/steady", "--timeout=30s")
}

// bootsAlone cuts a node's power and lets it boot: its pods must run again within 10 s of the runtime being ready.
func (c *cluster) bootsAlone(m *machine, pods map[string]*v1.Pod) {
	c.t.Helper()
	m.agent.Kill()
	m.cd.PowerOff()
	m.cd.Start()
	began := time.Now()
	m.agent.Start()
	testbed.Eventually(c.t, 10*time.Second, m.name+" has its pods again, without an API server", func() error {
		running := 0
		for _, name := range c.at(m).containers() {
			if pods[name] != nil {
				running++
			}
		}
		if running != len(pods) {
			return fmt.Errorf("%d of %d", running, len(pods))
		}
		return nil
	})
	c.t.Logf("%d pods ran %.1f s after the runtime was ready", len(pods), time.Since(began).Seconds())
}

// churn changes a file and lets its container crash, and has another file come and go.
func (c *cluster) churn(m *machine, round int) {
	c.t.Helper()
	m.agent.WriteManifest("changing.yaml", fmt.Sprintf(churned, "changing", round))
	m.agent.WriteManifest("passing.yaml", fmt.Sprintf(churned, fmt.Sprintf("passing-%d", round), round))
	var ip string
	c.eventually("both files are obeyed", func() error {
		changing, err1 := c.at(m).localPod("changing-" + m.name)
		passing, err2 := c.at(m).localPod(fmt.Sprintf("passing-%d-%s", round, m.name))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		ip = changing.Status.PodIP
		out, err := c.web(ip, "/env?name=VERSION")
		if err == nil && out != fmt.Sprint(round) {
			err = fmt.Errorf("version %q", out)
		}
		return errors.Join(err, ready(&changing), ready(&passing))
	})
	m.agent.RemoveManifest("passing.yaml")
	c.crash(ip)
	c.eventually("the container that crashed runs again", func() error { return c.at(m).local(ip, 1) })
	c.eventually("the pod of a file goes with it", func() error {
		if _, err := c.at(m).localPod(fmt.Sprintf("passing-%d-%s", round, m.name)); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
}

// at is the cluster as one node sees it.
func (c *cluster) at(m *machine) *joined {
	k := *c.joined
	k.agent, k.cd = m.agent, m.cd
	return &k
}

// told is a pod as a node itself tells it.
func (c *cluster) told(m *machine, name string) v1.Pod {
	c.t.Helper()
	p, err := c.at(m).localPod(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func atLeast(p *v1.Pod, want int32) error {
	if got := restarts(*p); got < want {
		return fmt.Errorf("%d restarts of %d", got, want)
	}
	return nil
}

// noneTwice fails the test when two containers run that are the same one of the same pod.
func (j *joined) noneTwice() {
	j.t.Helper()
	count := map[string]int{}
	for _, pod := range j.containers() {
		count[pod]++
		if count[pod] > 1 {
			j.t.Errorf("%s runs twice on %s", pod, j.agent.NodeName)
		}
	}
}
