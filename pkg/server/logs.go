package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// logOptions reads the query of a log request, as the API server and kubectl write it.
func logOptions(q url.Values) (*v1.PodLogOptions, error) {
	o := &v1.PodLogOptions{}
	for name, to := range map[string]*bool{"follow": &o.Follow, "previous": &o.Previous, "timestamps": &o.Timestamps} {
		if v := q.Get(name); v != "" {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return nil, badRequest("%s=%q is neither true nor false", name, v)
			}
			*to = b
		}
	}
	for name, to := range map[string]**int64{"tailLines": &o.TailLines, "limitBytes": &o.LimitBytes, "sinceSeconds": &o.SinceSeconds} {
		v := q.Get(name)
		if name == "tailLines" { // tail is its older name
			v = cmp.Or(q.Get("tail"), v)
		}
		if v == "" || name == "tailLines" && v == "all" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, badRequest("%s=%q is not a number", name, v)
		}
		if n < 0 || n == 0 && name != "tailLines" {
			return nil, invalid("%s=%q is not a number that can be used", name, v)
		}
		*to = &n
	}
	if v := q.Get("sinceTime"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return nil, badRequest("sinceTime=%q is not an RFC 3339 time", v)
		}
		if o.SinceSeconds != nil {
			return nil, invalid("at most one of sinceTime and sinceSeconds may be given")
		}
		o.SinceTime = &metav1.Time{Time: t}
	}
	return o, checkStream(q.Get("stream"))
}

// checkStream refuses a part of a log: a kubelet has it behind a gate that is off, and API servers ask for all.
func checkStream(stream string) error {
	switch stream {
	case "", v1.LogStreamAll:
		return nil
	case v1.LogStreamStdout, v1.LogStreamStderr:
		return badRequest("unable to return the given log stream: %q: this agent returns both streams, in their order", stream)
	}
	return invalid("stream=%q is none of All, Stdout and Stderr", stream)
}

// log streams a container's log; each write goes out at once, so that a follower sees it. With no container named it is
// the first one's, or the one that the pod's annotation names.
func (s Source) log(w http.ResponseWriter, r *http.Request) error {
	p, err := s.subject(r)
	if err != nil {
		return err
	}
	container := containerName(r, p)
	if c, _ := pod.SpecOf(p, container); c == nil {
		return notFound("container %q not found in pod %q", container, p.Name)
	}
	o, err := logOptions(r.URL.Query())
	if err != nil {
		return err
	}
	fw := &flushing{w: w}
	w.Header().Set("Content-Type", "text/plain")
	if err := s.Logs(r.Context(), fw, p, container, o); err != nil && !fw.begun && !errors.Is(err, context.Canceled) {
		return badRequest("%v", err)
	}
	return nil
}

// flushing sends each write on its way at once.
type flushing struct {
	w     http.ResponseWriter
	begun bool
}

func (f *flushing) Write(b []byte) (int, error) {
	f.begun = true
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, http.NewResponseController(f.w).Flush()
}
