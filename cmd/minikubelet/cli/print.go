package cli

import (
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// colour is an escape sequence of a terminal; "" changes nothing.
type colour string

const (
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	red    colour = "\x1b[31m"
	bold   colour = "\x1b[1m"
	normal        = "\x1b[0m"
)

// cell is one field of a table.
type cell struct {
	text   string
	colour colour
}

func cells(texts ...string) []cell {
	out := make([]cell, len(texts))
	for i, t := range texts {
		out[i].text = strings.ReplaceAll(t, "\t", " ")
	}
	return out
}

// screen is where tables go.
type screen struct {
	w      io.Writer
	colour bool
	width  int // columns of a terminal; 0: lines may be as long as they are
	height int // lines of a terminal; 0: it is none
}

// newScreen finds out about the terminal that w may be. Colours are for people who look: not for files and pipes, and not
// where NO_COLOR (no-color.org) or a dumb terminal asks for none.
func newScreen(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{w: w}
	}
	s := screen{w: w, colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	if width, height, err := term.GetSize(int(f.Fd())); err == nil {
		s.width, s.height = width, height
	}
	return s
}

const gap = 3 // columns between fields

// table writes rows in columns under a header, each as wide as its widest field. clip cuts lines to the terminal.
func (s screen) table(header []string, rows [][]cell, clip bool) error {
	head := cells(header...)
	for i := range head {
		head[i].colour = bold
	}
	all := rows
	if header != nil {
		all = append([][]cell{head}, rows...)
	}
	widths := []int{}
	for _, row := range all {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range all {
		s.line(&b, row, widths, clip && s.width > 0)
	}
	_, err := io.WriteString(s.w, b.String())
	return err
}

// line writes one row. A field without a width is as wide as it is.
func (s screen) line(b *strings.Builder, row []cell, widths []int, clip bool) {
	used := 0
	for i, c := range row {
		text := c.text
		if clip {
			text = cut(text, s.width-used)
		}
		n := utf8.RuneCountInString(text)
		used += n
		if s.colour && c.colour != "" && text != "" {
			text = string(c.colour) + text + normal
		}
		b.WriteString(text)
		if i == len(row)-1 {
			break
		}
		pad := gap
		if i < len(widths) {
			pad += max(widths[i]-n, 0)
		}
		if clip {
			pad = min(pad, s.width-used)
		}
		b.WriteString(strings.Repeat(" ", pad))
		used += pad
	}
	b.WriteByte('\n')
}

// row writes a row that is not part of a table.
func (s screen) row(row []cell) error {
	var b strings.Builder
	s.line(&b, row, nil, false)
	_, err := io.WriteString(s.w, b.String())
	return err
}

func cut(s string, runes int) string {
	r := []rune(s)
	return string(r[:min(max(runes, 0), len(r))])
}

// stateColour is green for what is as it should be, yellow for what is on its way, and red for what went wrong.
func stateColour(state string, ready bool) colour {
	switch {
	case state == "Running" && ready, state == "Completed":
		return green
	case state == "Running", slices.Contains([]string{"Pending", "ContainerCreating", "PodInitializing", "Terminating", "Pulling"}, state):
		return yellow
	case strings.HasPrefix(state, "Init:") && strings.Contains(state, "/"):
		return yellow
	}
	return red
}
