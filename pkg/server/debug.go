package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/server/limit"
	"github.com/minikubelet/minikubelet/pkg/server/syslogs"
	"github.com/minikubelet/minikubelet/pkg/server/zpages"
)

// run answers with what a command in a container wrote. The command is words with a space between, as in a kubelet.
func (s Source) run(w http.ResponseWriter, r *http.Request) error {
	id, err := s.container(r)
	if err != nil {
		return err
	}
	cmd := r.URL.Query().Get("cmd")
	if cmd == "" {
		return badRequest("you must specify a command: cmd=...")
	}
	out, err := s.Run(r.Context(), id, strings.Split(cmd, " "))
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit.AnswerTime))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(out) // the peer may be gone: there is nobody to tell
	return nil
}

// runningPods lists what the runtime runs, which may be more than what is wanted, and less.
func (s Source) runningPods(w http.ResponseWriter, r *http.Request) error {
	pods, err := s.Running(r.Context())
	if err != nil {
		return err
	}
	return reply(w, v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: append([]v1.Pod{}, pods...)})
}

// checkpoint writes the state of a container to an archive and tells its path (KEP-2008).
func (s Source) checkpoint(w http.ResponseWriter, r *http.Request) error {
	p, err := s.subject(r)
	if err != nil {
		return err
	}
	id, err := s.container(r)
	if err != nil {
		return err
	}
	var seconds int64
	if asked := r.URL.Query()["timeout"]; len(asked) > 0 {
		if seconds, err = strconv.ParseInt(asked[len(asked)-1], 10, 32); err != nil || seconds < 0 {
			return notFound("cannot parse value of timeout parameter") // no bad request: that is what a kubelet says
		}
	}
	name := r.PathValue("container")
	archive, err := s.Checkpoint(r.Context(), p, name, id, seconds)
	if err != nil {
		return fmt.Errorf("checkpointing of %s/%s/%s failed (%w)", p.Namespace, p.Name, name, err)
	}
	return reply(w, map[string][]string{"items": {archive}})
}

// verbosity takes the flag -v in the body of a request.
func (d Debugging) verbosity(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || v < 0 {
		return badRequest("%.20q is no verbosity: 0 and 1 are info, 2 and more debug", b)
	}
	d.Verbosity(v)
	fmt.Fprintf(w, "successfully set klog.logging.verbosity to %d", v)
	return nil
}

// debug adds what is served for debugging the node.
func (cfg NodeConfig) debug(mux zpages.Mux) {
	d := cfg.Debugging
	if d.SystemLogs == "" {
		mux.HandleFunc("/logs/", disabled("logs endpoint is disabled."))
	} else {
		logs := limit.Idle(cfg.StreamTimeout, syslogs.Handler(d.SystemLogs, d.LogQueries))
		mux.HandleFunc("GET /logs/{path...}", logs)
	}
	if d.Verbosity == nil {
		mux.HandleFunc("/debug/flags/v", disabled("flags endpoint is disabled."))
	} else {
		mux.HandleFunc("PUT /debug/flags/v", plain(d.verbosity))
	}
	if !d.Profiling {
		mux.HandleFunc("/debug/pprof/", disabled("profiling endpoint is disabled."))
		return
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
