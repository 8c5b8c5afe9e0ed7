package downward

import "strings"

// Expand replaces each $(NAME) by the value that lookup has for it. A name that lookup does not have stays as it stands,
// and $$ is an escaped $.
func Expand(s string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		switch rest := s[i+1:]; rest[0] {
		case '$':
			b.WriteByte('$')
			s = rest[1:]
		case '(':
			end := strings.IndexByte(rest, ')')
			if end < 0 {
				b.WriteString("$(")
				s = rest[1:]
				continue
			}
			if v, ok := lookup(rest[1:end]); ok {
				b.WriteString(v)
			} else {
				b.WriteString(s[i : i+end+2])
			}
			s = rest[end+1:]
		default:
			b.WriteString(s[i : i+2])
			s = rest[1:]
		}
	}
}
