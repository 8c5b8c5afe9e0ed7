package compare

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Known is a difference that is meant.
type Known struct {
	Title  string   `json:"title"`  // what differs, in a few words
	Why    string   `json:"why"`    // why it stays
	Topic  string   `json:"topic"`  // the heading that it stands under in docs/differences.md
	Lines  []string `json:"lines"`  // regular expressions of whole lines that only one of the two has, without their sign; empty: nothing that a case can see
	Cases  []string `json:"cases"`  // regular expressions of whole names; empty: all cases
	Seldom bool     `json:"seldom"` // it depends on chance, and may be absent
	Exact  bool     `json:"exact"`  // what its lines match is in exact.txt, line by line, and nothing else is explained by it
	Met    bool     `json:"-"`      // Differences met it

	lines, cases []*regexp.Regexp
}

// ReadKnown reads the differences that are meant.
func ReadKnown(file string) ([]*Known, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var known []*Known
	if err := yaml.UnmarshalStrict(b, &known); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	for _, k := range known {
		if k.Title == "" || k.Why == "" || k.Topic == "" {
			err = errors.Join(err, fmt.Errorf("%s: an entry %q lacks its title, why or topic", file, k.Title))
		}
		err = errors.Join(err, k.compile())
	}
	return known, err
}

func (k *Known) compile() (err error) {
	whole := func(list []string) (out []*regexp.Regexp) {
		for _, text := range list {
			re, reErr := regexp.Compile("^(?:" + text + ")$")
			err = errors.Join(err, reErr)
			out = append(out, re)
		}
		return out
	}
	k.lines, k.cases = whole(k.Lines), whole(k.Cases)
	return err
}

// moment is what stands before a line that was looked at on the way, or is of another pod.
var moment = regexp.MustCompile(`^(step \d+|beside \S+) `)

// fieldsCase is the name that the fields of a configuration have among the cases: they are compared by themselves, see config_test.go.
const fieldsCase = "fields"

// OfFields reports whether an entry is of the fields of a configuration alone.
func (k *Known) OfFields() bool { return len(k.Cases) == 1 && k.Cases[0] == fieldsCase }

func (k *Known) explains(name, line string) bool {
	line = moment.ReplaceAllString(line, "")
	matches := func(s string) func(*regexp.Regexp) bool {
		return func(re *regexp.Regexp) bool { return re.MatchString(s) }
	}
	return (len(k.cases) == 0 || slices.ContainsFunc(k.cases, matches(name))) && slices.ContainsFunc(k.lines, matches(line))
}

// Differences are the lines that only the kubelet ("-") or only the agent ("+") has, without those that are known. Exact are
// those that only exact entries know: they must be what exact.txt has.
func Differences(name string, kubelet, agent Lines, known []*Known) (unknown, exact []string) {
	for _, side := range []struct {
		sign  string
		lines Lines
	}{{"- ", kubelet.Minus(agent)}, {"+ ", agent.Minus(kubelet)}} {
		for _, line := range side.lines {
			explained, exactly := false, false
			for _, k := range known {
				if k.explains(name, line) {
					k.Met, explained, exactly = true, explained || !k.Exact, exactly || k.Exact
				}
			}
			switch {
			case explained:
			case exactly:
				exact = append(exact, side.sign+line)
			default:
				unknown = append(unknown, side.sign+line)
			}
		}
	}
	return unknown, exact
}

// document is docs/differences.md.
func document(known []*Known) string {
	var b strings.Builder
	b.WriteString(`# Differences from the kubelet

The agent runs the same pods as a kubelet on the same components, and everything that others can see of them is compared
(` + "`make compare`" + `). What follows differs on purpose. This list is made from test/compare/differences.yaml: a difference that is not in
it fails the comparison, and so does an entry that no longer differs.
`)
	topic := ""
	for _, k := range known {
		if k.Topic != topic {
			topic = k.Topic
			fmt.Fprintf(&b, "\n## %s\n\n", topic)
		}
		fmt.Fprintf(&b, "- **%s** %s\n", k.Title, strings.TrimSpace(k.Why))
	}
	return b.String()
}
