package limit

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

const (
	maxBody  = 64 << 10
	bodyTime = 10 * time.Second
	// AnswerTime is how long who asked may take to read an answer that waits in memory.
	AnswerTime = 30 * time.Second
)

// Body reads what a request carries before it is handled: hardly anything that is asked here is asked in a body, and a slow
// or an endless one would hold its connection.
func Body(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		conn := http.NewResponseController(w)
		_ = conn.SetReadDeadline(time.Now().Add(bodyTime)) // a recorder of tests has none
		b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil || len(b) > maxBody {
			w.Header().Set("Connection", "close")
			http.Error(w, "the body of the request is too long or too slow: none is needed", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		_ = conn.SetReadDeadline(time.Time{})
		next.ServeHTTP(w, r)
	})
}

// Turns are how many requests are answered at once. The zero capacity is not useful: make it with a size.
type Turns chan struct{}

// Wait has a request wait for its turn; its answer must be read in AnswerTime from then on.
func (t Turns) Wait(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case t <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-t }()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(AnswerTime)) // a recorder of tests has none
		next.ServeHTTP(w, r)
	}
}

// Refuse has a request refused when it is not its turn: for what may go on for long.
func (t Turns) Refuse(why string, next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case t <- struct{}{}:
			defer func() { <-t }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, why, http.StatusTooManyRequests)
		}
	}
}
