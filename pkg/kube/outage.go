package kube

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// repeatAfter is how long an unchanged failure stays unmentioned once it was logged.
const repeatAfter = 5 * time.Minute

// Outage logs the failures of one activity without flooding: the first of a kind at once, its repetitions every five
// minutes, and the recovery once. The zero value is not usable; it is safe for concurrent use.
type Outage struct {
	Changed func() // called when a failure begins, becomes one of another kind, or ends; set it before use; nil: nobody is told

	log  *slog.Logger
	what string

	mu    sync.Mutex
	kind  string
	why   string // the last failure, and its remedy
	since time.Time
	said  time.Time
	times int
}

// NewOutage watches over an activity, which is named as in "cannot <what>".
func NewOutage(log *slog.Logger, what string) *Outage {
	if log == nil {
		log = slog.Default()
	}
	return &Outage{log: log, what: what}
}

// Failed files a failure.
func (o *Outage) Failed(err error) {
	if o.failed(err) && o.Changed != nil {
		o.Changed()
	}
}

// failed reports whether the failure is of another kind than the one before.
func (o *Outage) failed(err error) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	kind, remedy := Explain(err)
	if o.times == 0 {
		o.since = now
	}
	o.times++
	o.why = err.Error()
	if remedy != "" {
		o.why += ": " + remedy
	}
	news = kind != o.kind
	if !news && now.Sub(o.said) < repeatAfter {
		return false
	}
	o.kind, o.said = kind, now
	args := []any{"error", err, "times", o.times}
	if remedy != "" {
		args = append(args, "remedy", remedy)
	}
	o.log.Error("cannot "+o.what, args...)
	return news
}

// OK files a success.
func (o *Outage) OK() {
	if o.ended() && o.Changed != nil {
		o.Changed()
	}
}

func (o *Outage) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times == 0 {
		return false
	}
	o.log.Info("can "+o.what+" again", "after", time.Since(o.since).Round(time.Second), "failures", o.times)
	o.kind, o.why, o.times = "", "", 0
	return true
}

// Now is the failure that goes on: its kind, what fails and why, with the remedy, and since when. The kind is empty when
// the last attempt succeeded.
func (o *Outage) Now() (kind, what string, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times == 0 {
		return "", "", time.Time{}
	}
	return o.kind, "cannot " + o.what + ": " + o.why, o.since
}

// Explain sorts an error of a request into a kind (unauthorized, forbidden, certificate, throttled, refusedReason, unreachable)
// and says what a person can do about it; the remedy is empty where only waiting helps.
func Explain(err error) (kind, remedy string) {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	switch {
	case apierrors.IsUnauthorized(err):
		return "unauthorized", "the API server does not accept the kubeconfig's credentials: renew the client certificate or the token"
	case apierrors.IsForbidden(err):
		return "forbidden", "the credentials must be those of user system:node:<node name> in group system:nodes, and the API server must run the Node authorizer"
	case errors.As(err, &unknown):
		return "certificate", "the API server's certificate is not signed by the kubeconfig's certificate-authority: take the cluster's current CA"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate", fmt.Sprintf("a certificate is not valid now (%s): renew the API server's certificate or set the clock", time.Now().Format(time.RFC3339))
	case errors.As(err, &host):
		return "certificate", "the API server's certificate is not for this address: use a name that it was made for as the kubeconfig's server"
	case errors.As(err, &verify):
		return "certificate", "the API server's certificate cannot be verified: check the kubeconfig's certificate-authority"
	case apierrors.IsTooManyRequests(err):
		return "throttled", ""
	}
	if s := apierrors.APIStatus(nil); errors.As(err, &s) {
		return "refused" + string(s.Status().Reason), ""
	}
	return "unreachable", ""
}
