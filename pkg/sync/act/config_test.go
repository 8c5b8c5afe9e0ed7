package act

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/minikubelet/minikubelet/pkg/objects"
)

// told are the objects of a node, by kind and name.
type told map[string]map[string]string

func (o told) Get(_ context.Context, k objects.Key) (objects.Object, error) {
	data, ok := o[k.Kind+" "+k.Name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: strings.ToLower(k.Kind) + "s"}, k.Name)
	}
	if k.Kind == "ConfigMap" {
		return &v1.ConfigMap{Data: data}, nil
	}
	s := &v1.Secret{Data: map[string][]byte{}}
	for key, v := range data {
		s.Data[key] = []byte(v)
	}
	return s, nil
}

func ref(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }

func configMapKey(name, key string, optional *bool) *v1.EnvVarSource {
	return &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref(name), Key: key, Optional: optional}}
}

func secretKey(name, key string) *v1.EnvVarSource {
	return &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref(name), Key: key}}
}

func TestEnvironment(t *testing.T) {
	o := told{"ConfigMap cm": {"A": "1", "B": "2", "bad=name": "x"}, "Secret s": {"PASS": "word"}}
	s := self{pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns"}}, podIPs: []string{"10.0.0.9"}}
	for name, c := range map[string]struct {
		container v1.Container
		want      []string
		skipped   []string
		err       string
	}{
		"plain and expanded, later ones see earlier ones": {
			container: v1.Container{Env: []v1.EnvVar{{Name: "X", Value: "x"}, {Name: "Y", Value: "$(X)-$(Z)-$$(X)"}, {Name: "Z", Value: "z"}}},
			want:      []string{"X=x", "Y=x-$(Z)-$(X)", "Z=z"},
		},
		"envFrom comes first and is overridden in place": {
			container: v1.Container{
				EnvFrom: []v1.EnvFromSource{
					{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: ref("cm")}},
					{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("s")}},
				},
				Env: []v1.EnvVar{{Name: "P_A", Value: "mine"}},
			},
			want:    []string{"P_A=mine", "P_B=2", "PASS=word"},
			skipped: []string{"P_bad=name"},
		},
		"references and fields": {
			container: v1.Container{Env: []v1.EnvVar{
				{Name: "CM", ValueFrom: configMapKey("cm", "A", nil)},
				{Name: "S", ValueFrom: secretKey("s", "PASS")},
				{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				{Name: "OPT", ValueFrom: configMapKey("none", "A", new(true))},
				{Name: "OPTKEY", ValueFrom: configMapKey("cm", "none", new(true))},
			}},
			want: []string{"CM=1", "S=word", "IP=10.0.0.9"},
		},
		"a missing object":  {container: v1.Container{Env: []v1.EnvVar{{Name: "E", ValueFrom: configMapKey("none", "A", nil)}}}, err: `variable E of container : configmaps "none" not found`},
		"a missing key":     {container: v1.Container{Env: []v1.EnvVar{{Name: "E", ValueFrom: secretKey("s", "nokey")}}}, err: "couldn't find key nokey in Secret ns/s"},
		"an unknown field":  {container: v1.Container{Env: []v1.EnvVar{{Name: "E", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "spec.x"}}}}}, err: "spec.x"},
		"a missing envFrom": {container: v1.Container{EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("none")}}}}, err: `secrets "none" not found`},
		"optional envFrom":  {container: v1.Container{EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("none"), Optional: new(true)}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			env, skipped, err := environment(t.Context(), o, s, &c.container)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range env.names {
				got = append(got, n+"="+env.values[n])
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("variables (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.skipped, skipped); d != "" {
				t.Errorf("skipped (-want +got):\n%s", d)
			}
		})
	}
}

func TestSetServices(t *testing.T) {
	service := func(namespace, name, ip string, ports ...v1.ServicePort) v1.Service {
		return v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	services := []v1.Service{
		service("default", "kubernetes", "10.0.0.1", v1.ServicePort{Name: "https", Port: 443, Protocol: v1.ProtocolTCP}),
		service("default", "not-mine", "10.0.0.2", v1.ServicePort{Port: 80}),
		service("shop", "my-db", "fd00::3", v1.ServicePort{Port: 53, Protocol: v1.ProtocolUDP}),
	}
	api := []string{
		"KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
		"KUBERNETES_PORT=tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP_PROTO=tcp",
		"KUBERNETES_PORT_443_TCP_PORT=443", "KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1",
	}
	own := []string{
		"MY_DB_SERVICE_HOST=fd00::3", "MY_DB_SERVICE_PORT=53", "MY_DB_PORT=udp://[fd00::3]:53", "MY_DB_PORT_53_UDP=udp://[fd00::3]:53",
		"MY_DB_PORT_53_UDP_PROTO=udp", "MY_DB_PORT_53_UDP_PORT=53", "MY_DB_PORT_53_UDP_ADDR=fd00::3",
	}
	for name, c := range map[string]struct {
		links *bool
		more  []v1.Service
		want  []string
	}{
		"links by default":          {nil, nil, append(api[:len(api):len(api)], own...)},
		"no links":                  {new(false), nil, api},
		"no links, and its own API": {new(false), []v1.Service{service("shop", "kubernetes", "10.0.0.4", v1.ServicePort{Port: 80})}, api},
		"its own API": {nil, []v1.Service{service("shop", "kubernetes", "10.0.0.4", v1.ServicePort{Port: 80})}, append([]string{
			"KUBERNETES_SERVICE_HOST=10.0.0.4", "KUBERNETES_SERVICE_PORT=80", "KUBERNETES_PORT=tcp://10.0.0.4:80", "KUBERNETES_PORT_80_TCP=tcp://10.0.0.4:80",
			"KUBERNETES_PORT_80_TCP_PROTO=tcp", "KUBERNETES_PORT_80_TCP_PORT=80", "KUBERNETES_PORT_80_TCP_ADDR=10.0.0.4",
		}, own...)},
	} {
		t.Run(name, func(t *testing.T) {
			env := &variables{values: map[string]string{}}
			setServices(env, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: v1.PodSpec{EnableServiceLinks: c.links}}, append(c.more, services...))
			var got []string
			for _, n := range env.names {
				got = append(got, n+"="+env.values[n])
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("variables (-want +got):\n%s", d)
			}
		})
	}
}

func TestHostsFile(t *testing.T) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0", Namespace: "shop"}, Spec: v1.PodSpec{
		Subdomain: "web", HostAliases: []v1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"db", "db.example"}}},
	}}
	got := string(hostsFile(p, []string{"10.1.0.2", "fd00::2"}, "web-0", domain(p, "cluster.local"), nil))
	for _, want := range []string{
		"# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n",
		"10.1.0.2\tweb-0.web.shop.svc.cluster.local\tweb-0\n",
		"fd00::2\tweb-0.web.shop.svc.cluster.local\tweb-0\n",
		"\n# Entries added by HostAliases.\n192.0.2.7\tdb\tdb.example\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the hosts file lacks %q:\n%s", want, got)
		}
	}
	p.Spec.HostNetwork = true
	got = string(hostsFile(p, nil, "n", "", []byte("127.0.0.1 node\n")))
	if !strings.HasPrefix(got, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 node\n") {
		t.Errorf("the hosts file on the host network:\n%s", got)
	}
}

func TestPodResolver(t *testing.T) {
	host := parseResolver("# comment\nsearch example.org corp\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions timeout:1 rotate\nbad\n")
	many := make([]string, 40)
	for i := range many {
		many[i] = strings.Repeat("a", 3) + string(rune('a'+i%26)) + strings.Repeat("b", i/26)
	}
	for name, c := range map[string]struct {
		spec v1.PodSpec
		want resolver
		cut  []string
	}{
		"Default is the host's": {spec: v1.PodSpec{DNSPolicy: v1.DNSDefault}, want: host},
		"ClusterFirst": {
			spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst},
			want: resolver{servers: []string{"10.96.0.10"}, searches: []string{"ns.svc.c.local", "svc.c.local", "c.local", "example.org", "corp"}, options: []string{"ndots:5"}},
		},
		"ClusterFirst on the host network is Default": {spec: v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, HostNetwork: true}, want: host},
		"None with its own": {
			spec: v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{Nameservers: []string{"1", "2", "3", "4"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}, {Name: "edns0"}}}},
			want: resolver{servers: []string{"1", "2", "3"}, options: []string{"ndots:2", "edns0"}},
			cut:  []string{"Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1 2 3"},
		},
		"Default with more": {
			spec: v1.PodSpec{DNSPolicy: v1.DNSDefault, DNSConfig: &v1.PodDNSConfig{Searches: []string{"corp", "x"}, Options: []v1.PodDNSConfigOption{{Name: "timeout", Value: new("5")}}}},
			want: resolver{servers: host.servers, searches: []string{"example.org", "corp", "x"}, options: []string{"rotate", "timeout:5"}},
		},
		"too many searches": {
			spec: v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{Searches: many}},
			want: resolver{searches: many[:32]},
			cut:  []string{"Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(many[:32], " ")},
		},
		"a search too long": {
			spec: v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{Searches: []string{"a", strings.Repeat("l", 254), "b"}}},
			want: resolver{searches: []string{"a", "b"}},
			cut:  []string{"Search Line limits were exceeded, some search paths have been omitted, the applied search line is: a b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, cut := podResolver(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: c.spec}, host, []string{"10.96.0.10"}, "c.local")
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(resolver{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.cut, cut); d != "" {
				t.Errorf("cut (-want +got):\n%s", d)
			}
		})
	}
}
