package e2e_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const talker = `
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "docker.io/library/busybox:1.36", command: [sh, -c, "yes 0123456789abcdef0123456789abcdef0123456789abcdef | head -c 6000000; sleep 3600"], readinessProbe: {exec: {command: ["true"]}}}]
`

// most is how much more memory the agent may have in use, in KiB, while it endures everything at once.
const most = 64 << 10

// endures has clients do their worst to the node's API. It goes on answering, and its memory stays bounded.
func (j *joined) endures() {
	j.Apply(talker)
	j.waitReady("talker")
	address := net.JoinHostPort(j.env.NodeIP(), strconv.Itoa(j.agent.Port))
	pair := j.CA.Issue("endures", testbed.Cert{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}})
	admin, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		j.t.Fatal(err)
	}
	secure := func(conn net.Conn, certificates ...tls.Certificate) net.Conn {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: certificates}) //nolint:gosec // the serving certificate is the agent's own
	}
	var open []net.Conn
	dial := func() net.Conn {
		c, err := net.DialTimeout("tcp", address, soon)
		if err != nil {
			j.t.Fatal(err)
		}
		open = append(open, c)
		return c
	}
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{admin}}}} //nolint:gosec // as above
	well := func() error {
		if got := ask(client, "", "https://"+address+"/healthz"); got != "200 ok" {
			return fmt.Errorf("healthz: %s", got)
		}
		return nil
	}
	goroutines := func() float64 {
		n, _ := sample(ask(client, "", "https://"+address+"/metrics"), "go_goroutines ")
		return n
	}
	before, began := j.agent.Memory("VmRSS"), goroutines()
	j.agent.ForgetPeak()

	// Whom the node knows: logs and lists that nobody reads.
	for i := range 100 {
		path := "/containerLogs/default/talker/c?follow=true"
		if i%4 == 0 {
			path = []string{"/pods", "/metrics", "/metrics/cadvisor", "/stats/summary"}[i/4%4]
		}
		if _, err := fmt.Fprintf(secure(dial(), admin), "GET %s HTTP/1.1\r\nHost: node\r\n\r\n", path); err != nil {
			j.t.Fatal(err)
		}
	}
	j.eventually("it answers while nobody reads", well)
	// Whom it does not: headers without an end, bodies without an end, what is no HTTP or no TLS.
	for i, say := range []string{
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20),
		"POST /run/default/talker/c?cmd=ls HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat("x", 1<<20),
		"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x00\x01\x02", "",
	} {
		for range 20 {
			c := secure(dial())
			_ = c.SetDeadline(time.Now().Add(soon))
			if i == 5 {
				c = open[len(open)-1] // no TLS
			}
			_, _ = io.WriteString(c, say) // it may be cut off
		}
	}
	if got := j.refusal(secure(dial()), "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n"); !strings.HasPrefix(got, "431 ") {
		j.t.Errorf("a huge header: %s, want 431", got)
	}
	if got := j.refusal(secure(dial(), admin), "POST /run/default/talker/c?cmd=ls HTTP/1.1\r\nHost: node\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000)); !strings.HasPrefix(got, "413 ") {
		j.t.Errorf("a huge body: %s, want 413", got)
	}
	for range 300 { // half open: more than are let in at once
		dial()
	}
	j.eventually("it answers who comes behind them", well)
	peak := j.agent.Memory("VmHWM")
	j.t.Logf("MEMORY of the agent: %d KiB before, %d KiB at most, %d connections", before, peak, len(open))
	if peak > before+most {
		j.t.Errorf("the agent has used %d KiB more than before, want at most %d", peak-before, most)
	}
	for _, c := range open {
		_ = c.Close()
	}
	j.eventually("nothing of it is left", func() error {
		if n := goroutines(); n > began+20 {
			return fmt.Errorf("%v goroutines, before it were %v", n, began)
		}
		return nil
	})
	j.kubectl("delete", "pod", "talker", "--timeout=20s")
}

// refusal is what a server answers to what it does not take.
func (j *joined) refusal(c net.Conn, say string) string {
	_ = c.SetDeadline(time.Now().Add(soon))
	go func() { _, _ = io.WriteString(c, say) }() // it may be cut off
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err.Error()
	}
	return resp.Status
}
