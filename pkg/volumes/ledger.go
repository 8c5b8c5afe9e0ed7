package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/local"
)

type state string

const (
	begun  state = "begun"
	ready  state = "ready"
	ending state = "ending"
)

// entry is one volume of a pod, as the ledger has it.
type entry struct {
	Kind      string `json:"kind"`
	State     state  `json:"state"`
	Dir       string `json:"dir,omitempty"`       // what the agent made for it, relative to the pod's directory; "" for nothing
	Path      string `json:"path,omitempty"`      // where its content is on the host
	Mounted   bool   `json:"mounted,omitempty"`   // Path is a mount point once it is ready
	ReadOnly  bool   `json:"readOnly,omitempty"`  // for every container
	Memory    bool   `json:"memory,omitempty"`    // its content is in memory
	Block     bool   `json:"block,omitempty"`     // Path is a block device, and no directory
	Adopted   bool   `json:"adopted,omitempty"`   // found as a directory alone: its name is the directory's
	Group     *int64 `json:"group,omitempty"`     // supplemental, of containers that use it
	Driver    string `json:"driver,omitempty"`    // CSI
	Handle    string `json:"handle,omitempty"`    // CSI
	Republish bool   `json:"republish,omitempty"` // CSI: the driver wants to be asked for it again and again
}

// ledger is what is on the node of one pod's volumes.
type ledger struct {
	dir     string // the pod's directory
	mu      sync.Mutex
	entries map[string]entry
	held    holds
	opened  time.Time // and a while, by chance: the agent has just started on many pods
	due     map[string]due
}

// due is when a volume is to be brought up to date.
type due struct {
	at   time.Time // zero: a while after the ledger was opened
	turn uint32
}

const ledgerFile = "volumes.json"

type ledgerData struct {
	Volumes map[string]entry `json:"volumes"`
}

func (l *ledger) book() book.Book[ledgerData] { return book.Book[ledgerData]{Dir: l.dir, Mode: 0o750} }

// ledger finds the ledger of a pod. One of a pod that has no directory is kept only if it is going to be written: a look
// at a pod that is gone must not be remembered.
func (v *Volumes) ledger(uid types.UID, write bool) (*ledger, error) {
	if err := hostfs.CheckComponent(string(uid)); err != nil {
		return nil, fmt.Errorf("cannot use the pod's UID: %w", err)
	}
	v.mu.Lock()
	l := v.pods[uid]
	if l == nil {
		l = &ledger{dir: v.podDir(uid), opened: v.cfg.Now().Add(rand.N(refreshEvery)), due: map[string]due{}}
		_, err := os.Lstat(l.dir)
		if write || !errors.Is(err, fs.ErrNotExist) {
			v.pods[uid] = l
		}
	}
	v.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries != nil {
		return l, nil
	}
	return l, v.load(l)
}

// load reads the ledger, sets a garbled one aside and takes what it does not have from the directories.
func (v *Volumes) load(l *ledger) error {
	data, err := l.book().Take(ledgerFile)
	switch {
	case errors.Is(err, book.ErrGarbled):
		v.cfg.Log.Error("cannot read a ledger of volumes: it is rebuilt from the directories", "err", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot read the ledger of volumes: %w", err)
	}
	entries := make(map[string]entry, len(data.Volumes))
	for name, e := range data.Volumes {
		if e.Dir != "" && !filepath.IsLocal(e.Dir) || hostfs.CheckComponent(name) != nil {
			v.cfg.Log.Error("ignored an entry of a ledger of volumes: it leads out of the pod's directory",
				"dir", l.dir, "volume", name)
			continue
		}
		there, err := e.there()
		if err != nil {
			return fmt.Errorf("cannot see whether volume %s is mounted: %w", name, err)
		}
		if e.State == ready && !there {
			e.State = begun // gone behind the agent's back, or by a reboot
		}
		entries[name] = e
	}
	if err := adopt(l.dir, entries); err != nil {
		return err
	}
	l.entries = entries
	return nil
}

// there reports whether what the agent made for a volume is on the node.
func (e entry) there() (bool, error) {
	if e.Mounted {
		return hostfs.Mounted(e.Path)
	}
	if e.Block {
		return local.IsBlock(e.Path), nil
	}
	if e.Dir == "" {
		return true, nil
	}
	_, err := os.Lstat(e.Path)
	return err == nil, ignoreGone(err)
}

// adopt adds directories that no entry has: left by another agent, or by a ledger that was lost.
func adopt(podDir string, entries map[string]entry) error {
	known := map[string]bool{}
	for _, e := range entries {
		known[e.Dir] = true
	}
	return errors.Join(adoptFrom(podDir, fileSystems, known, entries), adoptFrom(podDir, blockDevices, known, entries))
}

// Where volumes are, in a pod's directory.
const (
	fileSystems  = "volumes"
	blockDevices = "volumeDevices"
)

func adoptFrom(podDir, place string, known map[string]bool, entries map[string]entry) error {
	plugins, err := os.ReadDir(filepath.Join(podDir, place))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot list the volumes on disk: %w", err)
	}
	for _, plugin := range plugins {
		dirs, err := os.ReadDir(filepath.Join(podDir, place, plugin.Name()))
		if err != nil {
			return fmt.Errorf("cannot list the volumes on disk: %w", err)
		}
		for _, d := range dirs {
			e := entry{Kind: kindOfPlugin(plugin.Name()), State: begun, Adopted: true, Dir: filepath.Join(place, plugin.Name(), d.Name()), Block: place == blockDevices}
			e.Path = filepath.Join(podDir, e.Dir)
			if e.Kind == kindCSI {
				e.Path = filepath.Join(e.Path, "mount")
			}
			if !known[e.Dir] && entries[d.Name()].State == "" {
				entries[d.Name()] = e
			}
		}
	}
	return nil
}

func (l *ledger) get(volume string) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[volume]
}

// put notes an entry, and writes it down where the directories alone would not tell of it: whatever is ready, and what is
// begun of a claim, whose directory has another name. An adopted entry of the same directory gives way to it.
func (l *ledger) put(volume string, e entry) error {
	if err := hostfs.CheckComponent(volume); err != nil {
		return fmt.Errorf("cannot use the volume's name: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.entries)
	if old, ok := next[filepath.Base(e.Dir)]; ok && old.Dir == e.Dir && old.Adopted {
		delete(next, filepath.Base(e.Dir))
	}
	next[volume] = e
	if e.State == begun && filepath.Base(e.Dir) == volume && e.Driver == "" {
		l.entries = next
		return nil
	}
	return l.save(next, e.State == begun && e.Driver != "")
}

// end notes that a volume is being torn down. It need not be written: what is gone of it is seen when the ledger is read.
func (l *ledger) end(volume string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.entries)
	e := next[volume]
	e.State = ending
	next[volume] = e
	l.entries = next
}

// drop forgets a volume that is gone. The file goes with the last one; until then it may list what is gone, which is seen
// when it is read: a teardown needs no space on a disk that is full.
func (l *ledger) drop(volume string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.entries)
	dir := next[volume].Dir
	delete(next, volume)
	delete(l.due, volume)
	l.entries = next
	if shares(next, dir) { // it cannot be seen that this name is gone
		return l.save(next, false)
	}
	if len(next) > 0 {
		return nil
	}
	if err := l.book().Delete(ledgerFile); err != nil {
		return fmt.Errorf("cannot remove the ledger of volumes: %w", err)
	}
	return nil
}

func (l *ledger) save(next map[string]entry, sync bool) error {
	b := l.book()
	b.Sync = atomicfile.SyncIf(sync)
	if err := b.Put(ledgerFile, ledgerData{next}); err != nil {
		return hostfs.Explain(err)
	}
	l.entries = next
	return nil
}

// shared reports whether another volume of the pod is the same one: two names for one claim.
func (l *ledger) shared(volume, dir string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	others := maps.Clone(l.entries)
	delete(others, volume)
	return shares(others, dir)
}

func shares(entries map[string]entry, dir string) bool {
	for _, e := range entries {
		if dir != "" && e.Dir == dir {
			return true
		}
	}
	return false
}

// owned reports whether a volume of this name is in the ledger.
func (l *ledger) owned(volume string) bool { return l.get(volume).State != "" }

func (l *ledger) observe() map[string]pod.Mount {
	l.mu.Lock()
	defer l.mu.Unlock()
	mounts := make(map[string]pod.Mount, len(l.entries))
	for name, e := range l.entries {
		m := pod.Mount{Kind: e.Kind, Ready: e.State == ready, Path: e.Path}
		if e.refreshes() {
			d := l.due[name]
			m.Due, m.Turn = d.at, d.turn
			if m.Due.IsZero() {
				m.Due = l.opened
			}
		}
		mounts[name] = m
	}
	return mounts
}

// hold makes the caller the only one to work on a volume, until it calls release.
func (l *ledger) hold(ctx context.Context, volume string) (release func(), err error) {
	return l.held.hold(ctx, volume)
}

// holds are locks by name, which can be waited for with a context.
type holds struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func (h *holds) hold(ctx context.Context, name string) (release func(), err error) {
	h.mu.Lock()
	c := h.held[name]
	if c == nil {
		if h.held == nil {
			h.held = map[string]chan struct{}{}
		}
		c = make(chan struct{}, 1)
		h.held[name] = c
	}
	h.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("another action still works on the volume: %w", ctx.Err())
	}
}
