package downward

import (
	"fmt"
	"strings"
)

// EnvFile finds a variable in a file that an init container left for others (KEP-3721). Its lines are blank, comments that
// begin with #, or NAME='value'; a value may go over several lines, knows no escapes, and may have a comment behind it. What
// stands apart from the = is no value: the variable is empty. The first of two that have the name counts, and what comes
// behind it is not read.
func EnvFile(text, name string) (value string, found bool, err error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		at := i + 1
		wrong := func(what string) (string, bool, error) {
			return "", false, fmt.Errorf("line %d of the file: %s: write NAME='value'", at, what)
		}
		line := strings.TrimLeft(lines[i], " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, rest, ok := strings.Cut(line, "=")
		switch {
		case !ok:
			return wrong("it has no =")
		case strings.TrimRight(key, " \t") == "":
			return wrong("it has no name")
		case strings.TrimRight(key, " \t") != key:
			return wrong("there is space before the =")
		case strings.TrimLeft(rest, " \t") != rest:
			if key == name {
				return "", true, nil
			}
			continue
		}
		rest, quoted := strings.CutPrefix(rest, "'")
		if !quoted {
			return wrong("the value is not in single quotes")
		}
		v, after, closed := strings.Cut(rest, "'")
		for !closed {
			if i++; i == len(lines) {
				return wrong("the quote is not closed")
			}
			var more string
			more, after, closed = strings.Cut(lines[i], "'")
			v += "\n" + more
		}
		if after = strings.TrimLeft(after, " \t"); after != "" && !strings.HasPrefix(after, "#") {
			return wrong("there is more behind the closing quote")
		}
		if key == name {
			return v, true, nil
		}
	}
	return "", false, nil
}
