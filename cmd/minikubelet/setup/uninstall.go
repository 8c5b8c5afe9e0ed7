package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// uninstall stops the service and removes what install wrote and nobody has changed since. purge, when given, removes
// what the agent itself has left; it runs while the configuration is still there and the agent no longer runs.
func (m *installation) uninstall(ctx context.Context, purge func(context.Context) error) error {
	r, err := readRecord(m.at(recordPath))
	if err != nil {
		return err
	}
	if err := m.stop(ctx); err != nil {
		return err
	}
	if purge != nil {
		if err := purge(ctx); err != nil {
			return fmt.Errorf("%w: nothing was uninstalled yet, so this can be done again", err)
		}
	}
	if len(r.Files) == 0 && len(r.Dirs) == 0 {
		m.say("nothing is installed that minikubelet install wrote")
	}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(r.Files)) {
		errs = append(errs, m.remove(path, r))
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, r.save(m.at(recordPath)))
	}
	if err := removeFile(m.at(recordPath)); err != nil {
		return err
	}
	for _, d := range slices.Backward(r.Dirs) {
		if err := os.Remove(m.at(d)); err == nil {
			m.say("removed %s", d)
		} else if !errors.Is(err, fs.ErrNotExist) {
			m.say("%s is not empty and stays", d)
		}
	}
	if m.Systemctl == nil {
		return nil
	}
	return m.Systemctl(ctx, "daemon-reload")
}

// stop ends the service, whoever wrote its unit.
func (m *installation) stop(ctx context.Context) error {
	if m.Systemctl == nil {
		return nil
	}
	if _, err := os.Stat(m.at(unitPath)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := m.Systemctl(ctx, "disable", "--now", "--quiet", unit); err != nil {
		return err
	}
	m.say("stopped the agent; it no longer begins with the machine")
	return nil
}

// remove removes a file that is as it was written.
func (m *installation) remove(path string, r *record) error {
	is, err := sumOf(func() (io.ReadCloser, error) { return open(m.at(path)) })
	if err != nil {
		return err
	}
	if is != "" && is != r.Files[path] {
		m.say("%s was changed and stays: it is yours", path)
		return nil
	}
	if err := removeFile(m.at(path)); err != nil {
		return err
	}
	if is != "" {
		m.say("removed %s", path)
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove a file: %w", err)
	}
	return nil
}
