package server

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// subject finds the pod that a request names.
func (s Source) subject(r *http.Request) (*v1.Pod, error) {
	p := s.find(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if p == nil {
		return nil, notFound("pod does not exist: there is no %s/%s on this node", r.PathValue("namespace"), r.PathValue("pod"))
	}
	return p, nil
}

// defaultContainer is the annotation by which a pod says which of its containers people mean when they name none.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// containerName is the container that a request names, else the pod's default one.
func containerName(r *http.Request, p *v1.Pod) string {
	name := cmp.Or(r.PathValue("container"), r.URL.Query().Get("container"), p.Annotations[defaultContainer])
	if name == "" && len(p.Spec.Containers) > 0 {
		name = p.Spec.Containers[0].Name
	}
	return name
}

// container finds the running container that a request names.
func (s Source) container(r *http.Request) (string, error) {
	p, err := s.subject(r)
	if err != nil {
		return "", err
	}
	name := containerName(r, p)
	if id := containerID(p, name); id != "" {
		return id, nil
	}
	if c, _ := pod.SpecOf(p, name); c == nil {
		return "", notFound("container %q not found in pod %q", name, p.Name)
	}
	return "", notFound("container %s is not running", name)
}

// streams reads which streams a request asks for. A terminal carries no separate stderr.
func streams(q url.Values) (Streams, error) {
	on := func(long, short string) bool {
		return q.Get(long) == "1" || q.Get(long) == "true" || q.Get(short) == "true" || q.Get(short) == "1"
	}
	s := Streams{Stdin: on("input", "stdin"), Stdout: on("output", "stdout"), Stderr: on("error", "stderr"), TTY: on("tty", "tty")}
	if s.TTY {
		s.Stderr = false
	}
	if !s.Stdin && !s.Stdout && !s.Stderr {
		return s, badRequest("you must specify at least 1 of stdin, stdout, stderr")
	}
	return s, nil
}

func (s Source) exec(w http.ResponseWriter, r *http.Request) error {
	id, err := s.container(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	st, err := streams(q)
	if err != nil {
		return err
	}
	if len(q["command"]) == 0 {
		return badRequest("you must specify a command")
	}
	to, err := s.Exec(r.Context(), id, q["command"], st)
	return forward(w, r, to, err)
}

func (s Source) attach(w http.ResponseWriter, r *http.Request) error {
	id, err := s.container(r)
	if err != nil {
		return err
	}
	st, err := streams(r.URL.Query())
	if err != nil {
		return err
	}
	to, err := s.Attach(r.Context(), id, st)
	return forward(w, r, to, err)
}

func (s Source) portForward(w http.ResponseWriter, r *http.Request) error {
	p, err := s.subject(r)
	if err != nil {
		return err
	}
	var ports []int32
	for _, v := range append(r.URL.Query()["port"], r.URL.Query()["ports"]...) {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return badRequest("port %q is not a port", v)
		}
		ports = append(ports, int32(n))
	}
	to, err := s.PortForward(r.Context(), string(p.UID), ports)
	return forward(w, r, to, err)
}

// forward hands an upgraded connection to the URL that the runtime gave for the session, if it gave one.
func forward(w http.ResponseWriter, r *http.Request, to string, err error) error {
	if err != nil {
		return err
	}
	u, err := url.Parse(to)
	if err != nil {
		return errors.New("the runtime gave a URL for the session that cannot be read")
	}
	proxy.NewUpgradeAwareHandler(u, nil, false, true, responder{}).ServeHTTP(w, r)
	return nil
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	tell(w, "cannot stream: "+err.Error(), http.StatusInternalServerError)
}
