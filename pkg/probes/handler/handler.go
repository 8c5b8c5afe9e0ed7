// Package handler makes what the handlers of probes and lifecycle hooks send to a container.
package handler

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxRedirects bounds how long a server can keep a request going round.
const maxRedirects = 10

// NewRequest makes the GET request of a probe or a hook of a container. Agent is its User-Agent, unless the action has one
// of its own. A path is read as a URL, so that it may bring a query along and begin without a slash; one that is no URL is
// escaped as a whole. The headers User-Agent and Accept have defaults, and are left out where they are given as empty.
func NewRequest(get *v1.HTTPGetAction, c *v1.Container, podIP, agent string) (*http.Request, error) {
	port, err := Port(get.Port, c)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		u = &url.URL{Path: get.Path}
	}
	u.Scheme = strings.ToLower(cmp.Or(string(get.Scheme), "http"))
	u.Host = net.JoinHostPort(cmp.Or(get.Host, podIP), strconv.Itoa(port))
	req, err := http.NewRequest(http.MethodGet, u.String(), nil) // a path gets its slash here
	if err != nil {
		return nil, err
	}
	for _, h := range get.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
	}
	if _, given := req.Header["User-Agent"]; !given {
		req.Header.Set("User-Agent", agent)
	}
	if _, given := req.Header["Accept"]; !given {
		req.Header.Set("Accept", "*/*")
	} else if req.Header.Get("Accept") == "" {
		req.Header.Del("Accept")
	}
	req.Host = req.Header.Get("Host")
	return req, nil
}

// FollowSameHost is a client's CheckRedirect that ends at a redirect to another host: what answers there is not the
// container.
func FollowSameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// Port resolves a port by number, by the name of one of the container's ports, or as a number written as a string.
func Port(p intstr.IntOrString, c *v1.Container) (int, error) {
	port := p.IntValue()
	if p.Type == intstr.String {
		i := slices.IndexFunc(c.Ports, func(o v1.ContainerPort) bool { return o.Name == p.StrVal })
		if i >= 0 {
			port = int(c.Ports[i].ContainerPort)
		} else if _, err := strconv.Atoi(p.StrVal); err != nil {
			return 0, fmt.Errorf("cannot find a port named %q in container %q: name one of its ports so", p.StrVal, c.Name)
		}
	}
	if port < 1 || port > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", port)
	}
	return port, nil
}
