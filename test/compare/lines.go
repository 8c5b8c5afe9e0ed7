package compare

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

// Lines are what was seen of one case: "what = value", sorted, each once.
type Lines []string

func (l *Lines) add(what string, value any) {
	*l = append(*l, what+" = "+short(oneLine(fmt.Sprint(value))))
}

// mostValue is how much of a value a record has.
const mostValue = 8192

func short(s string) string {
	if len(s) <= mostValue {
		return s
	}
	return fmt.Sprintf("%.64s and more, %d bytes with the sum %.16x", s, len(s), sha256.Sum256([]byte(s)))
}

// oneLine keeps a value on its line: a text of several is quoted.
func oneLine(s string) string {
	if strings.ContainsAny(s, "\n\r\t\x00") || s == "" || s != strings.TrimSpace(s) {
		return strconv.Quote(s)
	}
	return s
}

// addJSON adds a line for each value of an object, under the path that leads to it.
func (l *Lines) addJSON(what string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write down %s: %w", what, err)
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		return fmt.Errorf("cannot write down %s: %w", what, err)
	}
	l.addValue(what, plain)
	return nil
}

func (l *Lines) addValue(what string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			l.addValue(what+"."+key, value)
		}
	case []any:
		keys := keysOf(v)
		if unordered.MatchString(what) {
			keys = texts(v)
		}
		for i, value := range v {
			l.addValue(what+"["+keys[i]+"]", value)
		}
	case float64:
		l.add(what, strconv.FormatFloat(v, 'f', -1, 64))
	case nil:
	default:
		l.add(what, v)
	}
}

// unordered are lists whose order is one of chance under a kubelet, or says nothing.
var unordered = regexp.MustCompile(`\.dnsConfig\.options$|\.declaredFeatures$`)

func texts(list []any) (out []string) {
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// listKeys name an entry of a list, so that one more entry is one difference and not one in each that follows.
var listKeys = []string{"containerPath", "destination", "key", "name", "type", "mountPath", "ip", "pageSize"}

// keysOf is how the entries of a list are told apart: by the first of listKeys that all have and no two share, else by number.
func keysOf(list []any) []string {
	for _, key := range listKeys {
		var names []string
		for _, v := range list {
			m, _ := v.(map[string]any)
			if name, ok := m[key].(string); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if len(names) == len(list) {
			return names
		}
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// names are what is called otherwise on another machine, in another run, or by another agent: the text, and what is written
// instead. Of two that both fit, the longer one is taken.
type names map[string]string

// addPod names a pod's addresses, and the hash of a static one.
func (n names) addPod(s *seen) {
	for _, st := range s.statuses {
		for _, ip := range st.PodIPs {
			n[ip.IP] = "<pod-ip>"
		}
	}
	n.addUID(s.pod.Annotations[pod.AnnotationHash])
}

// anyUID is one that an API server gives, or a static pod's, which is a hash of its manifest: none that an author wrote.
var anyUID = regexp.MustCompile(`^[0-9a-f-]{32,36}$`)

func (n names) addUID(uid string) {
	if anyUID.MatchString(uid) {
		n[uid] = "<uid>"
	}
}

// patterns are what has no meaning beside being new each time.
var patterns = []struct {
	is      *regexp.Regexp
	written string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uid>"},
	{regexp.MustCompile(`sha256:[0-9a-f]{64}\b`), "<digest>"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<id>"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+`), "..<time>"},
	{regexp.MustCompile(`\b(\d+(\.\d+)?(h|m|s|ms|µs))+\b \((\d+(\.\d+)?(h|m|s|ms|µs))+\b including waiting\)`), "<duration> (<duration> including waiting)"},
	{regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]+`), "<token>"},
	{regexp.MustCompile(`-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----`), "<certificate>"},
	{regexp.MustCompile(`\b10\.242\.\d+\.\d+\b`), "<service-ip>"},
	{regexp.MustCompile(`(/containers/[^/ ]+/)[0-9a-f]{8}\b`), "${1}<random>"},
	{regexp.MustCompile(`/proc/\d+/ns/`), "/proc/<pid>/ns/"},
	{regexp.MustCompile(`\.(hostI[Dd]) = [1-9]\d+`), ".$1 = <range>"},
	{regexp.MustCompile(`\b(cpuset\.(cpus|mems)) = \d.*`), "$1 = <all>"},
	{regexp.MustCompile(`^(image minikubelet\.dev/\S+) = \d+`), "$1 = <size>"},
	{regexp.MustCompile(`(\.kubernetes\.io/config\.hash = )[0-9a-f]{32}$`), "${1}<uid>"},
	{regexp.MustCompile(`(\.healthzPort = )2\d{4}$`), "${1}<port>"},
	{regexp.MustCompile(`/proc/thread-self/fd/\d+`), "/proc/thread-self/fd/<n>"},
	{regexp.MustCompile(`\bused: \d+, capacity: \d+`), "used: <used>, capacity: <capacity>"},
}

// normal replaces names and patterns in lines, sorts them, and leaves each once.
func (n names) normal(l Lines) Lines {
	texts := make([]string, 0, len(n))
	for text := range n {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range texts {
		pairs = append(pairs, text, n[text])
	}
	r := strings.NewReplacer(pairs...)
	out := make(Lines, 0, len(l))
	for _, line := range l {
		line = r.Replace(line)
		for _, p := range patterns {
			line = p.is.ReplaceAllString(line, p.written)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Minus are the lines that another set lacks. Both are sorted.
func (l Lines) Minus(other Lines) (out Lines) {
	for _, line := range l {
		if _, found := slices.BinarySearch(other, line); !found {
			out = append(out, line)
		}
	}
	return out
}
