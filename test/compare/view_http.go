package compare

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minikubelet/minikubelet/test/e2e/testbed"
)

// asker asks the node's HTTPS API as somebody.
type asker struct {
	client *http.Client
	base   string
	header http.Header
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// as is somebody with a certificate of a CA; nil: with none.
func (v *viewer) as(ca *testbed.CA, user string, groups ...string) asker {
	v.t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the serving certificate is the node's own
	if ca != nil {
		pair := ca.Issue("view-"+user, testbed.Cert{Name: user, Groups: groups})
		c, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			v.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{c}
	}
	t := &http.Transport{TLSClientConfig: config}
	v.t.Cleanup(t.CloseIdleConnections)
	return asker{
		base: fmt.Sprintf("https://%s:%d", v.env.NodeIP(), v.agent.Port),
		client: &http.Client{
			Transport: t, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// root is somebody who may ask everything.
func (v *viewer) root() asker { return v.as(v.cp.CA, "root", "system:masters") }

// ask returns what a path answers to a method. PUT and POST have a body.
func (a asker) ask(v *viewer, method, path, body string) (answer, error) {
	return a.askIn(v.t.Context(), method, path, body)
}

// askIn is ask for as long as a context lasts. An answer that breaks off is there beside the error, with its code.
func (a asker) askIn(ctx context.Context, method, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	maps.Copy(r.Header, a.header)
	resp, err := a.client.Do(r)
	if err != nil {
		return answer{}, errors.Unwrap(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, err
}

// told are the headers of an answer that a client goes by.
var told = []string{"Content-Type", "Cache-Control", "Allow", "Location", "Www-Authenticate", "Content-Disposition"}

// mostBody is as much of a body as says something.
const mostBody = 100

func (a answer) lines(what string, err error) (l Lines) {
	if err != nil {
		l.add(what, err)
		return l
	}
	l.add(what, a.code)
	for _, name := range told {
		if value := a.header.Values(name); len(value) > 0 {
			l.add(what+" "+name, strings.Join(value, ", "))
		}
	}
	said := " body"
	if a.code >= http.StatusBadRequest {
		said = " error"
	}
	l.add(what+said, a.shape())
	return l
}

// shape is a body, or the form of one that is long.
func (a answer) shape() string {
	var o map[string]any
	switch {
	case len(a.body) == 0:
		return "none"
	case a.code >= http.StatusBadRequest:
		return strings.TrimSpace(string(a.body))
	case json.Unmarshal(a.body, &o) == nil && len(a.body) > mostBody:
		return "an object of " + strings.Join(slices.Sorted(maps.Keys(o)), ", ")
	case len(a.body) > mostBody:
		return "much"
	}
	return string(a.body)
}
