package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// bounded ends a watch after the time that its request gives with timeoutSeconds, if it gives one.
func bounded(r *http.Request) (*http.Request, context.CancelFunc) {
	seconds, err := strconv.ParseInt(r.URL.Query().Get("timeoutSeconds"), 10, 32)
	if err != nil || seconds <= 0 {
		return r, func() {}
	}
	ctx, cancel := context.WithTimeout(r.Context(), pod.Seconds(seconds))
	return r.WithContext(ctx), cancel
}

func watching(r *http.Request) bool {
	v := r.URL.Query().Get("watch")
	return v == "true" || v == "1"
}

// watch sends what changed since the last look each time that something did. An object is replaced when it changes, so
// that comparing addresses is enough.
func watch[T any](w http.ResponseWriter, r *http.Request, changed func() <-chan struct{}, look func() map[string]*T, shown func(*T) any) {
	r, end := bounded(r)
	defer end()
	send := sender(w)
	seen := map[string]*T{}
	for {
		next := changed()
		now := look()
		for key, o := range now {
			kind := "MODIFIED"
			if seen[key] == nil {
				kind = "ADDED"
			}
			if seen[key] != o && send(kind, shown(o)) != nil {
				return
			}
		}
		for key, o := range seen {
			if now[key] == nil && send("DELETED", shown(o)) != nil {
				return
			}
		}
		seen = now
		select {
		case <-r.Context().Done():
			return
		case <-next:
		}
	}
}

// watchEvents sends what happened, then what happens.
func (s Source) watchEvents(w http.ResponseWriter, r *http.Request, want selection) {
	r, end := bounded(r)
	defer end()
	next := s.EventsAfter(r.Context())
	send := sender(w)
	shown := func(e v1.Event) any {
		if asTable(r) {
			return eventTable([]v1.Event{e}, time.Now())
		}
		return typedEvent(e)
	}
	for _, e := range s.Events() {
		if want.event(&e) && send("ADDED", shown(e)) != nil {
			return
		}
	}
	for e := range next {
		kind := "ADDED"
		if e.Count > 1 {
			kind = "MODIFIED"
		}
		if want.event(&e) && send(kind, shown(e)) != nil {
			return
		}
	}
}

func typedEvent(e v1.Event) v1.Event {
	e.TypeMeta = metav1.TypeMeta{Kind: "Event", APIVersion: "v1"}
	return e
}

// sender writes watch events, a line each, and sends each on its way at once. The answer begins before the first of them:
// a client that waits for something to happen must know that it is heard.
func sender(w http.ResponseWriter) func(kind string, object any) error {
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	began := flush.Flush()
	enc := json.NewEncoder(w)
	return func(kind string, object any) error {
		if began != nil {
			return began
		}
		if err := enc.Encode(map[string]any{"type": kind, "object": object}); err != nil {
			return err
		}
		return flush.Flush()
	}
}

func reply(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, b)
	return nil
}

func replyWith(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, code, b)
}

func write(w http.ResponseWriter, code int, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // the peer may be gone: there is nobody to tell
}
