package csi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

const (
	dataFile   = "vol_data.json"
	stageMount = "globalmount"
)

// volData is vol_data.json: what is needed to undo a volume with no specification at hand. Names are the kubelet's.
type volData struct {
	Driver       string `json:"driverName"`
	Handle       string `json:"volumeHandle"`
	SpecName     string `json:"specVolID,omitempty"`
	NodeName     string `json:"nodeName,omitempty"`
	AttachmentID string `json:"attachmentID,omitempty"`
	Lifecycle    string `json:"volumeLifecycleMode,omitempty"` // Persistent or Ephemeral
}

func (d volData) ref() Ref { return Ref{d.Driver, d.Handle} }

// AttachmentName is the name of the VolumeAttachment of a volume on a node.
func AttachmentName(handle, driver, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+driver+node)))
}

// EphemeralHandle is the handle of an inline volume of a pod.
func EphemeralHandle(podUID, volume string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(podUID+volume)))
}

// stageDir is the directory of a staged volume.
func (n *Node) stageDir(ref Ref) string {
	return filepath.Join(n.driverDir(ref.Driver), fmt.Sprintf("%x", sha256.Sum256([]byte(ref.Handle))))
}

func (n *Node) driverDir(driver string) string {
	return filepath.Join(n.cfg.Root, "plugins", "kubernetes.io", "csi", driver)
}

// notes is the book of a volume's directory, with vol_data.json alone.
func notes(dir string) book.Book[volData] {
	return book.Book[volData]{Dir: dir, Mode: 0o750, Sync: atomicfile.Name, Check: func(_ string, d volData) error {
		if !validName(d.Driver) || d.Handle == "" {
			return errors.New("it names no driver and volume")
		}
		return nil
	}}
}

// intend writes down what is about to be asked of a driver, so that a power cut cannot lose it.
func intend(dir string, d volData) error {
	if old, err := notes(dir).Get(dataFile); err == nil && old == d {
		return nil
	}
	err := notes(dir).Put(dataFile, d)
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(dir))
	}
	if err != nil {
		return hostfs.Explain(fmt.Errorf("cannot note a CSI volume durably: %w", err))
	}
	return nil
}

// published lists the notes of volumes that are, or may be, published to pods: file systems and block devices.
func (n *Node) published() ([]string, error) {
	return filepath.Glob(filepath.Join(n.cfg.Root, "pods", "*", "volume*", "kubernetes.io~csi", "*", dataFile))
}

// users counts the pods that have, or may have, a volume published; the one with this directory does not count.
func (n *Node) users(ref Ref, except string) (int, error) {
	files, err := n.published()
	if err != nil {
		return 0, fmt.Errorf("cannot look for the users of volume %s: %w", ref, err)
	}
	users := 0
	for _, f := range files {
		dir := filepath.Dir(f)
		if dir == except {
			continue
		}
		d, err := notes(dir).Get(dataFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil: // it might be of this volume: as long as something is mounted there, it counts
			mounted, mountErr := hostfs.Mounted(filepath.Join(dir, "mount"))
			if mounted || mountErr != nil {
				n.cfg.Log.Warn("cannot tell whose volume is mounted; it keeps others staged", "dir", dir, "err", errors.Join(err, mountErr))
				users++
			}
		case d.ref() == ref:
			users++
		}
	}
	return users, nil
}
