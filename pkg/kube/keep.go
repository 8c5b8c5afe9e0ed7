package kube

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
	"github.com/minikubelet/minikubelet/pkg/book"
)

// Keep holds on disk what pods of this node need of the API server, so that they can start while it is away: the
// ConfigMaps and Secrets that they name, their service account tokens and certificates, and the services that they were told of. Directories are 0700 and files 0600: root alone
// reads them. What no pod names any more is removed. A nil Keep holds nothing. It is safe for concurrent use.
type Keep struct {
	book book.Book[any]
	log  *slog.Logger

	mu   sync.Mutex
	last map[Key]string // versions that were written
}

// OpenKeep makes the directory if it is missing, and removes what a killed writer left half done.
func OpenKeep(dir string, log *slog.Logger) (*Keep, error) {
	k := &Keep{book: book.Book[any]{Dir: dir, Mode: 0o700, Sync: atomicfile.Content}, log: log, last: map[Key]string{}}
	if err := k.book.Open(); err != nil {
		return nil, fmt.Errorf("cannot open the directory of what pods need without the API server: %w", err)
	}
	return k, nil
}

// file is the name of an object's file, relative to the directory.
func (k Key) file() (string, error) {
	for _, s := range []string{k.Namespace, k.Name} {
		if bad := content.IsPathSegmentName(s); s == "" || len(bad) > 0 {
			return "", fmt.Errorf("%s is not fit for a file name", k)
		}
	}
	return filepath.Join(k.Resource.plural(), k.Namespace, k.Name+".json"), nil
}

// tokens is the name of the directory of what only a pod may have.
func tokens(uid types.UID) string { return filepath.Join("tokens", filepath.Base(string(uid))) }

// put writes an object that is named, unless this version of it was written. That it cannot is told and is no error:
// nothing else of the pod depends on it.
func (k *Keep) put(key Key, obj runtime.Object, named func(Key) bool) {
	if k == nil || obj == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := version(obj); k.last[key] != v && named(key) {
		file, err := key.file()
		if err == nil {
			err = k.book.Put(file, obj)
		}
		if err != nil {
			k.log.Warn("cannot keep an object for when the API server is away", "object", key.String(), "err", err)
			return
		}
		k.last[key] = v
	}
}

// get reads an object; ok is false when there is none that can be used.
func (k *Keep) get(key Key, into runtime.Object) (ok bool) {
	if k == nil {
		return false
	}
	file, err := key.file()
	return err == nil && k.read(file, into)
}

// other reports whether another version of an object was kept.
func (k *Keep) other(key Key, obj runtime.Object) bool {
	kept := &metav1.PartialObjectMetadata{}
	return k.get(key, kept) && version(kept) != version(obj)
}

func (k *Keep) has(key Key) bool {
	if k == nil {
		return false
	}
	file, err := key.file()
	if err == nil {
		_, err = os.Stat(filepath.Join(k.book.Dir, file))
	}
	return err == nil
}

func (k *Keep) read(file string, into any) bool {
	err := book.Read(filepath.Join(k.book.Dir, file), into)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.log.Warn("cannot use what was kept for when the API server is away", "err", err)
	}
	return err == nil
}

// drop removes an object, unless it is named again.
func (k *Keep) drop(key Key, named func(Key) bool) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if named(key) {
		return
	}
	delete(k.last, key)
	if file, err := key.file(); err == nil {
		k.removed(k.book.Delete(file))
	}
}

func (k *Keep) removed(err error) {
	if err != nil {
		k.log.Warn("cannot remove what was kept for when the API server is away", "err", err)
	}
}

// putToken and getToken hold a pod's tokens, each by what was asked for.
func (k *Keep) putToken(uid types.UID, account string, asked authenticationv1.TokenRequestSpec, got *authenticationv1.TokenRequest) {
	k.putOf(uid, tokenFile(account, asked), got.Status)
}

func (k *Keep) getToken(uid types.UID, account string, asked authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, bool) {
	got := &authenticationv1.TokenRequest{}
	return got, k.getOf(uid, tokenFile(account, asked), &got.Status)
}

// putOf and getOf hold what only its pod may have, in files of its own.
func (k *Keep) putOf(uid types.UID, file string, value any) {
	if k == nil || uid == "" {
		return
	}
	if err := k.book.Put(filepath.Join(tokens(uid), file), value); err != nil {
		k.log.Warn("cannot keep a pod's credentials for when the API server is away", "uid", uid, "err", err)
	}
}

func (k *Keep) getOf(uid types.UID, file string, into any) bool {
	return k != nil && uid != "" && k.read(filepath.Join(tokens(uid), file), into)
}

func (k *Keep) dropTokens(uid types.UID) {
	if k != nil && uid != "" {
		k.removed(os.RemoveAll(filepath.Join(k.book.Dir, tokens(uid))))
	}
}

func tokenFile(account string, asked authenticationv1.TokenRequestSpec) string {
	seconds := int64(0)
	if asked.ExpirationSeconds != nil {
		seconds = *asked.ExpirationSeconds
	}
	return fmt.Sprintf("%x.json", sha256.Sum256(fmt.Appendf(nil, "%s %q %d", account, asked.Audiences, seconds)))
}

// putServices and getServices hold what containers of a namespace are told of services.
func (k *Keep) putServices(namespaces []string, list []v1.Service) {
	if k == nil {
		return
	}
	key := servicesKey(namespaces)
	b, err := json.Marshal(list)
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := fmt.Sprintf("%x", sha256.Sum256(b)); err == nil && k.last[key] != v {
		if err = k.book.Put(filepath.Join("services", key.Name), list); err == nil {
			k.last[key] = v
		}
	}
	if err != nil {
		k.log.Warn("cannot keep the services for when the API server is away", "namespaces", namespaces, "err", err)
	}
}

func (k *Keep) getServices(namespaces []string) (list []v1.Service, ok bool) {
	ok = k != nil && k.read(filepath.Join("services", servicesKey(namespaces).Name), &list)
	return list, ok
}

func servicesKey(namespaces []string) Key {
	return Key{Resource: Services, Name: fmt.Sprintf("%x.json", sha256.Sum256([]byte(strings.Join(namespaces, " "))))}
}

// prune removes what these pods and keys do not need: what an agent left behind that was killed.
func (k *Keep) prune(pods map[types.UID][]Key, named func(Key) bool) {
	if k == nil {
		return
	}
	for _, r := range []Resource{ConfigMaps, Secrets} {
		files, err := filepath.Glob(filepath.Join(k.book.Dir, r.plural(), "*", "*.json"))
		k.removed(err)
		for _, f := range files {
			name := filepath.Base(f)
			k.drop(Key{Resource: r, Namespace: filepath.Base(filepath.Dir(f)), Name: name[:len(name)-len(".json")]}, named)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(k.book.Dir, "tokens", "*"))
	k.removed(err)
	for _, d := range dirs {
		if uid := types.UID(filepath.Base(d)); pods[uid] == nil {
			k.dropTokens(uid)
		}
	}
}

// unreachable reports whether an error says nothing of the object: the server was not reached, or could not answer.
func unreachable(err error) bool {
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return true
	}
	switch s.Status().Reason {
	case metav1.StatusReasonNotFound, metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonBadRequest, metav1.StatusReasonConflict, metav1.StatusReasonGone:
		return false
	}
	return true
}

// quickAnswer is how long the server is waited for, at least, when what it would say is on disk.
const quickAnswer = 2 * time.Second
