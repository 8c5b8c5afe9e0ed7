package sources

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/sources/manifest"
)

// URL is the source of the pods and objects that a web server gives as one manifest. What it said last stays in force
// while it cannot be reached or its answer is broken.
type URL struct {
	URL    string
	Header http.Header
	Node   string           // name of this node
	Every  time.Duration    // default 20 s
	Client *http.Client     // nil: one with a timeout of 10 s
	Log    *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
}

// Run emits what the URL says: once at the start and after every change. It returns when the context ends.
func (s URL) Run(ctx context.Context, emit func(Update)) {
	s.Every = cmp.Or(s.Every, 20*time.Second)
	s.Client = cmp.Or(s.Client, &http.Client{Timeout: 10 * time.Second})
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	name := s.URL
	if u, err := url.Parse(s.URL); err == nil {
		name = u.Redacted()
	}
	// The rules for what changed, and for what stays when something is broken, are those of a directory with one file.
	d := &directory{cfg: Files{Path: name, Node: s.Node, Log: s.Log, Now: s.Now}, source: pod.SourceHTTP, single: true,
		files: map[string]*file{}, seen: map[types.UID]string{}, logged: map[string]bool{}, listed: true}
	s.Client = s.confined()
	var v validators
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for first := true; ; first = false {
		next := &file{}
		var problems []manifest.Problem
		data, err := s.get(ctx, &v)
		switch {
		case err != nil:
			problems = []manifest.Problem{{Source: pod.SourceHTTP, Name: name, Text: err.Error()}}
		case data != nil:
			next.objects, problems = manifest.Decode(data, manifest.Origin{Source: pod.SourceHTTP, Name: name, Node: s.Node})
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil || len(problems) > 0 {
			v = validators{} // ask for the whole again, to see when it is good
		}
		unchanged := err == nil && data == nil
		if !unchanged && d.replace("", next, problems) || first {
			emit(d.update())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// validators are what the server said of its last answer, so that it need not send the same again (RFC 9110, 13.1).
type validators struct{ etag, modified string }

// confined is the client that sends the headers of the source, which may be credentials, to its own host alone.
func (s URL) confined() *http.Client {
	c := *s.Client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("redirected 10 times")
		}
		if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
			for name := range s.Header {
				req.Header.Del(name)
			}
		}
		return nil
	}
	return &c
}

// get returns nil when nothing has changed since the answer that the validators are of.
func (s URL) get(ctx context.Context, v *validators) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("not a URL that can be read: %w", err)
	}
	req.Header = s.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if v.etag != "" {
		req.Header.Set("If-None-Match", v.etag)
	}
	if v.modified != "" {
		req.Header.Set("If-Modified-Since", v.modified)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && *v != (validators{}) {
		return nil, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s instead of 200 OK", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, manifest.MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read it: %w", err)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("the answer is empty: answer with an empty List to remove all pods")
	}
	*v = validators{etag: resp.Header.Get("ETag"), modified: resp.Header.Get("Last-Modified")}
	return data, nil
}
