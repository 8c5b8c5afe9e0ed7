package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrationTimeout is for each call of the plugin registration protocol.
const registrationTimeout = 5 * time.Second

// settleLimit is how long, after the start, pods wait for drivers to register before their mounts fail.
const settleLimit = 10 * time.Second

// identity tells a socket from another that took its name.
type identity struct {
	inode   uint64
	changed syscall.Timespec
}

// plugin is a registration socket that is being looked after.
type plugin struct {
	identity
	stop context.CancelFunc
}

// Run looks after the sockets in plugins_registry until the context ends. Each has a goroutine of its own, so that a
// plugin that hangs holds no other back.
func (n *Node) Run(ctx context.Context) error {
	defer n.settle()
	dir := filepath.Join(n.cfg.Root, "plugins_registry")
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cannot watch for CSI plugins: %w (is fs.inotify.max_user_instances too low?)", err)
	}
	defer watcher.Close()
	s := &scanner{n: n, watcher: watcher, dir: dir, plugins: map[string]plugin{}}
	var first sync.WaitGroup
	defer s.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	s.scan(ctx, func() func() {
		first.Add(1)
		return sync.OnceFunc(first.Done)
	})
	s.running.Go(func() {
		first.Wait()
		n.settle()
	})
	limit := time.AfterFunc(settleLimit, n.settle)
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			n.cfg.Log.Warn("cannot watch for CSI plugins; looking again", "err", err)
		case <-watcher.Events:
		}
		s.scan(ctx, func() func() { return func() {} })
	}
}

// scanner looks for the sockets of plugins.
type scanner struct {
	n       *Node
	watcher *fsnotify.Watcher
	dir     string
	plugins map[string]plugin // by the path of their socket
	running sync.WaitGroup    // what attends to them
}

// scan starts to look after sockets that are new, or new under their name, and stops for those that are gone. Begin is
// called for each new one and gives what is called after its first attempt.
func (s *scanner) scan(ctx context.Context, begin func() func()) {
	found := map[string]identity{}
	// What happened may be that it was removed or exchanged: then it is no longer watched.
	err := os.MkdirAll(s.dir, 0o750)
	if err == nil {
		err = s.walk(found)
	}
	if err != nil {
		s.n.cfg.Log.Error("cannot look for CSI plugins", "dir", s.dir, "err", err)
		return
	}
	for path, p := range s.plugins {
		if found[path] != p.identity {
			p.stop()
			delete(s.plugins, path)
		}
	}
	for path, id := range found {
		if _, ok := s.plugins[path]; ok {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		s.plugins[path] = plugin{id, stop}
		tried := begin()
		s.running.Go(func() { s.n.attend(ctx, path, tried) })
	}
}

// walk finds the sockets and watches the directories that they are in.
func (s *scanner) walk(found map[string]identity) error {
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case path != s.dir && strings.HasPrefix(d.Name(), "."):
			return skip(d)
		case d.IsDir():
			return s.watcher.Add(path)
		case d.Type()&fs.ModeSocket == 0:
			return nil
		}
		if info, err := os.Lstat(path); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				found[path] = identity{st.Ino, st.Ctim}
			}
		}
		return nil
	})
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// attend registers the plugin behind a socket, trying until it works, and forgets it when the context ends: when the
// socket is gone.
func (n *Node) attend(ctx context.Context, socket string, tried func()) {
	defer tried()
	wait := n.cfg.RetryBackoff
	for {
		d, err := n.register(ctx, socket)
		if err == nil && d == nil {
			return
		}
		if err == nil {
			n.add(d)
			tried()
			n.unstageLeftovers(ctx, d)
			<-ctx.Done()
			n.remove(d)
			d.close()
			return
		}
		tried()
		if ctx.Err() != nil {
			return
		}
		n.cfg.Log.Warn("cannot register a CSI plugin; trying again", "socket", socket, "in", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			wait = min(2*wait, time.Minute)
		}
	}
}

// register speaks the plugin registration protocol with one socket. A plugin that is no CSI driver is nil and no error.
func (n *Node) register(ctx context.Context, socket string) (*driver, error) {
	conn, err := dial(socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := registration.NewRegistrationClient(conn)
	info, err := getInfo(ctx, client)
	if err != nil {
		return nil, err
	}
	if info.GetType() != registration.CSIPlugin {
		n.cfg.Log.Info("ignored a plugin that is no CSI driver", "socket", socket, "type", info.GetType(), "name", info.GetName())
		return nil, nil
	}
	endpoint := info.GetEndpoint()
	if endpoint == "" {
		endpoint = socket
	}
	d, failure := n.open(ctx, info.GetName(), endpoint, info.GetSupportedVersions())
	status := &registration.RegistrationStatus{PluginRegistered: failure == nil}
	if failure != nil {
		status.Error = failure.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	if _, err := client.NotifyRegistrationStatus(ctx, status, grpc.WaitForReady(true)); err != nil && failure == nil {
		d.close()
		return nil, fmt.Errorf("cannot tell plugin %s that it is registered: %w", info.GetName(), err)
	}
	return d, failure
}

func getInfo(ctx context.Context, client registration.RegistrationClient) (*registration.PluginInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	info, err := client.GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		return nil, fmt.Errorf("cannot get the plugin's info: %w", err)
	}
	return info, nil
}
