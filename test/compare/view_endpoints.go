package compare

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// endpoints are the paths that a kubelet serves, some below them that it does not, and parameters that it does not take.
var endpoints = strings.Fields(`
	/ /nothing /favicon.ico /api /healthz /healthz/ /healthz?verbose /healthz?exclude=ping&verbose /healthz/ping /healthz/log /healthz/syncloop /healthz/nothing /livez /readyz
	/pods /pods/ /pods/x /runningpods /runningpods/ /runningpods/x /configz /configz/ /configz/x /statusz /statusz/ /flagz /flagz/
	/metrics /metrics/ /metrics/cadvisor /metrics/cadvisor/ /metrics/resource /metrics/probes /metrics/slis /metrics/nothing
	/stats /stats/ /stats/summary /stats/summary/ /stats/summary?only_cpu_and_memory=nonsense /stats/container /spec /spec/
	/logs /logs/ /logs/nothing /logs/..%2f..%2fetc%2fpasswd /logs/?query=kubelet
	/debug /debug/ /debug/pprof /debug/pprof/ /debug/pprof/goroutine?debug=1 /debug/pprof/heap /debug/pprof/allocs /debug/pprof/threadcreate
	/debug/pprof/nothing /debug/pprof/symbol /debug/pprof/profile?seconds=1 /debug/pprof/trace?seconds=0.1 /debug/flags /debug/flags/v
	/containerLogs /containerLogs/ /containerLogs/views /containerLogs/views/logs /containerLogs/views/logs/ /containerLogs/views/logs/two /containerLogs/views/logs/two/ /containerLogs/views/logs/none
	/containerLogs/views/none/two /containerLogs/none/logs/two /containerLogs/views/logs/two/x
	/run /run/views/logs /run/views/logs/two /run/views/logs/two?cmd=echo+a /run/views/logs/two?cmd=false /run/views/logs/two?cmd=none /run/views/logs/none?cmd=true
	/run/views/none/two?cmd=true /run/views/done/c?cmd=true /run/views/starting/c?cmd=true /run/views/logs/00000000-0000-0000-0000-000000000001/two?cmd=true
	/exec /exec/views/logs/two /exec/views/logs/two?command=true /exec/views/logs/two?output=1 /exec/views/logs/two?command=true&output=1 /exec/views/logs/two?command=true&output=1&error=1&tty=1
	/exec/views/logs/none?command=true&output=1 /exec/views/none/two?command=true&output=1 /exec/views/done/c?command=true&output=1 /exec/views/starting/c?command=true&output=1
	/exec/views/logs/00000000-0000-0000-0000-000000000001/two?command=true&output=1
	/attach/views/logs/two /attach/views/logs/two?output=1 /attach/views/logs/none?output=1 /attach/views/none/two?output=1 /attach/views/done/c?output=1
	/portForward/views/logs /portForward/views/logs/ /portForward/views/none /portForward/views/done /portForward/views/logs/00000000-0000-0000-0000-000000000001 /portForward/views/logs?port=nonsense
	/checkpoint /checkpoint/views/logs/two /checkpoint/views/logs/none /checkpoint/views/none/two /checkpoint/views/logs/two?timeout=nonsense /checkpoint/views/done/c
	/cri /cri/exec/x`)

// routes are those of the paths that are asked by every method.
var routes = strings.Fields(`
	/nothing /healthz /pods /runningpods/ /configz /statusz /flagz /metrics /metrics/cadvisor /metrics/resource /metrics/probes /stats/summary
	/logs/ /debug/pprof/heap /debug/flags/v /containerLogs/views/logs/two /run/views/logs/two?cmd=echo+a /exec/views/logs/two?command=true&output=1
	/attach/views/logs/two?output=1 /portForward/views/logs /checkpoint/views/logs/two`)

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPatch, http.MethodOptions}

// methodsOf are those that a path is asked by: at least that which it is for.
func methodsOf(path string) []string {
	switch {
	case slices.Contains(routes, path):
		return methods
	case strings.HasPrefix(path, "/run/") || strings.HasPrefix(path, "/checkpoint/"):
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet}
}

// answers are those of the HTTPS API to all who ask, and of healthzPort.
func (v *viewer) answers() (l Lines, err error) {
	root, nobody, stranger := v.root(), v.as(v.cp.CA, "nobody"), v.as(v.env.NewCA("foreign"), "stranger", "system:masters")
	for _, path := range endpoints {
		for _, method := range methodsOf(path) {
			a, err := root.ask(v, method, path, "0")
			l = append(l, a.lines(method+" "+path, err)...)
		}
		a, err := nobody.ask(v, http.MethodGet, path, "")
		l = append(l, a.lines("without rights GET "+path, err)...)
	}
	for _, method := range methods {
		a, err := nobody.ask(v, method, "/pods", "")
		l = append(l, a.lines("without rights "+method+" /pods", err)...)
	}
	a, err := v.as(nil, "").ask(v, http.MethodGet, "/pods", "")
	l = append(l, a.lines("without credentials GET /pods", err)...)
	token := v.as(nil, "")
	token.header = http.Header{"Authorization": {"Bearer nonsense"}}
	a, err = token.ask(v, http.MethodGet, "/pods", "")
	l = append(l, a.lines("with a token of nobody GET /pods", err)...)
	a, err = stranger.ask(v, http.MethodGet, "/pods", "")
	l = append(l, a.lines("with a certificate of another CA GET /pods", err)...)

	health := asker{client: root.client, base: strings.TrimSuffix(v.agent.Healthz, "/healthz")}
	for _, path := range []string{"/", "/healthz", "/healthz?verbose", "/healthz/ping", "/healthz/log", "/healthz/syncloop", "/healthz/nothing", "/livez", "/metrics", "/pods"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			a, err := health.ask(v, method, path, "")
			l = append(l, a.lines("on healthzPort "+method+" "+path, err)...)
		}
	}
	return l, nil
}

// configz are the fields of the configuration in force.
func (v *viewer) configz() (l Lines, err error) {
	a, err := v.root().ask(v, http.MethodGet, "/configz", "")
	if err != nil {
		return nil, err
	}
	return l, l.addJSON("configz", json.RawMessage(a.body))
}

// pods are those that the node tells of, at /pods and at /runningpods/.
func (v *viewer) pods() (l Lines, err error) {
	for _, path := range []string{"/pods", "/runningpods/"} {
		a, err := v.root().ask(v, http.MethodGet, path, "")
		if err != nil {
			return l, err
		}
		var list struct{ Items []map[string]any }
		if err := json.Unmarshal(a.body, &list); err != nil {
			return l, err
		}
		for _, p := range list.Items {
			m, _ := p["metadata"].(map[string]any)
			name, _ := m["name"].(string)
			delete(m, "resourceVersion")
			l.add(path, name)
			if path != "/pods" || name == "burstable" || strings.HasPrefix(name, "static") {
				l.addValue(path+" "+cmp.Or(name, "?"), p)
			}
		}
	}
	return l, nil
}
