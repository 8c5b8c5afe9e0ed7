package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refusal is why a request cannot be answered: what a handler returns before it has written anything.
type refusal struct {
	code   int
	reason metav1.StatusReason
	text   string
}

func (r refusal) Error() string { return r.text }

func notFound(format string, args ...any) error {
	return refusal{http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return refusal{http.StatusBadRequest, metav1.StatusReasonBadRequest, fmt.Sprintf(format, args...)}
}

// invalid is a request whose parameters can be read and make no sense.
func invalid(format string, args ...any) error {
	return refusal{http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, fmt.Sprintf(format, args...)}
}

func asRefusal(err error) refusal {
	if r, ok := errors.AsType[refusal](err); ok {
		return r
	}
	return refusal{http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error()}
}

// handler answers a request, or returns why it does not.
type handler func(http.ResponseWriter, *http.Request) error

// tell refuses a request as http.Error does, without its line feed: an API server puts the whole text into a message.
func tell(w http.ResponseWriter, text string, code int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // the peer may be gone: there is nobody to tell
}

// plain tells a refusal as text, as a kubelet does.
func plain(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			no := asRefusal(err)
			tell(w, no.text, no.code)
		}
	}
}

// status tells a refusal as a v1.Status, as an API server does.
func status(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			no := asRefusal(err)
			replyWith(w, no.code, metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
				Code: int32(no.code), Reason: no.reason, Message: no.text,
			})
		}
	}
}
