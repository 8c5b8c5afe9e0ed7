package compare

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Exact are the lines that differ on purpose, of each case, by its name: "- " and what only the kubelet has, "+ " and what
// only the agent has. An entry of differences.yaml that explains many lines is exact: one more line is a difference.
type Exact map[string][]string

// ReadExact reads what Write wrote.
func ReadExact(file string) (Exact, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	e := Exact{}
	for line := range strings.Lines(string(b)) {
		name, difference, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || !strings.HasPrefix(difference, "- ") && !strings.HasPrefix(difference, "+ ") {
			return nil, fmt.Errorf("cannot read %s: %q: want a case, - or +, and a line: record it anew", file, line)
		}
		e[name] = append(e[name], difference)
	}
	return e, nil
}

// Write puts the lines into a file.
func (e Exact) Write(file string) error {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(e)) {
		for _, line := range slices.Sorted(slices.Values(e[name])) {
			fmt.Fprintf(&b, "%s %s\n", name, line)
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// Differ are the lines of a case that are new, and those that are no longer there. What depends on chance may be absent.
func (e Exact) Differ(name string, now []string, known []*Known) (out []string) {
	for _, line := range now {
		if !slices.Contains(e[name], line) {
			out = append(out, line)
		}
	}
	for _, line := range e[name] {
		if !slices.Contains(now, line) && !byChance(name, line, known) {
			out = append(out, "no longer "+line)
		}
	}
	return out
}

// Record takes what a case has now for what it differs by. What depends on chance stays.
func (e Exact) Record(name string, now []string, known []*Known) {
	seldom := slices.DeleteFunc(slices.Clone(e[name]), func(line string) bool { return !byChance(name, line, known) })
	now = append(slices.Clone(now), seldom...)
	slices.Sort(now)
	e[name] = slices.Compact(now)
}

// byChance reports whether a line is that of an entry which depends on chance.
func byChance(name, line string, known []*Known) bool {
	return slices.ContainsFunc(known, func(k *Known) bool { return k.Exact && k.Seldom && k.explains(name, line[len("+ "):]) })
}
