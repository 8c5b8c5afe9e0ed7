package record

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

const ending = ".json"

// Store is a directory of records.
type Store struct {
	book book.Book[pod.Record]
}

// Open makes the directory, 0750, if it is not there, and removes what a killed writer left half done.
func Open(dir string) (*Store, error) {
	s := &Store{book.Book[pod.Record]{Dir: dir, Mode: 0o750, Check: check}}
	if err := s.book.Open(); err != nil {
		return nil, fmt.Errorf("cannot open the pod records: %w", err)
	}
	return s, nil
}

func check(name string, r pod.Record) error {
	switch {
	case r.Pod == nil:
		return errors.New("it holds no pod")
	case string(r.Pod.UID)+ending != name:
		return fmt.Errorf("it is of pod %q", r.Pod.UID)
	}
	return nil
}

// Load reads every record. One that cannot be read is logged and does not stop the others. A garbled one is set aside.
func (s *Store) Load() (map[types.UID]pod.Record, error) {
	names, err := s.book.Names("*" + ending)
	if err != nil {
		return nil, fmt.Errorf("cannot list pod records: %w", err)
	}
	records := make(map[types.UID]pod.Record, len(names))
	for _, name := range names {
		r, err := s.book.Take(name)
		if err != nil {
			slog.Error("cannot read a pod record: the pod goes on from what is observed of it", "err", err)
			continue
		}
		records[r.Pod.UID] = r
	}
	return records, nil
}

// Save replaces the record of a pod. With sync, it is on the disk when Save returns.
func (s *Store) Save(uid types.UID, r pod.Record, sync bool) error {
	name, err := fileName(uid)
	if err != nil {
		return err
	}
	b := s.book
	b.Sync = atomicfile.SyncIf(sync)
	if err := b.Put(name, r); err != nil {
		return fmt.Errorf("cannot save the record of pod %s: %w", uid, err)
	}
	return nil
}

// Delete forgets a pod. To forget one that is not there is no error.
func (s *Store) Delete(uid types.UID) error {
	name, err := fileName(uid)
	if err != nil {
		return err
	}
	if err := s.book.Delete(name); err != nil {
		return fmt.Errorf("cannot delete the record of pod %s: %w", uid, err)
	}
	return nil
}

func fileName(uid types.UID) (string, error) {
	if msgs := validation.IsDNS1123Subdomain(string(uid)); len(msgs) > 0 {
		return "", fmt.Errorf("pod UID %q is not fit for a file name: %s", uid, strings.Join(msgs, "; "))
	}
	return string(uid) + ending, nil
}
