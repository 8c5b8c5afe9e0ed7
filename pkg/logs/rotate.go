package logs

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minikubelet/minikubelet/pkg/hosttree"
)

const (
	rotatedStamp = "20060102-150405" // of a rotated file's name: 0.log.20060102-150405
	gzSuffix     = ".gz"
	tmpSuffix    = ".tmp" // of a file that is being compressed
)

// RotateConfig says when logs are rotated. Zero numbers stand for the defaults.
type RotateConfig struct {
	Root     string        // /var/log/pods
	MaxSize  int64         // bytes, default 10 MiB; below zero nothing is rotated
	MaxFiles int           // of one container, the one being written included; default 5, at least 2
	Period   time.Duration // default 10 s
	Workers  int           // logs rotated at once (containerLogMaxWorkers), default 1
	// Running returns the ID of a pod's running container at an attempt, or "" when it does not run.
	Running func(ctx context.Context, podUID, container string, attempt uint32) (id string, err error)
	// Reopen makes the runtime write to a new file.
	Reopen func(ctx context.Context, id string) error
	Log    *slog.Logger
}

// Rotator bounds the logs of running containers. A pass over logs that are small costs no call of the runtime.
type Rotator struct {
	mu  sync.Mutex // of the limits in cfg
	cfg RotateConfig
}

// NewRotator returns a rotator with the defaults filled in.
func NewRotator(cfg RotateConfig) *Rotator {
	cfg.MaxSize = cmp.Or(cfg.MaxSize, 10<<20)
	cfg.MaxFiles = max(cmp.Or(cfg.MaxFiles, 5), 2)
	cfg.Period = cmp.Or(cfg.Period, 10*time.Second)
	return &Rotator{cfg: cfg}
}

// Set changes the limits while it runs; zero stands for the default.
func (r *Rotator) Set(maxSize int64, maxFiles int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.MaxSize, r.cfg.MaxFiles = cmp.Or(maxSize, 10<<20), max(cmp.Or(maxFiles, 5), 2)
}

func (r *Rotator) limits() (maxSize int64, maxFiles int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.MaxSize, r.cfg.MaxFiles
}

// Run rotates until the context ends.
func (r *Rotator) Run(ctx context.Context) {
	t := time.NewTicker(r.cfg.Period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			if err := r.pass(ctx, now); err != nil && ctx.Err() == nil {
				r.cfg.Log.Warn("cannot rotate container logs", "error", err)
			}
		}
	}
}

// pass rotates every log that is too large once and joins what failed.
func (r *Rotator) pass(ctx context.Context, now time.Time) error {
	maxSize, maxFiles := r.limits()
	if maxSize < 0 {
		return nil
	}
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, max(r.cfg.Workers, 1))
		mu    sync.Mutex
		errs  hosttree.Errors
	)
	eachLog(ctx, r.cfg.Root, func(path string) {
		i, err := os.Lstat(path)
		if err != nil || !i.Mode().IsRegular() || i.Size() <= maxSize {
			return
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := r.rotate(ctx, path, maxFiles, now); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs.Add(fmt.Errorf("cannot rotate %s: %w", path, err))
			}
		})
	})
	wg.Wait()
	return errs.Err()
}

// eachLog calls f for root/pod/container/*.log. A directory that cannot be read has none.
func eachLog(ctx context.Context, root string, f func(path string)) {
	each := func(dir string, f func(path string)) {
		_ = eachName(dir, func(name string) {
			if ctx.Err() == nil {
				f(filepath.Join(dir, name))
			}
		})
	}
	each(root, func(pod string) {
		each(pod, func(container string) {
			each(container, func(path string) {
				if strings.HasSuffix(path, ".log") {
					f(path)
				}
			})
		})
	})
}

func (r *Rotator) rotate(ctx context.Context, path string, maxFiles int, now time.Time) error {
	uid, container, attempt, ok := owner(path)
	if !ok {
		return nil // not a container's log
	}
	id, err := r.cfg.Running(ctx, uid, container, attempt)
	if err != nil || id == "" {
		return err
	}
	rotated := path + "." + now.UTC().Format(rotatedStamp)
	if _, err := os.Lstat(rotated); err == nil {
		return nil // twice within a second: the next pass
	}
	// Old files are dealt with first and their failures do not keep the log from being bounded.
	old, errs := tidy(path, maxFiles)
	for _, p := range old { // the one that is rotated now stays as it is: a follower may still come to it
		if !strings.HasSuffix(p, gzSuffix) {
			errs = errors.Join(errs, compress(p))
		}
	}
	if err := os.Rename(path, rotated); err != nil {
		return errors.Join(errs, err)
	}
	if err := r.cfg.Reopen(ctx, id); err != nil {
		// The runtime writes on into the renamed file: it gets its name back for the next attempt.
		return errors.Join(errs, err, os.Rename(rotated, path))
	}
	return errs
}

// tidy removes half-compressed files and the oldest rotated ones, so that with one more and the log itself there are
// MaxFiles. It returns the rotated files that stay, newest first.
func tidy(path string, maxFiles int) ([]string, error) {
	var errs hosttree.Errors
	var keep []string
	errs.Add(eachName(filepath.Dir(path), func(name string) {
		p := filepath.Join(filepath.Dir(path), name)
		rotated, ok := strings.CutPrefix(p, path+".")
		switch {
		case !ok:
		case strings.HasSuffix(p, tmpSuffix):
			errs.Add(os.Remove(p))
		case isStamp(strings.TrimSuffix(rotated, gzSuffix)):
			keep = append(keep, p)
			slices.Sort(keep) // by time
			slices.Reverse(keep)
			if len(keep) > maxFiles-2 {
				errs.Add(os.Remove(keep[maxFiles-2]))
				keep = keep[:maxFiles-2]
			}
		}
	}))
	return keep, errs.Err()
}

func isStamp(s string) bool {
	_, err := time.Parse(rotatedStamp, s)
	return err == nil
}

// owner reads a log's path: root/namespace_name_uid/container/attempt.log.
func owner(path string) (uid, container string, attempt uint32, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 32)
	dir := filepath.Dir(path)
	parts := strings.Split(filepath.Base(filepath.Dir(dir)), "_")
	if err != nil || len(parts) != 3 {
		return "", "", 0, false
	}
	return parts[2], filepath.Base(dir), uint32(n), true
}

// compress replaces a file by its compressed form, which appears only when it is whole.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + tmpSuffix
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	w := gzip.NewWriter(out)
	_, err = io.Copy(w, in)
	if err := errors.Join(err, w.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path+gzSuffix); err != nil {
		return err
	}
	return os.Remove(path)
}

// missing reports whether a log is not there, which the reading library tells only in words.
func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
