package compare

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/minikubelet/minikubelet/pkg/config"
)

// settable are the fields of a configuration by their paths, each with a value to try.
type settable map[string]any

// values are tried where one of the type alone would be refused by a kubelet, too.
var values = map[string][]any{
	"address": {"127.0.0.1"}, "cpuManagerPolicy": {"none", "static"}, "memoryManagerPolicy": {"None", "Static"}, "topologyManagerPolicy": {"none", "best-effort", "restricted", "single-numa-node"},
	"topologyManagerScope": {"container", "pod"}, "hairpinMode": {"hairpin-veth", "none"}, "configMapAndSecretChangeDetectionStrategy": {"Watch", "Get", "Cache"},
	"memorySwap.swapBehavior": {"NoSwap", "LimitedSwap"}, "authorization.mode": {"AlwaysAllow", "Webhook"}, "cgroupDriver": {"cgroupfs", "systemd"},
	"contentType": {"application/vnd.kubernetes.protobuf", "application/json"}, "enforceNodeAllocatable": {[]any{"none"}, []any{"pods", "kube-reserved"}, []any{"pods", "system-reserved"}},
	"imagePullCredentialsVerificationPolicy": {"NeverVerify"}, "tlsMinVersion": {"VersionTLS13"}, "logging.format": {"json"}, "memoryReservationPolicy": {"None", "TieredReservation"},
}

// fields lists the fields of a struct that are values themselves. Lists and maps are values.
func (s settable) fields(path string, t reflect.Type) {
	each(t, func(_ reflect.Type, name string, of reflect.Type) {
		at := strings.TrimPrefix(path+"."+name, ".")
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		switch {
		case at == "apiVersion" || at == "kind":
		case of == reflect.TypeFor[metav1.Duration]():
			s[at] = "77s"
		case of.Name() == "QuantityValue":
			s[at] = "1Mi"
		case of.Name() == "TimeOrMetaDuration":
			s[at] = "7s"
		case of.Kind() == reflect.Struct:
			s.fields(at, of)
		case of.Kind() == reflect.Bool:
			s[at] = true
		case of.Kind() == reflect.String:
			s[at] = "x"
		case of.Kind() == reflect.Slice:
			s[at] = []any{"x"}
		case of.Kind() == reflect.Map:
			s[at] = map[string]any{"x": "1"}
		default:
			s[at] = 7
		}
	})
}

// taken is what the agent does with a value of a field: it takes it, or it does not know what to do with it.
func taken(t *testing.T, path string, value any) string {
	t.Helper()
	doc := map[string]any{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	at, steps := doc, strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		inner := map[string]any{}
		at[step], at = inner, inner
	}
	at[steps[len(steps)-1]] = value
	b, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	flags := config.NewFlags()
	if err := flags.Parse([]string{"--config=c"}); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(flags, config.Files{Read: func(string) ([]byte, error) { return b, nil }, Drops: func(string) ([]string, error) { return nil, nil }})
	if _, valid := values[path]; valid && err != nil {
		return "refused"
	}
	for _, refusal := range []string{"does not support", "supports only", "unknown field"} {
		if err != nil && strings.Contains(err.Error(), path+": ") && strings.Contains(err.Error(), refusal) {
			return "refused"
		}
	}
	return "taken"
}

// TestFields_AreTakenAsAKubeletTakesThem: what this agent refuses of a KubeletConfiguration stands in differences.yaml.
func TestFields_AreTakenAsAKubeletTakesThem(t *testing.T) {
	known, err := ReadKnown("differences.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := settable{}
	s.fields("", reflect.TypeFor[kubelet.KubeletConfiguration]())
	var theirs, ours Lines
	for path, value := range s {
		try := []any{value}
		if value == true {
			try = []any{true, false}
		}
		if own, ok := values[path]; ok {
			try = own
		}
		for _, value := range try {
			b, err := yaml.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			what := path + ": " + strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", " ")
			theirs.add(what, "taken")
			ours.add(what, taken(t, path, value))
		}
	}
	var names names
	if d, _ := Differences(fieldsCase, names.normal(theirs), names.normal(ours), known); len(d) > 0 {
		t.Errorf("only the kubelet (-) and only the agent (+):\n%s", strings.Join(d, "\n"))
	}
	for _, k := range known {
		if k.OfFields() && !k.Met {
			t.Errorf("%q differs no longer: remove it", k.Title)
		}
	}
}
