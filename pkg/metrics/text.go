package metrics

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// text writes series in Prometheus' text format as they come. There may be tens of thousands in an answer: none is kept.
type text struct {
	w      *bufio.Writer
	line   []byte
	family *family
	told   bool // the family's head

	devices map[[2]uint32]string // rendered, by major and minor number
}

// labels are the rendered labels of a series, in three parts between which others may stand, by the order of their names:
// container, then id and image, then name, namespace and pod.
type labels struct{ head, mid, tail string }

// openText begins an answer, compressed where the client takes that. The answer ends with the function returned.
func openText(w http.ResponseWriter, r *http.Request) (*text, func() error) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
	var to io.Writer = w
	end := func() error { return nil }
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is a good one
		to, end = z, z.Close
	}
	t := &text{w: bufio.NewWriterSize(to, 32<<10)}
	return t, func() error {
		if err := t.w.Flush(); err != nil {
			return err
		}
		return end()
	}
}

// begin is followed by the series of a family. Its head is written with the first.
func (t *text) begin(f *family) { t.family, t.told = f, false }

// add writes a series. The extra labels, rendered, stand behind each part of the others. A zero time is now.
func (t *text) add(l, extra labels, value float64, at time.Time) {
	b := t.line[:0]
	if f := t.family; !t.told {
		t.told = true
		kind := " gauge\n"
		if f.counter {
			kind = " counter\n"
		}
		b = append(append(append(append(append(b, "# HELP "...), f.name...), ' '), f.help...), '\n')
		b = append(append(append(b, "# TYPE "...), f.name...), kind...)
	}
	b = append(b, t.family.name...)
	if l != (labels{}) || extra != (labels{}) {
		b = append(append(append(b, '{'), l.head...), extra.head...)
		b = append(append(append(b, l.mid...), extra.mid...), l.tail...)
		b = append(append(b, extra.tail...), '}')
	}
	b = strconv.AppendFloat(append(b, ' '), value, 'g', -1, 64)
	if !at.IsZero() {
		b = strconv.AppendInt(append(b, ' '), at.UnixMilli(), 10)
	}
	t.line = append(b, '\n')
	_, _ = t.w.Write(t.line) // Flush tells of an error
}

var escapes = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

// label renders a label that follows others.
func label(name, value string) string { return "," + name + `="` + escapes.Replace(value) + `"` }
