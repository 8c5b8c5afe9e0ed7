package sources

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestURL_KeepsWhatItSaidWhileTheServerFails(t *testing.T) {
	var answer atomic.Pointer[string]
	set := func(s string) { answer.Store(&s) }
	set(podYAML("a", "one"))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "k" || *answer.Load() == "" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, *answer.Load())
	}))
	defer srv.Close()
	o := observe(t, func(emit func(Update)) {
		URL{URL: srv.URL, Header: http.Header{"X-Key": {"k"}}, Node: "n", Every: time.Millisecond, Client: srv.Client(),
			Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
	if u := o.pods("a=one"); u.Source != "http" || u.Pods[0].Annotations["kubernetes.io/config.source"] != "http" {
		t.Errorf("source %s", u.Source)
	}
	o.whole()
	set("")
	if u := o.problem("the server answers 403 Forbidden"); len(u.Pods) != 1 || u.Partial {
		t.Errorf("partial %t, pods %v", u.Partial, images(u))
	}
	set(podYAML("a", "two"))
	o.pods("a=two")
	set("{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}")
	o.pods()
}

func TestURL_AsksForWhatChangedAlone(t *testing.T) {
	var body atomic.Pointer[string]
	body.Store(new(podYAML("a", "one")))
	same := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, *body.Load()))
		http.ServeContent(notModified{w, same}, r, "pods.yaml", time.Time{}, strings.NewReader(*body.Load()))
	}))
	defer srv.Close()
	o := observe(t, func(emit func(Update)) {
		URL{URL: srv.URL, Node: "n", Every: time.Millisecond, Client: srv.Client(), Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
	o.pods("a=one")
	select {
	case <-same:
	case <-time.After(10 * time.Second):
		t.Fatal("it never asks whether anything changed")
	}
	body.Store(new("kind: Pod\n"))
	if u := o.problem("must be v1 for kind Pod"); len(u.Pods) != 1 {
		t.Errorf("pods %v", images(u))
	}
	body.Store(new(podYAML("a", "two")))
	o.pods("a=two")
}

// notModified tells when an answer was that nothing changed.
type notModified struct {
	http.ResponseWriter
	told chan<- struct{}
}

func (n notModified) WriteHeader(code int) {
	if code == http.StatusNotModified {
		select {
		case n.told <- struct{}{}:
		default:
		}
	}
	n.ResponseWriter.WriteHeader(code)
}

func TestURL_TellsItsHeadersToItsOwnHostAlone(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, podYAML("a", "got-"+r.Header.Get("X-Key")))
	}))
	defer other.Close()
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/second", http.StatusFound)
			return
		}
		http.Redirect(w, r, other.URL+"/"+r.Header.Get("X-Key"), http.StatusFound)
	}))
	defer own.Close()
	o := observe(t, func(emit func(Update)) {
		URL{URL: own.URL + "/first", Header: http.Header{"X-Key": {"k"}}, Node: "n", Every: time.Hour, Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
	o.pods("a=got-")
}

func TestURL_BoundsWhatItReads(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := []byte("# " + strings.Repeat("x", 1<<16) + "\n")
		for r.Context().Err() == nil {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	o := observe(t, func(emit func(Update)) {
		URL{URL: srv.URL, Node: "n", Every: time.Hour, Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
	if u := o.problem("larger than 10 MiB: split it into several files"); !u.Partial {
		t.Error("it was never read")
	}
}

func TestURL_AsksOnceMoreBeforeItActsOnWhatIsMissing(t *testing.T) {
	const none = `{"apiVersion": "v1", "kind": "List", "items": []}`
	answers := []string{podYAML("a", "one"), podYAML("a", "one"), none, podYAML("a", "two"), none, none}
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, answers[min(int(asked.Add(1)), len(answers))-1])
	}))
	defer srv.Close()
	o := observe(t, func(emit func(Update)) {
		URL{URL: srv.URL, Node: "n", Every: time.Millisecond, Client: srv.Client(), Log: slog.New(slog.DiscardHandler)}.Run(t.Context(), emit)
	})
	var told []string
	for u := o.pods("a=one"); ; u = <-o.updates {
		if told = append(told, fmt.Sprint(images(u), u.Partial)); len(u.Pods) == 0 {
			break
		}
	}
	if d := cmp.Diff([]string{"[a=one] true", "[a=one] false", "[a=two] false", "[] false"}, told); d != "" {
		t.Errorf("updates (-want +got):\n%s", d)
	}
}
