package testbed

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/minikubelet/minikubelet/hack/ociarchive"
)

// The credentials of a registry with RegistryConfig.Auth.
const (
	RegistryUser     = "puller"
	RegistryPassword = "secret"

	registryHtpasswd = RegistryUser + ":$2b$04$jH5FCdsOvcfs15j2zNembuuv1p8p7/c87vGuTpTacsVed6p6vobEe\n"
)

// RegistryConfig says what registry to run.
type RegistryConfig struct {
	Auth bool // basic authentication with RegistryUser and RegistryPassword
}

// Registry is a real registry on loopback over plain HTTP, which containerd uses for loopback addresses by itself.
type Registry struct {
	Host string // 127.0.0.1:port: the first part of an image's reference

	e    *Env
	auth bool
	proc *Process
}

// Registry starts a registry and waits until it answers.
func (e *Env) Registry(c RegistryConfig) *Registry {
	e.t.Helper()
	r := &Registry{e: e, auth: c.Auth, Host: "127.0.0.1:" + strconv.Itoa(e.Port())}
	name := "registry-" + strings.ReplaceAll(r.Host, ":", "-")
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", e.Path(name, "data"), r.Host)
	if c.Auth {
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", e.WriteFile(registryHtpasswd, name, "htpasswd"))
	}
	cmd := exec.Command(Tool(e.t, "registry"), "serve", e.WriteFile(config, name, "config.yml"))
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	r.proc = e.Start(name, cmd)
	Eventually(e.t, 10*time.Second, "the registry answers", func() error {
		_, err := r.request(http.MethodGet, "http://"+r.Host+"/v2/", "", nil)
		return err
	})
	return r
}

// Push stores an image under name and tag and returns its reference: Host/name:tag.
func (r *Registry) Push(im ociarchive.Image, name, tag string) string {
	r.e.t.Helper()
	p, err := ociarchive.Pack(im)
	if err != nil {
		r.e.t.Fatalf("%v", err)
	}
	base := "http://" + r.Host + "/v2/" + name
	for _, b := range []ociarchive.Blob{p.Layer, p.Config} {
		if err := r.pushBlob(base, b); err != nil {
			r.e.t.Fatalf("cannot push %s: %v", name, err)
		}
	}
	if _, err := r.request(http.MethodPut, base+"/manifests/"+tag, p.Manifest.MediaType, p.Manifest.Content); err != nil {
		r.e.t.Fatalf("cannot push %s: %v", name, err)
	}
	return r.Host + "/" + name + ":" + tag
}

// pushBlob uploads in one piece (OCI distribution-spec, "POST then PUT").
func (r *Registry) pushBlob(base string, b ociarchive.Blob) error {
	resp, err := r.request(http.MethodPost, base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return err
	}
	q := to.Query()
	q.Set("digest", b.Digest.String())
	to.Scheme, to.Host, to.RawQuery = "http", r.Host, q.Encode()
	_, err = r.request(http.MethodPut, to.String(), "application/octet-stream", b.Content)
	return err
}

func (r *Registry) request(method, to, mediaType string, body []byte) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if r.auth {
		req.SetBasicAuth(RegistryUser, RegistryPassword)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s", method, to, resp.Status)
	}
	return resp, nil
}
