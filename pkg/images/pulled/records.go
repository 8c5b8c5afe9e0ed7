package pulled

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/minikubelet/minikubelet/pkg/book"
	"github.com/minikubelet/minikubelet/pkg/images/credentials"
)

// Policy says for which images that are present a pod must show that it may pull them. The zero value is the kubelet's
// default, NeverVerifyPreloadedImages.
type Policy struct {
	Mode  kubelet.ImagePullCredentialsVerificationPolicy
	Allow []string // of NeverVerifyAllowlistedImages: names without a tag, or beginnings that end with /*
}

// requires reports whether an image must be verified.
func (p Policy) requires(name string, byAgent bool) bool {
	switch p.Mode {
	case kubelet.NeverVerify:
		return false
	case kubelet.AlwaysVerify:
		return true
	case kubelet.NeverVerifyAllowlistedImages:
		return !slices.ContainsFunc(p.Allow, func(a string) bool {
			if prefix, ok := strings.CutSuffix(a, "*"); ok {
				return strings.HasPrefix(name, prefix)
			}
			return a == name
		})
	}
	return byAgent
}

// Records remember pulls. They are safe for concurrent use. A garbled file is not set aside: a kubelet reads every file
// whose name begins as these do.
type Records struct {
	pulling book.Book[kubelet.ImagePullIntent]
	pulled  book.Book[kubelet.ImagePulledRecord]
	policy  Policy
	log     *slog.Logger

	mu      sync.Mutex
	intents map[string]int // pulls that go on, by image
}

// Open returns the records below root/image_manager.
func Open(root string, policy Policy, log *slog.Logger) (*Records, error) {
	dir := filepath.Join(root, "image_manager")
	r := &Records{policy: policy, log: log, intents: map[string]int{}}
	r.pulling = book.Book[kubelet.ImagePullIntent]{
		Dir: filepath.Join(dir, "pulling"), Mode: 0o700,
		Check: func(_ string, i kubelet.ImagePullIntent) error { return isA("ImagePullIntent", i.TypeMeta) },
	}
	r.pulled = book.Book[kubelet.ImagePulledRecord]{
		Dir: filepath.Join(dir, "pulled"), Mode: 0o700,
		Check: func(_ string, p kubelet.ImagePulledRecord) error { return isA("ImagePulledRecord", p.TypeMeta) },
	}
	if err := errors.Join(r.pulling.Open(), r.pulled.Open()); err != nil {
		return nil, fmt.Errorf("cannot open the image pull records: %w", err)
	}
	return r, nil
}

// Recover turns what was being pulled when the agent was killed into records that allow nobody, for the images that are
// there now; id is "" for one that is not. It is called once, before the first pull.
func (r *Records) Recover(id func(image string) (string, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	names, err := r.pulling.Names("*")
	if err != nil {
		return fmt.Errorf("cannot list image pulls that were cut off: %w", err)
	}
	var errs []error
	for _, name := range names {
		intent, err := r.pulling.Get(name)
		if errors.Is(err, book.ErrGarbled) {
			r.log.Warn("drop the record of an image pull: it cannot be read", "err", err)
			errs = append(errs, r.pulling.Delete(name))
			continue
		}
		var ref string
		if err == nil {
			ref, err = id(intent.Image)
		}
		if err == nil && ref != "" {
			err = r.note(intent.Image, ref, nil)
		}
		if err == nil {
			err = r.pulling.Delete(name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Begin notes that an image is about to be pulled. Each Begin is followed by one Done or Failed.
func (r *Records) Begin(image string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	intent := kubelet.ImagePullIntent{TypeMeta: meta("ImagePullIntent"), Image: image}
	if err := r.pulling.Put(fileName(image), intent); err != nil {
		return fmt.Errorf("cannot record the pull of image %s: %w", image, err)
	}
	r.intents[image]++
	return nil
}

// Failed notes that a pull gave nothing.
func (r *Records) Failed(image string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(image)
}

// Done notes that an image was pulled and with whose login; nil is none. When that cannot be written the intent stays,
// and with it the caution.
func (r *Records) Done(image, id string, with *credentials.Login) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.note(image, id, credentialsOf(with)); err != nil {
		r.log.Error("cannot record who may use an image: pods have to pull it again", "image", image, "err", err)
		return
	}
	r.end(image)
}

func (r *Records) end(image string) {
	if r.intents[image]--; r.intents[image] > 0 {
		return
	}
	delete(r.intents, image)
	if err := r.pulling.Delete(fileName(image)); err != nil {
		r.log.Error("cannot remove the record of an image pull", "image", image, "err", err)
	}
}

// Allowed reports whether a pod may use an image that is present without pulling it. Logins are those that the pod can
// show for the image; they are asked for only when they matter. A record that cannot be read allows nobody.
func (r *Records) Allowed(image, id string, logins func() []credentials.Login) bool {
	name, err := bareName(image)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record, err := r.load(id)
	if err != nil {
		r.log.Error("cannot read who may use an image: pods have to pull it again", "image", image, "err", err)
		return false
	}
	byAgent := record != nil || r.intents[image] > 0 || exists(filepath.Join(r.pulling.Dir, fileName(image)))
	if !r.policy.requires(name, byAgent) {
		return true
	}
	if record == nil {
		return false
	}
	known, ok := record.CredentialMapping[name]
	if !ok || known.NodePodsAccessible {
		return ok
	}
	if len(known.KubernetesSecrets)+len(known.KubernetesServiceAccounts) == 0 {
		return false
	}
	for _, l := range logins() {
		if !shown(known, l) {
			continue
		}
		if err := r.note(image, id, credentialsOf(&l)); err != nil { // the secret's new content, or its new name
			r.log.Warn("cannot record who may use an image", "image", image, "err", err)
		}
		return true
	}
	return false
}

// shown reports whether a login is one that the image was pulled with: the same secret, whatever it holds by now, the same
// content, or the same service account.
func shown(known kubelet.ImagePullCredentials, l credentials.Login) bool {
	switch {
	case l.Secret != nil:
		mine := secretOf(l)
		return slices.ContainsFunc(known.KubernetesSecrets, func(s kubelet.ImagePullSecret) bool {
			return sameSecret(s, mine) || s.CredentialHash != "" && s.CredentialHash == mine.CredentialHash
		})
	case l.Account != nil:
		return slices.Contains(known.KubernetesServiceAccounts, accountOf(l))
	}
	return false
}

// Prune forgets the images that are gone: those whose ID is not in present and whose record is older than since.
func (r *Records) Prune(present []string, since time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	files, err := os.ReadDir(r.pulled.Dir)
	if err != nil {
		return fmt.Errorf("cannot list image pull records: %w", err)
	}
	keep := map[string]bool{}
	for _, id := range present {
		keep[fileName(id)] = true
	}
	var errs []error
	for _, f := range files {
		info, err := f.Info()
		if err == nil && !keep[f.Name()] && info.ModTime().Before(since) {
			errs = append(errs, r.pulled.Delete(f.Name()))
		}
	}
	return errors.Join(errs...)
}

// load reads the record of an image; nil when there is none.
func (r *Records) load(id string) (*kubelet.ImagePulledRecord, error) {
	record, err := r.pulled.Get(fileName(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &record, err
}

// note adds who may use an image to its record; nil adds nobody. A record that cannot be read is written anew.
func (r *Records) note(image, id string, who *kubelet.ImagePullCredentials) error {
	name, err := bareName(image)
	if err != nil {
		return err
	}
	record, err := r.load(id)
	if err != nil {
		r.log.Warn("write the record of an image anew: it cannot be read", "image", image, "err", err)
	}
	if record == nil || err != nil {
		record = &kubelet.ImagePulledRecord{ImageRef: id}
	} else if who == nil {
		return nil
	}
	if who != nil {
		merged, changed := merge(record.CredentialMapping[name], *who)
		if !changed {
			return nil
		}
		if record.CredentialMapping == nil {
			record.CredentialMapping = map[string]kubelet.ImagePullCredentials{}
		}
		record.CredentialMapping[name] = merged
	}
	record.TypeMeta, record.LastUpdatedTime = meta("ImagePulledRecord"), metav1.Now()
	return r.pulled.Put(fileName(id), *record)
}

// bareName is an image's name as it was written, without tag and digest.
func bareName(image string) (string, error) {
	ref, err := reference.Parse(image)
	if err != nil {
		return "", fmt.Errorf("cannot read image name %q: %w", image, err)
	}
	if d, ok := ref.(reference.Digested); ok {
		image = strings.TrimSuffix(image, "@"+d.Digest().String())
	}
	if t, ok := ref.(reference.Tagged); ok {
		image = strings.TrimSuffix(image, ":"+t.Tag())
	}
	return image, nil
}
