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
	"slices"
	"time"

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
	d := newDirectory(Files{Path: name, Node: s.Node, Log: s.Log, Now: s.Now}, pod.SourceHTTP)
	d.single, d.listed = true, true
	s.Client = s.confined()
	var a answers
	wait := time.NewTimer(0)
	defer wait.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		changed, next := s.ask(ctx, d, &a)
		if ctx.Err() != nil {
			return
		}
		if changed || first {
			emit(d.update())
		}
		wait.Reset(next)
	}
}

// answers is what is known of a server's answers.
type answers struct {
	validators
	heard bool // one good answer has come
	fewer bool // the last answer lacked objects, which it may lack for a moment
}

// ask reads the URL once. It reports whether what the URL says has changed, and when to ask again: soon after the first
// answer and after one that lacks objects of before, because a server that begins or ends may say nothing for a moment.
func (s URL) ask(ctx context.Context, d *directory, a *answers) (changed bool, next time.Duration) {
	f := &file{}
	var problems []manifest.Problem
	data, err := s.get(ctx, &a.validators)
	switch {
	case err != nil:
		problems = []manifest.Problem{{Source: pod.SourceHTTP, Name: d.cfg.Path, Text: err.Error()}}
	case data == nil:
		return false, s.Every
	default:
		f.objects, problems = manifest.Decode(data, manifest.Origin{Source: pod.SourceHTTP, Name: d.cfg.Path, Node: s.Node})
	}
	if len(problems) > 0 {
		a.validators, a.fewer = validators{}, false // ask for the whole again, to see when it is good
		return d.replace("", f, problems), s.Every
	}
	if !a.fewer && d.lacks(f.objects) {
		a.validators, a.fewer = validators{}, true
		return false, absentFile
	}
	a.fewer = false
	changed = d.replace("", f, nil)
	if d.whole {
		return changed, s.Every
	}
	if d.whole = a.heard; d.whole {
		return true, s.Every
	}
	a.validators, a.heard = validators{}, true
	return changed, absentFile
}

// lacks reports whether objects are missing that the only file of d has.
func (d *directory) lacks(objects []manifest.Object) bool {
	old := d.files[""]
	return old != nil && slices.ContainsFunc(old.objects, func(was manifest.Object) bool {
		return !slices.ContainsFunc(objects, func(o manifest.Object) bool { return o.Key() == was.Key() })
	})
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
