package volumes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi"
	"github.com/minikubelet/minikubelet/pkg/downward"
	"github.com/minikubelet/minikubelet/pkg/objects"
	"github.com/minikubelet/minikubelet/pkg/pod"
	"github.com/minikubelet/minikubelet/pkg/volumes/content"
	"github.com/minikubelet/minikubelet/pkg/volumes/subpath"
)

// Config is what Volumes is made of. Root, Objects and Log are required.
type Config struct {
	Root     string // the kubelet's root directory, /var/lib/kubelet
	NodeName string
	Objects  *objects.Store
	CSI      *csi.Node                                               // nil: CSI volumes are an error
	Token    content.TokenFunc                                       // nil: projected service account tokens are an error
	Trust    content.Trust                                           // nil: projected cluster trust bundles are an error
	Certify  content.CertificateFunc                                 // nil: projected certificates of pods are an error
	Attaches bool                                                    // an API server's controller attaches volumes to this node
	Node     func() downward.Node                                    // what the downward API tells of the node; nil: nothing
	Labels   func() map[string]string                                // of the node, for a volume's nodeAffinity; nil: none
	Event    func(p *v1.Pod, container, typ, reason, message string) // nil: nobody is told
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
}

// Volumes are the volumes of every pod on the node.
type Volumes struct {
	cfg     Config
	content *content.Source
	sources holds // of local volumes, by path
	mu      sync.Mutex
	pods    map[types.UID]*ledger
}

// New needs the root directory to exist or to be creatable.
func New(cfg Config) (*Volumes, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Root, "pods"), 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of pods: %w", err)
	}
	root, err := filepath.EvalSymlinks(cfg.Root) // the kernel lists mounts by their real path
	if err != nil {
		return nil, fmt.Errorf("cannot resolve the root directory: %w", err)
	}
	if cfg.Root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("cannot resolve the root directory: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Node == nil {
		cfg.Node = func() downward.Node { return downward.Node{} }
	}
	if cfg.Event == nil {
		cfg.Event = func(*v1.Pod, string, string, string, string) {}
	}
	if cfg.Labels == nil {
		cfg.Labels = func() map[string]string { return nil }
	}
	files := content.New(content.Config{Objects: cfg.Objects, Token: cfg.Token, Trust: cfg.Trust, Certificate: cfg.Certify, Node: cfg.Node, Now: cfg.Now})
	return &Volumes{cfg: cfg, content: files, pods: map[types.UID]*ledger{}}, nil
}

// Mount sets a volume of a pod up. To mount what is ready is no work and no error.
func (v *Volumes) Mount(ctx context.Context, p *v1.Pod, volume string) error {
	if err := v.mount(ctx, p, volume); err != nil {
		return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume, err)
	}
	return nil
}

func (v *Volumes) mount(ctx context.Context, p *v1.Pod, volume string) error {
	l, err := v.ledger(p.UID, true)
	if err != nil {
		return onNode(err)
	}
	release, err := l.hold(ctx, volume)
	if err != nil {
		return err
	}
	defer release()
	if l.get(volume).State == ready {
		return nil
	}
	s, err := v.resolve(ctx, p, volume)
	if err != nil {
		return err
	}
	if err := checkUse(p, volume, s.entry.Block); err != nil {
		return err
	}
	e, turn := s.entry, l.turn(volume)
	e.State = begun
	if err := l.put(volume, e); err != nil {
		return onNode(err)
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	e.State = ready
	l.refreshed(volume, turn, v.cfg.Now())
	return onNode(l.put(volume, e))
}

// Unmount tears a volume down, from the ledger alone. To unmount what is not there is no error.
func (v *Volumes) Unmount(ctx context.Context, uid types.UID, volume string) error {
	if err := v.unmount(ctx, uid, volume); err != nil {
		return fmt.Errorf("UnmountVolume.TearDown failed for volume %q pod %q : %w", volume, uid, err)
	}
	return nil
}

func (v *Volumes) unmount(ctx context.Context, uid types.UID, volume string) error {
	l, err := v.ledger(uid, false)
	if err != nil {
		return err
	}
	release, err := l.hold(ctx, volume)
	if err != nil {
		return err
	}
	defer release()
	e := l.get(volume)
	if e.State == "" {
		return nil
	}
	l.end(volume)
	errs := []error{subpath.Undo(ctx, v.podDir(uid), func(name string) bool { return name == volume || !l.owned(name) })}
	if !l.shared(volume, e.Dir) {
		errs = append(errs, v.tearDown(ctx, uid, e))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	v.content.Forget(uid, volume)
	return l.drop(volume)
}

// Observe reports a pod's volumes by name. The first look at a pod reads the disk and the mount table; later ones are in
// memory.
func (v *Volumes) Observe(uid types.UID) (map[string]pod.Mount, error) {
	l, err := v.ledger(uid, false)
	if err != nil {
		return nil, err
	}
	return l.observe(), nil
}

func (v *Volumes) podDir(uid types.UID) string { return filepath.Join(v.cfg.Root, "pods", string(uid)) }
