// Package syslogs shows the files of the node's log directory over HTTP, and what its services have written to the journal:
// package server's /logs/.
package syslogs

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Handler shows the files of a directory by the request's path value "path", and nothing that is not beneath it: links that
// lead out are refused. With queries, ?query= asks for a file or for what services wrote.
func Handler(dir string, queries bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := cmp.Or(strings.Trim(r.PathValue("path"), "/"), ".")
		if queries && name == "." && r.URL.Query().Has("query") {
			serveQuery(w, r, dir)
			return
		}
		if err := file(w, r, dir, name); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	}
}

func open(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("there are no logs: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a named pipe must not hold up who opens it
	if err != nil {
		return nil, fmt.Errorf("cannot show the log %s: %w", name, errors.Unwrap(err))
	}
	return f, nil
}

func file(w http.ResponseWriter, r *http.Request, dir, name string) error {
	f, err := open(dir, name)
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	switch {
	case err != nil:
		return err
	case i.IsDir():
		return listing(w, f, r.URL.Path)
	case !i.Mode().IsRegular():
		return fmt.Errorf("cannot show the log %s: it is not a file", name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8") // whatever is in it: no program writes logs for a browser
	http.ServeContent(w, r, "", i.ModTime(), f)
	return nil
}

// listing links to the files of a directory, as many as are worth showing.
func listing(w http.ResponseWriter, dir *os.File, at string) error {
	const most = 10000
	names, err := dir.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	slices.Sort(names)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintln(w, "<pre>")
	base := ""
	if !strings.HasSuffix(at, "/") { // a browser takes links to be relative to the last slash
		base = path.Base(at) + "/"
	}
	for _, name := range names {
		link := url.URL{Path: base + name}
		fmt.Fprintf(w, "<a href=%q>%s</a>\n", link.String(), html.EscapeString(name))
	}
	fmt.Fprintln(w, "</pre>")
	return nil
}
