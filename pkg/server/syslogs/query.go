package syslogs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bounds of a query, as a kubelet has them.
const (
	maxServices = 4
	maxTail     = 100_000
	queryTime   = 30 * time.Second
)

// query is what of the node's logs is asked for with ?query= (KEP-2258): a file, or services.
type query struct {
	file     string
	services []string
	options  []string // of journalctl
}

// parse reads a query, and refuses what is not meant for journalctl.
func parse(v url.Values) (query, error) {
	var q query
	var files []string
	for _, name := range v["query"] {
		switch {
		case strings.ContainsAny(name, `/\`):
			files = append(files, name)
		case strings.TrimSpace(name) != "":
			q.services = append(q.services, name)
		}
	}
	errs := []error{q.since(v, "sinceTime", "--since="), q.since(v, "untilTime", "--until="),
		q.number(v, "tailLines", "--lines=", 0, maxTail), q.number(v, "boot", "--boot=", -1<<31, 0)}
	if p := v.Get("pattern"); p != "" {
		_, err := syntax.Parse(p, syntax.Perl)
		errs = append(errs, err)
		q.options = append(q.options, "--grep="+p)
	}
	unsafe := regexp.MustCompile(`[^a-zA-Z\-_.:0-9@]`)
	for _, s := range q.services {
		if len(s) > 256 || unsafe.MatchString(s) {
			errs = append(errs, fmt.Errorf("query: %.256q is no name of a service", s))
		}
	}
	switch {
	case len(files)+len(q.services) == 0:
		errs = append(errs, errors.New("query: may not be empty"))
	case len(files) > 1 || len(files) == 1 && len(q.services)+len(q.options) > 0:
		errs = append(errs, errors.New("query: one file can be asked for, without services and options"))
	case len(files) == 1:
		q.file = strings.TrimLeft(files[0], "/")
	case len(q.services) > maxServices:
		errs = append(errs, fmt.Errorf("query: at most %d services can be asked for", maxServices))
	}
	return q, errors.Join(errs...)
}

func (q *query) since(v url.Values, name, option string) error {
	if v.Get(name) == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, v.Get(name))
	if err != nil {
		return fmt.Errorf("%s: %q is no RFC 3339 time", name, v.Get(name))
	}
	q.options = append(q.options, option+t.UTC().Format("2006-01-02 15:04:05 UTC"))
	return nil
}

func (q *query) number(v url.Values, name, option string, least, most int) error {
	if v.Get(name) == "" {
		return nil
	}
	n, err := strconv.Atoi(v.Get(name))
	if err != nil || n < least || n > most {
		return fmt.Errorf("%s: %q is no number from %d to %d", name, v.Get(name), least, most)
	}
	q.options = append(q.options, option+strconv.Itoa(n))
	return nil
}

// serveQuery answers from the journal; a service that it does not know has a file below the directory, if anything.
func serveQuery(w http.ResponseWriter, r *http.Request, dir string) {
	q, err := parse(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if q.file != "" {
		if err := file(w, r, dir, q.file); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	units, err := exec.CommandContext(ctx, "journalctl", "--field=_SYSTEMD_UNIT").Output()
	inJournal := func(s string) bool { // with no journal, nothing is in it
		return err == nil && slices.Contains(strings.Fields(string(units)), strings.TrimSuffix(s, ".service")+".service")
	}
	args := append([]string{"--utc", "--no-pager", "--output=short-precise"}, q.options...)
	var others []string
	for _, s := range q.services {
		if inJournal(s) {
			args = append(args, "--unit="+s)
		} else {
			others = append(others, s)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(others) < len(q.services) {
		cmd := exec.CommandContext(ctx, "journalctl", args...)
		cmd.Stdout, cmd.Stderr = w, w
		_ = cmd.Run() // it says itself what is wrong
	}
	for _, s := range others {
		if len(q.options) > 0 {
			fmt.Fprintf(w, "%s is not in the journal: ask for its file, without options\n", s)
			continue
		}
		logOf(w, dir, s)
	}
}

// logOf copies the log file that a service has by custom.
func logOf(w io.Writer, dir, service string) {
	for _, name := range []string{service, service + ".log", service + "/" + service + ".log"} {
		f, err := open(dir, name)
		if err != nil {
			continue
		}
		defer f.Close()
		if i, err := f.Stat(); err == nil && i.Mode().IsRegular() {
			_, _ = io.Copy(w, f) // the peer may be gone: there is nobody to tell
			return
		}
	}
	fmt.Fprintf(w, "log not found for %s\n", service)
}
