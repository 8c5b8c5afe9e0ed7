package systemd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
)

// toJournal reports whether a file leads to systemd's journal, as the variable JOURNAL_STREAM tells (systemd.exec(5)).
func toJournal(f *os.File, stream string) bool {
	var dev, inode uint64
	if n, err := fmt.Sscanf(stream, "%d:%d", &dev, &inode); err != nil || n != 2 {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Dev == dev && s.Ino == inode
}

// NewLogger writes to standard error: text or json, with priorities where that leads to the journal.
func NewLogger(level slog.Leveler, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	if format == "json" {
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	}
	if toJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		o.ReplaceAttr = withoutTime
		return slog.New(newJournal(os.Stderr, handler))
	}
	return slog.New(handler(os.Stderr))
}

// journal is a handler that begins each line with its priority, as sd-daemon(3) defines it: journalctl -p then finds
// errors and shows them in red. The journal has the time already.
type journal struct {
	handlers []slog.Handler // one for each priority
}

// priorities are the levels from which on a line has a priority of syslog(3), most urgent first.
func priorities() []struct {
	from   slog.Level
	prefix string
} {
	return []struct {
		from   slog.Level
		prefix string
	}{{slog.LevelError, "<3>"}, {slog.LevelWarn, "<4>"}, {slog.LevelInfo, "<6>"}, {slog.Level(-1 << 30), "<7>"}}
}

// newJournal makes a handler that writes to w; format makes handlers of one format.
func newJournal(w io.Writer, format func(io.Writer) slog.Handler) slog.Handler {
	j, mu := &journal{}, &sync.Mutex{}
	for _, p := range priorities() {
		j.handlers = append(j.handlers, format(&prefixed{prefix: []byte(p.prefix), mu: mu, w: w}))
	}
	return j
}

func (j *journal) of(level slog.Level) slog.Handler {
	for i, p := range priorities() {
		if level >= p.from {
			return j.handlers[i]
		}
	}
	return j.handlers[len(j.handlers)-1]
}

func (j *journal) Enabled(ctx context.Context, level slog.Level) bool {
	return j.handlers[0].Enabled(ctx, level)
}

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	return j.of(r.Level).Handle(ctx, r)
}

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (j *journal) WithGroup(name string) slog.Handler {
	return j.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (j *journal) each(change func(slog.Handler) slog.Handler) *journal {
	other := &journal{}
	for _, h := range j.handlers {
		other.handlers = append(other.handlers, change(h))
	}
	return other
}

// prefixed writes each line, which is one Write of a handler, behind a prefix.
type prefixed struct {
	prefix []byte
	mu     *sync.Mutex // of w
	w      io.Writer
}

func (p *prefixed) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.w.Write(slices.Concat(p.prefix, line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// withoutTime leaves out the time of a line, which the journal has.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Complain tells the last error of the program.
func Complain(err error) {
	prefix := ""
	if toJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		prefix = "<3>"
	}
	fmt.Fprintln(os.Stderr, prefix+"minikubelet:", err)
}
