package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// throttle leaves the node one request at a time: a second one is answered 429.
const throttle = `
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: nothing}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: nothing-for-the-node}
spec:
  priorityLevelConfiguration: {name: nothing}
  matchingPrecedence: 2
  rules:
  - subjects: [{kind: User, user: {name: "system:node:%s"}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true}]
`

// TestJoined_NamesAnAPIServerThatCannotBeUsed goes through the ways in which an API server that is there can be of no use.
// Each is survived, told in the log and to the person at the node, and over when its cause is.
func TestJoined_NamesAnAPIServerThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	j := join(t, nil)
	j.Apply(`{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: "minikubelet.dev/web:1", readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}}]}}`)
	ip := j.waitReady("web").Status.PodIP
	hosts := []string{j.env.NodeIP()}
	expired := j.CA.Issue("expired", testbed.Cert{Name: "kube-apiserver", Hosts: hosts, Life: -time.Minute})
	foreign := j.env.NewCA("other-pki").Issue("foreign", testbed.Cert{Name: "kube-apiserver", Hosts: hosts})
	back := func(j *joined) {
		j.StopAPI()
		j.StartAPI()
	}
	shown := j.goesOn(testbed.AgentBinary(t), "get", "node", "-w", "--socket="+j.agent.Socket)
	var stopHogging func()
	for i, fault := range []struct {
		name           string
		begin, end     func(*joined)
		reason, remedy string
	}{
		{"its certificate has expired", func(j *joined) { j.ServeWith(expired) }, back, "Certificate", "renew the API server's certificate or set the clock"},
		{"its certificate is of another CA", func(j *joined) { j.ServeWith(foreign) }, back, "Certificate", "take the cluster's current CA"},
		{"it answers 429", func(j *joined) { stopHogging = j.hog() }, func(*joined) { stopHogging() }, "Throttled", "too many requests"},
		{"it hangs", func(j *joined) { j.API().Signal(syscall.SIGSTOP) }, func(j *joined) { j.API().Signal(syscall.SIGCONT) }, "Unreachable", "no answer from"},
		{"it is away", func(j *joined) { j.StopAPI() }, func(j *joined) { j.StartAPI() }, "Unreachable", "connection refused"},
		{"it refuses the node's certificate, which has expired", func(j *joined) { j.clientCertificate(-time.Minute) },
			func(j *joined) { j.clientCertificate(time.Hour) }, "Unauthorized", "renew the client certificate or the token"},
	} {
		t.Run(fault.name, func(t *testing.T) {
			j := j.in(t)
			before := len(j.agent.Log())
			fault.begin(j)
			j.eventually("it is named in the log and by get node", func() error { return j.named(before, fault.reason, fault.remedy) })
			if i == 0 { // nothing else wakes it then
				j.eventually("get node -w shows it", func() error { return shown.ends("Ready,APIServerUnavailable ") })
			}
			// What a probe finds meanwhile is told when the fault is over.
			is := i%2 != 0
			if err := j.post(ip, fmt.Sprintf("/set/readyz?ok=%v", is)); err != nil {
				t.Error(err)
			}
			j.eventually("the pod's readiness follows", func() error {
				p, err := j.localPod("web")
				if err == nil && (ready(&p) == nil) != is {
					err = errors.New(describeStatus(p.Status))
				}
				return err
			})
			fault.end(j)
			j.waitPod("web", "its readiness is told", func(p *v1.Pod) error {
				if (ready(p) == nil) != is {
					return errors.New("not yet")
				}
				return nil
			})
			j.eventually("all is well", func() error {
				out, err := j.agent.CLI("get", "node")
				if err == nil && (!strings.Contains(out, "Ready") || strings.Contains(out, "APIServerUnavailable")) {
					err = errors.New(out)
				}
				return err
			})
		})
	}
	j.forgets()
}

// clientCertificate starts the agent again with a certificate that is valid for so long.
func (j *joined) clientCertificate(life time.Duration) {
	j.t.Helper()
	user := "system:node:" + j.agent.NodeName
	j.CA.Issue(strings.ReplaceAll(user, ":", "-"), testbed.Cert{Name: user, Groups: []string{"system:nodes"}, Life: life})
	j.agent.Restart()
}

// hog throttles the node and holds the one request that it may have: a body that does not end.
func (j *joined) hog() (stop func()) {
	j.t.Helper()
	j.Apply(fmt.Sprintf(throttle, j.agent.NodeName))
	client, err := rest.HTTPClientFor(j.env.RESTConfigOf(j.NodeKubeconfig(j.agent.NodeName)))
	if err != nil {
		j.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(j.t.Context())
	body, end := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL+"/api/v1/namespaces/default/events", body)
	if err != nil {
		j.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	var wg sync.WaitGroup
	wg.Go(func() {
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		end.Close()
		wg.Wait()
		j.kubectl("delete", "flowschema/nothing-for-the-node", "prioritylevelconfiguration/nothing")
	})
}

// named fails unless the log, from a place on, and the node as its agent tells it say what is wrong.
func (j *joined) named(from int, reason, remedy string) error {
	short, err1 := j.agent.CLI("get", "node")
	long, err2 := j.agent.CLI("describe", "node")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !strings.Contains(short, "Ready,APIServerUnavailable") {
		return fmt.Errorf("get node says %s", short)
	}
	if line := lineOf(long, "APIServerUnavailable  "); !strings.Contains(line, reason+" cannot ") || !strings.Contains(line, remedy) {
		return fmt.Errorf("describe node says %q", line)
	}
	if log := j.agent.Log()[from:]; !strings.Contains(log, remedy) {
		return fmt.Errorf("no %q in the log: %s", remedy, log)
	}
	return nil
}

// forgets has the agent sleep while so much happens that the API server, started again, no longer knows the version that
// it saw last: the answer is 410 Gone, and the agent lists again.
func (j *joined) forgets() {
	j.t.Helper()
	p := j.waitPod("web", "runs", phase(v1.PodRunning))
	j.agent.Process().Signal(syscall.SIGSTOP)
	j.StopAPI() // and with it the connection that would have told the agent in its sleep
	j.StartAPI()
	for i := range 20 {
		j.kubectl("annotate", "pod", "web", "--overwrite", fmt.Sprintf("n=%d", i))
	}
	j.kubectl("delete", "pod", "web", "--force", "--grace-period=0")
	j.StopAPI()
	j.StartAPI()
	if out := j.kubectl("get", "--raw", "/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion="+p.ResourceVersion); !strings.Contains(out, `"code":410`) {
		j.t.Fatalf("the API server still knows version %s: %s", p.ResourceVersion, out)
	}
	j.agent.Process().Signal(syscall.SIGCONT)
	j.eventually("a pod that went meanwhile is gone", func() error { return j.noContainers(string(p.UID)) })
}
