package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long the directory must be quiet before it is read: a file that is being copied changes all the time.
const settle = 300 * time.Millisecond

// retryAfter is when an import is tried again that failed because containerd did not answer.
const retryAfter = 5 * time.Second

// Preloader imports the archives of a directory, so that a node works without a registry. Its methods but Names are used by
// one goroutine.
type Preloader struct {
	dir      string
	importer *Importer
	log      *slog.Logger
	visible  func(ctx context.Context, names []string) error // nil: do not wait
	seen     map[string]stamp                                // by path: what was dealt with, imported or refused

	mu    sync.Mutex
	names map[string][]string // by path: what was imported
}

type stamp struct {
	size  int64
	mtime time.Time
}

// archives are the names of archives.
var archives = []string{"*.tar", "*.tar.gz", "*.tgz", "*.tar.zst"}

// NewPreloader returns a preloader of the archives of a directory. Visible returns when the
// runtime's CRI service shows images that were imported, which takes it a moment; nil: a pass does not wait for that.
func NewPreloader(dir string, importer *Importer, visible func(ctx context.Context, names []string) error, log *slog.Logger) *Preloader {
	return &Preloader{dir: dir, importer: importer, visible: visible, log: log, seen: map[string]stamp{}, names: map[string][]string{}}
}

// Names are the images of the archives that still lie in the directory: they cannot be had from anywhere else.
func (p *Preloader) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for path, names := range p.names {
		if _, err := os.Stat(path); err == nil {
			out = append(out, names...)
		}
	}
	return out
}

func (p *Preloader) note(path string, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[path] = names
}

// Pass imports what is new or changed since the last pass and returns an error for each archive that it could not
// import. An archive that is refused is not tried again before it changes; one that failed because containerd did not
// answer is.
func (p *Preloader) Pass(ctx context.Context) error {
	var paths []string
	for _, pattern := range archives {
		found, err := filepath.Glob(filepath.Join(p.dir, pattern))
		if err != nil {
			return fmt.Errorf("cannot list image archives: %w", err)
		}
		paths = append(paths, found...)
	}
	var errs []error
	for _, path := range paths {
		i, err := os.Stat(path)
		if err != nil || !i.Mode().IsRegular() {
			continue // gone, or not for us
		}
		now := stamp{i.Size(), i.ModTime()}
		if p.seen[path] == now {
			continue
		}
		names, err := p.load(ctx, path)
		if err != nil {
			err = fmt.Errorf("cannot import image archive %s: %w", path, err)
			if !retriable(err) {
				err = fmt.Errorf("%w; write it with `ctr images export` or `docker save` and rename it to *.tar when it is whole", err)
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
		}
		if len(names) > 0 {
			p.log.Info("imported images", "archive", path, "images", names)
			p.note(path, names)
		}
		if !retriable(err) {
			p.seen[path] = now
		}
	}
	return errors.Join(errs...)
}

func (p *Preloader) load(ctx context.Context, path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := p.importer.Import(ctx, f)
	if len(names) == 0 || p.visible == nil {
		return names, err
	}
	return names, errors.Join(err, p.visible(ctx, names))
}

// Run makes the directory if need be and imports archives as they appear, until the context ends. Failures are logged.
func (p *Preloader) Run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch for image archives: %w", err)
	}
	defer w.Close()
	if err := p.watch(w); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			timer.Reset(settle)
		case err := <-w.Errors: // an overflow: something happened
			p.log.Warn("watching for image archives", "error", err)
			timer.Reset(settle)
		case <-timer.C:
			// What happened may be that the directory was removed or exchanged: then it is no longer watched.
			if err := errors.Join(p.watch(w), p.Pass(ctx)); err != nil && ctx.Err() == nil {
				p.log.Error("image archives", "error", err)
				if retriable(err) {
					timer.Reset(retryAfter)
				}
			}
		}
	}
}

func (p *Preloader) watch(w *fsnotify.Watcher) error {
	if err := os.MkdirAll(p.dir, 0o750); err != nil {
		return fmt.Errorf("cannot watch for image archives: %w", err)
	}
	if err := w.Add(p.dir); err != nil {
		return fmt.Errorf("cannot watch %s for image archives: %w", p.dir, err)
	}
	return nil
}
