package userns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
)

// unit is what the beginnings and lengths of ranges are multiples of: what a container image may use of IDs (KEP-127).
const unit = 1 << 16

// fileName is the file of a pod's range in the pod's directory.
const fileName = "userns"

// Range is a pod's part of the host's IDs, for users and for groups. ID 0 in the pod is First on the host.
type Range struct{ First, Length uint32 }

// Config says which IDs may be given away. Zero values take the defaults.
type Config struct {
	Pods   string // the directory of the pods' directories: <root-dir>/pods
	First  uint32 // the first ID, a multiple of 65536; default: 65536, above the users of the host
	Length uint32 // IDs per pod, a multiple of 65536; default: 65536
	Count  int    // ranges; default: as many as there are IDs
}

// Ranges gives away ranges. It is safe for concurrent use.
type Ranges struct {
	cfg  Config
	book book.Book[mappings] // of the pods' directories, which it does not make
	mu   sync.Mutex
}

// New checks the configuration.
func New(cfg Config) (*Ranges, error) {
	if cfg.First == 0 {
		cfg.First = unit
	}
	if cfg.Length == 0 {
		cfg.Length = unit
	}
	if cfg.First%unit != 0 || cfg.Length%unit != 0 {
		return nil, fmt.Errorf("cannot give pods user IDs from %d on, %d to each: both must be multiples of %d", cfg.First, cfg.Length, unit)
	}
	if most := int((1<<32 - uint64(cfg.First)) / uint64(cfg.Length)); cfg.Count <= 0 || cfg.Count > most {
		cfg.Count = most
	}
	return &Ranges{cfg: cfg, book: book.Book[mappings]{Dir: cfg.Pods, Sync: atomicfile.Content, Check: oneRange}}, nil
}

// Of returns a pod's range: the one that it has, else the lowest that is free, which is on disk before this returns. The
// pod's directory must exist. A file that cannot be read is an error for every new range: what it says may be in use.
func (r *Ranges) Of(uid types.UID) (Range, error) {
	if uid == "" || filepath.Base(string(uid)) != string(uid) || uid == ".." || uid == "." {
		return Range{}, fmt.Errorf("cannot give user IDs to a pod with the UID %q: it is no name of a directory", uid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	own, err := r.read(string(uid))
	if !errors.Is(err, os.ErrNotExist) {
		return own, err
	}
	taken, err := r.taken()
	if err != nil {
		return Range{}, err
	}
	for i := range r.cfg.Count {
		free := Range{First: r.cfg.First + uint32(i)*r.cfg.Length, Length: r.cfg.Length}
		if !overlaps(taken, free) {
			return free, r.write(string(uid), free)
		}
	}
	return Range{}, fmt.Errorf("cannot give the pod users of its own: all %d ranges of IDs are taken: remove a pod with hostUsers: false", r.cfg.Count)
}

func (r *Ranges) taken() ([]Range, error) {
	pods, err := os.ReadDir(r.cfg.Pods)
	if err != nil {
		return nil, fmt.Errorf("cannot tell which user IDs pods have: %w", err)
	}
	var all []Range
	for _, p := range pods {
		one, err := r.read(p.Name())
		switch {
		case err == nil:
			all = append(all, one)
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	return all, nil
}

func overlaps(all []Range, one Range) bool {
	for _, r := range all {
		if uint64(one.First) < uint64(r.First)+uint64(r.Length) && uint64(r.First) < uint64(one.First)+uint64(one.Length) {
			return true
		}
	}
	return false
}

// mapping and mappings are the file's form.
type mapping struct {
	HostID      uint32 `json:"hostId"`
	ContainerID uint32 `json:"containerId"`
	Length      uint32 `json:"length"`
}

type mappings struct {
	UIDs []mapping `json:"uidMappings"`
	GIDs []mapping `json:"gidMappings"`
}

func oneRange(_ string, m mappings) error {
	if len(m.UIDs) != 1 || len(m.GIDs) != 1 || m.UIDs[0] != m.GIDs[0] ||
		m.UIDs[0].ContainerID != 0 || m.UIDs[0].Length == 0 {
		return errors.New("it must hold one range, the same for users and groups")
	}
	return nil
}

func (r *Ranges) read(uid string) (Range, error) {
	m, err := r.book.Get(filepath.Join(uid, fileName))
	if errors.Is(err, book.ErrGarbled) {
		err = fmt.Errorf("cannot tell which user IDs a pod has: %w: remove the pod, then the file", err)
	}
	if err != nil {
		return Range{}, err
	}
	return Range{First: m.UIDs[0].HostID, Length: m.UIDs[0].Length}, nil
}

// write puts the file in place whole and for good: a range that was forgotten would be given away twice.
func (r *Ranges) write(uid string, one Range) error {
	m := []mapping{{HostID: one.First, Length: one.Length}}
	if err := r.book.Put(filepath.Join(uid, fileName), mappings{UIDs: m, GIDs: m}); err != nil {
		return fmt.Errorf("cannot keep the pod's user IDs: %w", err)
	}
	return nil
}
