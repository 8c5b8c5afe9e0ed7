// Package healthz answers /healthz as a kubelet does: with all checks, each by its name, and how they went for monitoring. It makes no
// check itself.
package healthz

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// check is one thing that must be well, by a kubelet's name for it.
type check struct {
	name string
	run  func() error // nil: it is well for as long as the server answers
}

// Checks are asked at /healthz, and each at /healthz/NAME. They count their results for monitoring.
type Checks struct {
	all []check

	mu    sync.Mutex
	last  map[string]bool           // by name: it was well
	count map[string]map[string]int // by name and status
}

// New has the checks that a kubelet has; health tells whether the agent does its job.
func New(health func() error) *Checks {
	return &Checks{
		all:  []check{{name: "ping"}, {name: "log"}, {name: "syncloop", run: health}, {name: "device-plugin"}},
		last: map[string]bool{}, count: map[string]map[string]int{},
	}
}

// Serve adds the checks to a server, for every method, as a kubelet does.
func (c *Checks) Serve(handle func(pattern string, h func(http.ResponseWriter, *http.Request))) {
	handle("/healthz", c.Answer)
	for _, one := range c.all {
		handle("/healthz/"+one.name, func(w http.ResponseWriter, _ *http.Request) {
			if err := c.run(one); err != nil {
				answer(w, http.StatusInternalServerError, "internal server error: "+err.Error())
				return
			}
			answer(w, http.StatusOK, "ok")
		})
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	fmt.Fprint(w, text)
}

// run does a check and counts its result.
func (c *Checks) run(one check) (err error) {
	if one.run != nil {
		err = one.run()
	}
	status := "success"
	if err != nil {
		status = "error"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[one.name] = err == nil
	if c.count[one.name] == nil {
		c.count[one.name] = map[string]int{}
	}
	c.count[one.name][status]++
	return err
}

// Answer does all checks that the query does not exclude. It tells each of them when one fails, or with verbose.
func (c *Checks) Answer(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	failed := false
	for _, one := range c.all {
		if slices.Contains(r.URL.Query()["exclude"], one.name) {
			fmt.Fprintf(&b, "[+]%s excluded: ok\n", one.name)
			continue
		}
		if err := c.run(one); err != nil {
			fmt.Fprintf(&b, "[-]%s failed: %v\n", one.name, err)
			failed = true
			continue
		}
		fmt.Fprintf(&b, "[+]%s ok\n", one.name)
	}
	_, verbose := r.URL.Query()["verbose"]
	switch {
	case failed:
		answer(w, http.StatusInternalServerError, b.String()+"healthz check failed\n")
	case verbose:
		answer(w, http.StatusOK, b.String()+"healthz check passed\n")
	default:
		answer(w, http.StatusOK, "ok")
	}
}

// SLIs tells monitoring how the checks went: /metrics/slis.
func (c *Checks) SLIs(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now, total strings.Builder
	for _, one := range c.all {
		if ok, ran := c.last[one.name]; ran {
			fmt.Fprintf(&now, "kubernetes_healthcheck{name=%q,type=\"healthz\"} %d\n", one.name, map[bool]int{true: 1}[ok])
		}
		for _, status := range []string{"error", "success"} {
			if n := c.count[one.name][status]; n > 0 {
				fmt.Fprintf(&total, "kubernetes_healthchecks_total{name=%q,status=%q,type=\"healthz\"} %d\n", one.name, status, n)
			}
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
	if now.Len() > 0 {
		fmt.Fprint(w, "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single healthcheck.\n# TYPE kubernetes_healthcheck gauge\n", now.String(),
			"# HELP kubernetes_healthchecks_total [STABLE] This metric records the results of all healthcheck.\n# TYPE kubernetes_healthchecks_total counter\n", total.String())
	}
}
