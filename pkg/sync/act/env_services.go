package act

import (
	"context"
	"net"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// The service by which pods find the API server. Its variables are given to every container.
const (
	apiNamespace = "default"
	apiService   = "kubernetes"
)

// services are those that a pod may be told of. A static pod must start without an API server: it waits for none.
func (e *Executor) services(ctx context.Context, p *v1.Pod) ([]v1.Service, error) {
	switch {
	case e.cfg.Services == nil:
		return nil, nil
	case pod.IsStatic(p):
		return e.cfg.Services.Known(apiNamespace, p.Namespace), nil
	}
	return e.cfg.Services.In(ctx, apiNamespace, p.Namespace)
}

// setServices sets the variables that tell a pod of services: of the API server's always, of those of its namespace
// unless it has enableServiceLinks false. A service db with a first port 5432 named sql gives DB_SERVICE_HOST,
// DB_SERVICE_PORT, DB_SERVICE_PORT_SQL, and the names of Docker links: DB_PORT, DB_PORT_5432_TCP, ..._PROTO, ..._PORT and
// ..._ADDR. A service of the pod's own namespace that is named kubernetes takes the place of the API server's.
func setServices(env *variables, p *v1.Pod, services []v1.Service) {
	links := p.Spec.EnableServiceLinks == nil || *p.Spec.EnableServiceLinks
	var api *v1.Service
	var others []*v1.Service
	for i := range services {
		s := &services[i]
		isAPI, own := s.Namespace == apiNamespace && s.Name == apiService, links && s.Namespace == p.Namespace
		switch {
		case s.Name == apiService && own, isAPI && api == nil:
			api = s
		case own:
			others = append(others, s)
		}
	}
	if api != nil {
		setService(env, api)
	}
	for _, s := range others {
		setService(env, s)
	}
}

func setService(env *variables, s *v1.Service) {
	if len(s.Spec.Ports) == 0 {
		return
	}
	name, host := variableName(s.Name), s.Spec.ClusterIP
	env.set(name+"_SERVICE_HOST", host)
	env.set(name+"_SERVICE_PORT", number(s.Spec.Ports[0].Port))
	for _, port := range s.Spec.Ports {
		if port.Name != "" {
			env.set(name+"_SERVICE_PORT_"+variableName(port.Name), number(port.Port))
		}
	}
	for i, port := range s.Spec.Ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = v1.ProtocolTCP
		}
		url := strings.ToLower(string(protocol)) + "://" + net.JoinHostPort(host, number(port.Port))
		if i == 0 {
			env.set(name+"_PORT", url)
		}
		prefix := name + "_PORT_" + number(port.Port) + "_" + strings.ToUpper(string(protocol))
		env.set(prefix, url)
		env.set(prefix+"_PROTO", strings.ToLower(string(protocol)))
		env.set(prefix+"_PORT", number(port.Port))
		env.set(prefix+"_ADDR", host)
	}
}

func variableName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }

func number(n int32) string { return strconv.Itoa(int(n)) }
