package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const protobuf = "application/vnd.kubernetes.protobuf"

// Config is what a Client needs.
type Config struct {
	Kubeconfig string        // path of the file
	ClientCert string        // path of a certificate with its key that goes before the kubeconfig's; empty: none does
	UserAgent  string        // "minikubelet/v1.36.3 (linux/amd64)"; empty: "minikubelet"
	QPS        float32       // requests per second, watches included; 0: 50
	Burst      int           // 0: 100
	Timeout    time.Duration // of one request, never of a watch; 0: a minute, which an API server itself gives a request
	Log        *slog.Logger  // for warnings that the API server sends; nil: slog.Default()
}

// Client makes requests to one API server. It is safe for concurrent use.
type Client struct {
	rest    *rest.RESTClient
	config  *rest.Config
	http    *http.Client
	timeout time.Duration
	pace    *pace
}

// connectTime is how long an address may take to accept a connection. A server that answers late has accepted one: what
// does not is away.
const connectTime = 10 * time.Second

// scheme knows the API groups that a node needs and no others.
func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, coordinationv1.AddToScheme, storagev1.AddToScheme, nodev1.AddToScheme,
		authenticationv1.AddToScheme, authorizationv1.AddToScheme, certificatesv1.AddToScheme, certificatesv1beta1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("cannot build the API scheme: %w", err)
		}
	}
	return s, nil
}

// Load reads a kubeconfig into a client configuration that speaks protobuf. Certificates that the file names by path are
// read again when they change.
func Load(cfg Config) (*rest.Config, error) {
	if _, err := os.Stat(cfg.Kubeconfig); err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w: give --kubeconfig a file, or none to run standalone", err)
	}
	rc, err := clientcmd.BuildConfigFromFlags("", cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot use the kubeconfig %s: %w", cfg.Kubeconfig, err)
	}
	if cfg.ClientCert != "" {
		rc.CertFile, rc.KeyFile, rc.CertData, rc.KeyData = cfg.ClientCert, cfg.ClientCert, nil, nil
	}
	scheme, err := scheme()
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	rc.APIPath = "/api"
	rc.ContentConfig = rest.ContentConfig{
		ContentType:          protobuf,
		AcceptContentTypes:   protobuf + ",application/json",
		GroupVersion:         &corev1.SchemeGroupVersion,
		NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion(),
	}
	rc.UserAgent = cmp.Or(cfg.UserAgent, "minikubelet")
	rc.QPS = cmp.Or(cfg.QPS, 50)
	rc.Burst = cmp.Or(cfg.Burst, 100)
	rc.WarningHandler = warnings{log}
	rc.Dial = (&net.Dialer{Timeout: connectTime, KeepAlive: 30 * time.Second}).DialContext
	return rc, nil
}

// New returns a client for the API server of a kubeconfig. It makes no request.
func New(cfg Config) (*Client, error) {
	rc, err := Load(cfg)
	if err != nil {
		return nil, err
	}
	return newForConfig(rc, cmp.Or(cfg.Timeout, time.Minute))
}

// newForConfig returns a client for a configuration that Load gave. The timeout is that of one request.
func newForConfig(rc *rest.Config, timeout time.Duration) (*Client, error) {
	h, err := rest.HTTPClientFor(rc)
	if err != nil {
		return nil, fmt.Errorf("cannot use the credentials of the kubeconfig: %w", err)
	}
	return newClient(rc, h, timeout, &pace{})
}

func newClient(rc *rest.Config, h *http.Client, timeout time.Duration, p *pace) (*Client, error) {
	c, err := rest.RESTClientForConfigAndClient(rc, h)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", rc.Host, err)
	}
	return &Client{rest: c, config: rc, http: h, timeout: timeout, pace: p}, nil
}

// Unlimited is a client over the same connection that has no rate limit of its own and that no request of others can hold
// back: for the node's lease and status, and for the events, which are limited where they are made.
func (c *Client) Unlimited() (*Client, error) {
	rc := rest.CopyConfig(c.config)
	rc.QPS = -1
	return newClient(rc, c.http, c.timeout, c.pace)
}

// host is the API server's address, as the kubeconfig has it.
func (c *Client) host() string { return c.config.Host }

// Patience is how long an answer is worth waiting for where there is something else to take: least, and longer when the
// server has taken longer of late.
func (c *Client) Patience(least time.Duration) time.Duration { return c.pace.patience(least) }

// Get reads one object.
func (c *Client) Get(ctx context.Context, k Key, into runtime.Object) error {
	return c.do(ctx, http.MethodGet, k, into, nil)
}

// List reads a collection; of the options, the selectors, the resource version and its match are used.
func (c *Client) List(ctx context.Context, k Key, o metav1.ListOptions, into runtime.Object) error {
	return c.do(ctx, http.MethodGet, k, into, func(r *rest.Request) { listParams(r, o) })
}

// Create creates an object; the key has no name unless it is that of a subresource (pods/binding, serviceaccounts/token).
// What the server answered is decoded into "into", which may be obj itself or nil.
func (c *Client) Create(ctx context.Context, k Key, obj, into runtime.Object) error {
	return c.do(ctx, http.MethodPost, k, into, func(r *rest.Request) { r.Body(obj) })
}

// Update replaces an object; its resource version is a precondition.
func (c *Client) Update(ctx context.Context, k Key, obj, into runtime.Object) error {
	return c.do(ctx, http.MethodPut, k, into, func(r *rest.Request) { r.Body(obj) })
}

// Patch applies a strategic merge patch, which carries metadata.uid where it must not hit a successor of the same name.
func (c *Client) Patch(ctx context.Context, k Key, patch []byte, into runtime.Object) error {
	return c.do(ctx, http.MethodPatch, k, into, func(r *rest.Request) {
		r.SetHeader("Content-Type", string(types.StrategicMergePatchType)).Body(patch)
	})
}

// Delete deletes an object; the options carry the grace period and the preconditions.
func (c *Client) Delete(ctx context.Context, k Key, o metav1.DeleteOptions) error {
	return c.do(ctx, http.MethodDelete, k, nil, func(r *rest.Request) { r.Body(&o) })
}

// Watch opens a watch on a collection. It has no timeout but the context's and the one in the options.
func (c *Client) Watch(ctx context.Context, k Key, o metav1.ListOptions) (watch.Interface, error) {
	seg, err := k.segments()
	if err != nil {
		return nil, err
	}
	r := c.rest.Get().MaxRetries(0).AbsPath(seg...).Param("watch", "true")
	listParams(r, o)
	w, err := r.Watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", k, err)
	}
	return w, nil
}

func (c *Client) do(ctx context.Context, verb string, k Key, into runtime.Object, set func(*rest.Request)) error {
	seg, err := k.segments()
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// A 429 that is waited out here would end as "no answer" when the time is over. Every caller tries again by itself.
	r := c.rest.Verb(verb).MaxRetries(0).AbsPath(seg...)
	if set != nil {
		set(r)
	}
	began := time.Now()
	res := r.Do(short)
	took := time.Since(began)
	if into != nil {
		err = res.Into(into)
	} else {
		err = res.Error()
	}
	if err == nil || !unreachable(err) {
		c.pace.answered(took)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("cannot %s %s: no answer from %s in %s: %w", verbs(verb), k, c.host(), took.Round(100*time.Millisecond), err)
	}
	return fmt.Errorf("cannot %s %s: %w", verbs(verb), k, err)
}

func verbs(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return "read"
}

func listParams(r *rest.Request, o metav1.ListOptions) {
	for name, value := range map[string]string{
		"fieldSelector": o.FieldSelector, "labelSelector": o.LabelSelector,
		"resourceVersion": o.ResourceVersion, "resourceVersionMatch": string(o.ResourceVersionMatch),
	} {
		if value != "" {
			r.Param(name, value)
		}
	}
	if o.AllowWatchBookmarks {
		r.Param("allowWatchBookmarks", "true")
	}
	if o.TimeoutSeconds != nil {
		r.Param("timeoutSeconds", strconv.FormatInt(*o.TimeoutSeconds, 10))
	}
}

// warnings passes the API server's warning headers on to the log.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeader(code int, _ string, text string) {
	if code == 299 && text != "" {
		w.log.Debug("the API server warns", "text", text)
	}
}
