package credentials

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

// Login is one way to log in at a registry, and whose it is. One of neither a secret nor an account is the node's: every
// pod may use it.
type Login struct {
	Auth    cri.Auth
	Secret  *Owner // the pull secret that holds it
	Account *Owner // the service account that a plugin gave it for
	key     string // of the entry that matched: how specific it is
}

// Owner is the object of the API that a login comes from.
type Owner struct{ Namespace, Name, UID string }

// Hash tells logins apart without revealing them: hexadecimal SHA-256.
func (l Login) Hash() string {
	b, err := json.Marshal(l.Auth)
	if err != nil { // strings alone: cannot fail
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Sort puts the most specific logins first, and leaves out those that repeat another of the same owner.
func Sort(logins []Login) []Login {
	slices.SortStableFunc(logins, func(a, b Login) int { return -cmp.Compare(a.key, b.key) })
	var out []Login
	for _, l := range logins {
		if !slices.ContainsFunc(out, func(o Login) bool { return o.Auth == l.Auth && same(o.Secret, l.Secret) && same(o.Account, l.Account) }) {
			out = append(out, l)
		}
	}
	return out
}

// bare is a key without its scheme.
func bare(key string) string {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		return rest
	}
	return key
}

func same(a, b *Owner) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// dockerHub are the names under which people log in at the default registry.
var dockerHub = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// image is an image's name as entries are matched with it.
type image struct {
	domain     string // registry, with its port
	repository string
}

func parse(name string) (image, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return image{}, fmt.Errorf("cannot read image name %q: %w", name, err)
	}
	return image{reference.Domain(named), reference.Path(named)}, nil
}

// matches compares an entry's key (registry.example.com:5000/team, *.example.com, https://index.docker.io/v1/) with an
// image: by host, with * for one label or a part of it, by port, and by path prefix.
func (i image) matches(key string) bool {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil {
		return false
	}
	if slices.Contains(dockerHub, u.Host) {
		return i.domain == "docker.io" && prefixOf(strings.TrimPrefix(strings.TrimPrefix(u.Path, "/v1"), "/v2"), i.repository)
	}
	wantHost, wantPort, _ := strings.Cut(u.Host, ":")
	host, port, _ := strings.Cut(i.domain, ":")
	if wantPort != port || strings.Count(wantHost, ".") != strings.Count(host, ".") {
		return false // a * stands for one label, not for several
	}
	want, got := strings.Split(wantHost, "."), strings.Split(host, ".")
	for n := range want {
		if ok, err := path.Match(want[n], got[n]); !ok || err != nil {
			return false
		}
	}
	return prefixOf(u.Path, i.repository)
}

func prefixOf(p, repository string) bool {
	p = strings.Trim(p, "/")
	return p == "" || p == repository || strings.HasPrefix(repository, p+"/") || p == "v1" || p == "v2"
}
