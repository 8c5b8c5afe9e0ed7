package compare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Records are the lines of each case, by its name.
type Records map[string]Lines

// Base is the case that the others are written down as a change of.
const Base = "base"

// whole marks a record that is no change of base.
const whole = "==="

// Write puts records into a directory, a file for each file of cases: what a case has that base has not, and what it lacks. The
// record of a view is whole.
func (r Records) Write(dir string, cases []Case) error {
	files := map[string]*bytes.Buffer{}
	for _, c := range cases {
		if r[c.Name] == nil {
			continue
		}
		b := files[c.File]
		if b == nil {
			b = &bytes.Buffer{}
			files[c.File] = b
		}
		from, sign := r[Base], "=="
		if c.View != "" {
			sign = whole
		}
		if c.Name == Base || c.View != "" {
			from = nil
		}
		fmt.Fprintf(b, "%s %s\n", sign, c.Name)
		for _, line := range from.Minus(r[c.Name]) {
			fmt.Fprintf(b, "- %s\n", line)
		}
		for _, line := range r[c.Name].Minus(from) {
			fmt.Fprintf(b, "+ %s\n", line)
		}
	}
	errs := os.MkdirAll(dir, 0o755)
	for name, b := range files {
		errs = errors.Join(errs, os.WriteFile(filepath.Join(dir, name+".txt"), b.Bytes(), 0o644))
	}
	return errs
}

// ReadRecords reads what write wrote.
func ReadRecords(dir string) (Records, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	added, removed, changed := Records{}, Records{}, map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name, s := "", bufio.NewScanner(bytes.NewReader(b))
		s.Buffer(nil, 1<<22)
		for s.Scan() {
			sign, rest, _ := strings.Cut(s.Text(), " ")
			switch sign {
			case "==", whole:
				name = rest
				added[name] = Lines{}
				changed[name] = sign != whole && name != Base
			case "+":
				added[name] = append(added[name], rest)
			case "-":
				removed[name] = append(removed[name], rest)
			default:
				return nil, fmt.Errorf("cannot read %s: %q: want ==, ===, + or -: record it anew", file, s.Text())
			}
		}
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", file, err)
		}
	}
	for name := range added {
		if changed[name] {
			slices.Sort(removed[name])
			added[name] = append(added[name], added[Base].Minus(removed[name])...)
		}
	}
	for name := range added {
		slices.Sort(added[name])
	}
	return added, nil
}
