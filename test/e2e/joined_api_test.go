package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

const scraper = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}
subjects: [{kind: User, name: scraper}, {kind: ServiceAccount, name: scraper, namespace: default}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: health}
rules: [{apiGroups: [""], resources: [nodes/healthz, nodes/statusz], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: proxy}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: proxy}
subjects: [{kind: User, name: debugger}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: health}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: health}
subjects: [{kind: User, name: prober}]
`

func (j *joined) nodeAPI() {
	j.Apply(scraper)
	foreign := j.env.NewCA("foreign")
	client := func(certificates ...tls.Certificate) *http.Client {
		return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certificates}, //nolint:gosec // the serving certificate is the agent's own
		}}
	}
	by := func(ca *testbed.CA, user string, groups ...string) *http.Client {
		pair := ca.Issue(user, testbed.Cert{Name: user, Groups: groups})
		c, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			j.t.Fatal(err)
		}
		return client(c)
	}
	token := j.kubectl("create", "token", "scraper")
	for name, c := range map[string]struct {
		client     *http.Client
		token      string
		path, want string
	}{
		"no credentials":                    {client(), "", "/healthz", "401 "},
		"a certificate of another CA":       {by(foreign, "scraper"), "", "/healthz", "tls: "},
		"a user without rights":             {by(j.CA, "nobody"), "", "/pods", "403 Forbidden (user=nobody, verb=get, resource=nodes, subresource"},
		"a user with the rights":            {by(j.CA, "scraper"), "", "/pods", `200 {"kind":"PodList"`},
		"the health of the node":            {by(j.CA, "prober"), "", "/healthz", "200 ok"},
		"no more than the health":           {by(j.CA, "prober"), "", "/pods", "403 "},
		"the status of the agent":           {by(j.CA, "prober"), "", "/statusz", "200 kubelet statusz"},
		"its flags, by nodes/configz":       {by(j.CA, "scraper"), "", "/flagz", "200 kubelet flagz"},
		"no flags by nodes/proxy":           {by(j.CA, "debugger"), "", "/flagz", "403 "},
		"no status by nodes/proxy":          {by(j.CA, "debugger"), "", "/statusz", "403 "},
		"the pods, by nodes/proxy":          {by(j.CA, "debugger"), "", "/pods", `200 {"kind":"PodList"`},
		"no metrics by nodes/proxy":         {by(j.CA, "debugger"), "", "/metrics", "403 "},
		"the API server itself":             {by(j.CA, "kube-apiserver-kubelet-client", "system:masters"), "", "/healthz", "200 ok"},
		"a service account's token":         {client(), token, "/healthz", "200 ok"},
		"a token that is none":              {client(), "nonsense", "/healthz", "401 "},
		"a path that leaves the log's pod":  {by(j.CA, "scraper"), "", "/containerLogs/default/..%2f..%2fx/web", "404 "},
		"a log of a pod that is not there":  {by(j.CA, "scraper"), "", "/containerLogs/default/none/web", "404 "},
		"a request that is not for a human": {by(j.CA, "scraper"), "", "/nothing", "404 "},
	} {
		if got := ask(c.client, c.token, fmt.Sprintf("https://%s:%d%s", j.env.NodeIP(), j.agent.Port, c.path)); !strings.Contains(got, c.want) {
			j.t.Errorf("%s: %.300s, want %s", name, got, c.want)
		}
	}
	if out := j.kubectl("get", "--raw", "/api/v1/nodes/"+j.agent.NodeName+"/proxy/healthz"); out != "ok" {
		j.t.Errorf("healthz through the API server: %s", out)
	}
}

func ask(c *http.Client, token, url string) string { return request(c, http.MethodGet, token, url) }

// request returns the code and the text of an answer, or why there is none.
func request(c *http.Client, method, token, url string) string {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(b)))
}
