package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/pod"
)

type logsOptions struct {
	namespace, container, sinceTime string
	follow, previous, timestamps    bool
	all, prefix                     bool
	tail, limit                     int64
	since                           time.Duration
}

func newLogsCommand() *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:               "logs POD",
		Short:             "print the log of a container",
		Example:           "  minikubelet logs web -f\n  minikubelet logs web -c web --previous --tail 20\n  minikubelet logs web --all-containers --since 10m",
		Args:              arguments(1, 1, "the pod's name"),
		ValidArgsFunction: completePod,
	}
	socket := socketFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "the pod's namespace; found by name by default")
	f.StringVarP(&o.container, "container", "c", "", "the container; the first one by default")
	f.BoolVar(&o.all, "all-containers", false, "the logs of all containers, those of init containers first")
	f.BoolVar(&o.prefix, "prefix", false, "begin each line with its container's name")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as the log grows")
	f.BoolVarP(&o.previous, "previous", "p", false, "the log of the container's last run before this one")
	f.BoolVar(&o.timestamps, "timestamps", false, "begin each line with its time")
	f.Int64Var(&o.tail, "tail", -1, "the last lines alone; -1 for all")
	f.Int64Var(&o.limit, "limit-bytes", 0, "at most so many bytes; 0 for all")
	f.DurationVar(&o.since, "since", 0, "no older than this, as in 10m; 0 for all")
	f.StringVar(&o.sinceTime, "since-time", "", "no older than this time, as in 2026-01-02T15:04:05Z")
	completeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		c := newClient(*socket)
		p, err := findPod(cmd.Context(), c, o.namespace, args[0])
		if err != nil {
			return err
		}
		return o.run(cmd.Context(), c, p, cmd.OutOrStdout())
	}
	return cmd
}

func (o *logsOptions) check() error {
	if o.sinceTime != "" {
		if _, err := time.Parse(time.RFC3339, o.sinceTime); err != nil {
			return Usage("--since-time %s: give an RFC 3339 time, as in 2026-01-02T15:04:05Z", o.sinceTime)
		}
	}
	if o.all && o.container != "" || o.since != 0 && o.sinceTime != "" {
		return Usage("give -c or --all-containers, and --since or --since-time, not both")
	}
	if o.since < 0 || o.limit < 0 || o.tail < -1 {
		return Usage("--since, --limit-bytes and --tail: give no negative values")
	}
	return nil
}

// run prints one log after the other, or follows all of them at once.
func (o *logsOptions) run(ctx context.Context, c *client, p *v1.Pod, out io.Writer) error {
	names := []string{o.container}
	if o.all {
		names = nil
		for _, container := range pod.Spec(p) {
			names = append(names, container.Name)
		}
	}
	if len(names) == 1 && !o.prefix {
		return o.copy(ctx, c, p, names[0], out)
	}
	var mu sync.Mutex
	errs := make([]error, len(names))
	var reading sync.WaitGroup
	for i, name := range names {
		prefix := ""
		if o.prefix || o.follow {
			prefix = "[" + cmp.Or(name, p.Spec.Containers[0].Name) + "] "
		}
		one := func() {
			lines := &lineWriter{prefix: prefix, mu: &mu, out: out}
			errs[i] = errors.Join(o.copy(ctx, c, p, name, lines), lines.flush())
		}
		if o.follow {
			reading.Go(one)
		} else {
			one()
		}
	}
	reading.Wait()
	return errors.Join(errs...)
}

func (o *logsOptions) query(container string) url.Values {
	q := url.Values{}
	set := func(name, value string, on bool) {
		if on {
			q.Set(name, value)
		}
	}
	set("container", container, container != "")
	set("follow", "true", o.follow)
	set("previous", "true", o.previous)
	set("timestamps", "true", o.timestamps)
	set("tailLines", strconv.FormatInt(o.tail, 10), o.tail >= 0)
	set("limitBytes", strconv.FormatInt(o.limit, 10), o.limit > 0)
	set("sinceSeconds", strconv.FormatInt(max(int64(o.since.Seconds()), 1), 10), o.since > 0)
	set("sinceTime", o.sinceTime, o.sinceTime != "")
	return q
}

func (o *logsOptions) copy(ctx context.Context, c *client, p *v1.Pod, container string, out io.Writer) error {
	body, err := c.open(ctx, http.MethodGet, podPath(p.Namespace, p.Name, "log"), o.query(container), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, body)
	if ctx.Err() != nil {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("the log broke off: %w", err)
	}
	return errors.Join(err, body.Close())
}

// lineWriter writes whole lines, each with a prefix, so that those of several containers do not mix.
type lineWriter struct {
	prefix string
	mu     *sync.Mutex // of out
	out    io.Writer
	rest   []byte // the beginning of a line
}

func (l *lineWriter) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		n, line, err := bufio.ScanLines(l.rest, false)
		if err != nil || n == 0 {
			return len(b), err
		}
		if err := l.line(line); err != nil {
			return len(b), err
		}
		l.rest = l.rest[n:]
	}
}

func (l *lineWriter) line(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.out, "%s%s\n", l.prefix, b)
	return err
}

// flush writes a last line that has no end.
func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	return l.line(l.rest)
}
