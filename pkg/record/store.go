package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/pod"
)

const ending = ".json"

// Store is a directory of records.
type Store struct {
	dir string
}

// Open makes the directory, 0750, if it is not there, and removes what a killed writer left half done.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of pod records: %w", err)
	}
	if err := atomicfile.Sweep(dir, 0); err != nil {
		return nil, fmt.Errorf("cannot open the pod records: %w", err)
	}
	return &Store{dir: dir}, nil
}

// Load reads every record. One that is garbled is set aside with a line in the log and does not stop the others.
func (s *Store) Load() (map[types.UID]pod.Record, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list pod records: %w", err)
	}
	records := make(map[types.UID]pod.Record, len(files))
	for _, f := range files {
		uid, ok := strings.CutSuffix(f.Name(), ending)
		if !ok || f.IsDir() {
			continue
		}
		path := filepath.Join(s.dir, f.Name())
		r, err := read(path)
		if err == nil && r.Pod != nil && string(r.Pod.UID) != uid {
			err = fmt.Errorf("it is of pod %s", r.Pod.UID)
		}
		if err != nil {
			slog.Error("set a pod record aside: it cannot be read; the pod goes on from what is observed of it",
				"file", path, "aside", path+".bad", "err", err)
			if err := os.Rename(path, path+".bad"); err != nil {
				slog.Error("cannot set a garbled pod record aside", "file", path, "err", err)
			}
			continue
		}
		records[types.UID(uid)] = r
	}
	return records, nil
}

func read(path string) (pod.Record, error) {
	var r pod.Record
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return Decode(b)
}

// Decode reads one record. A record without a pod is garbled.
func Decode(b []byte) (pod.Record, error) {
	var r pod.Record
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("cannot decode a pod record: %w", err)
	}
	if r.Pod == nil {
		return r, errors.New("cannot decode a pod record: it holds no pod")
	}
	return r, nil
}

// Save replaces the record of a pod. With sync, it is on the disk when Save returns.
func (s *Store) Save(uid types.UID, r pod.Record, sync bool) error {
	path, err := s.path(uid)
	if err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot encode the record of pod %s: %w", uid, err)
	}
	if err := atomicfile.Write(path, b, 0o600, atomicfile.SyncIf(sync)); err != nil {
		return fmt.Errorf("cannot save the record of pod %s: %w", uid, err)
	}
	return nil
}

// Delete forgets a pod. To forget one that is not there is no error.
func (s *Store) Delete(uid types.UID) error {
	path, err := s.path(uid)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot delete the record of pod %s: %w", uid, err)
	}
	return nil
}

func (s *Store) path(uid types.UID) (string, error) {
	if msgs := validation.IsDNS1123Subdomain(string(uid)); len(msgs) > 0 {
		return "", fmt.Errorf("pod UID %q is not fit for a file name: %s", uid, strings.Join(msgs, "; "))
	}
	return filepath.Join(s.dir, string(uid)+ending), nil
}
