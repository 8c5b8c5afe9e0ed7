package credentials

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	kubelet "k8s.io/kubelet/config/v1"
	credentialprovider "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
	"github.com/minikubelet/minikubelet/pkg/objects"
)

// Accounts asks the API server about service accounts, for plugins that want a token of the pod's.
type Accounts struct {
	API   objects.Getter
	Token func(ctx context.Context, p *v1.Pod, audience string) (string, error)
}

// Plugins are the credential providers of a node. Its answers are kept in memory for as long as they say.
type Plugins struct {
	accounts *Accounts // nil: there is no API server
	now      func() time.Time
	plugins  []*plugin
}

// LoadPlugins reads the configuration of credential providers, a file or a directory of them, whose programs are in
// binDir. Accounts is nil where there is no API server to ask.
func LoadPlugins(config, binDir string, accounts *Accounts) (*Plugins, error) {
	providers, err := readConfig(config, binDir)
	if err != nil {
		return nil, err
	}
	p := &Plugins{accounts: accounts, now: time.Now}
	for _, c := range providers {
		p.plugins = append(p.plugins, &plugin{
			cfg: c, program: program{path: filepath.Join(binDir, c.Name), args: c.Args, env: environment(c.Env), version: c.APIVersion},
			cache: map[string]answer{}, asking: map[string]chan struct{}{},
		})
	}
	return p, nil
}

func environment(vars []kubelet.ExecEnvVar) []string {
	env := os.Environ()
	for _, v := range vars {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// logins asks each plugin whose patterns match the image. A plugin that fails is an error beside what the others gave.
func (ps *Plugins) logins(ctx context.Context, p *v1.Pod, name string) ([]Login, error) {
	i, err := parse(name)
	if err != nil {
		return nil, err
	}
	var found []Login
	var errs []error
	for _, pl := range ps.plugins {
		if !slices.ContainsFunc(pl.cfg.MatchImages, i.matches) {
			continue
		}
		logins, err := ps.ask(ctx, pl, p, i)
		if err != nil {
			errs = append(errs, fmt.Errorf("credential provider %s: %w", pl.cfg.Name, err))
		}
		found = append(found, logins...)
	}
	return found, errors.Join(errs...)
}

func (ps *Plugins) ask(ctx context.Context, pl *plugin, p *v1.Pod, i image) ([]Login, error) {
	a, ok, err := ps.account(ctx, pl.cfg.TokenAttributes, p)
	if err != nil || !ok {
		return nil, err
	}
	auth, err := pl.get(ctx, i, a, ps.now)
	if err != nil {
		return nil, err
	}
	var found []Login
	for _, key := range slices.Sorted(maps.Keys(auth)) {
		if i.matches(key) {
			found = append(found, Login{Auth: cri.Auth{Username: auth[key].Username, Password: auth[key].Password}, Account: a.owner, key: bare(key)})
		}
	}
	return found, nil
}

// account is what a plugin is told of the pod's service account. The zero value tells nothing.
type account struct {
	owner       *Owner
	token       string
	annotations map[string]string
	key         string // what answers for it are kept under
}

// account gathers what a plugin wants to know; ok is false when the plugin is not for such a pod.
func (ps *Plugins) account(ctx context.Context, want *kubelet.ServiceAccountTokenAttributes, p *v1.Pod) (a account, ok bool, err error) {
	if want == nil {
		return a, true, nil
	}
	if ps.accounts == nil || p.Spec.ServiceAccountName == "" {
		return a, !*want.RequireServiceAccount, nil
	}
	sa, err := objects.Get[v1.ServiceAccount](ctx, ps.accounts.API, p.Namespace, p.Spec.ServiceAccountName)
	if err != nil {
		return a, false, fmt.Errorf("cannot get service account %s/%s: %w", p.Namespace, p.Spec.ServiceAccountName, err)
	}
	a.annotations = map[string]string{}
	for _, k := range want.RequiredServiceAccountAnnotationKeys {
		value, has := sa.Annotations[k]
		if !has {
			return a, false, nil // the account has not asked for this plugin
		}
		a.annotations[k] = value
	}
	for _, k := range want.OptionalServiceAccountAnnotationKeys {
		if value, has := sa.Annotations[k]; has {
			a.annotations[k] = value
		}
	}
	if a.token, err = ps.accounts.Token(ctx, p, want.ServiceAccountTokenAudience); err != nil {
		return a, false, fmt.Errorf("cannot get a token of service account %s/%s: %w", p.Namespace, p.Spec.ServiceAccountName, err)
	}
	a.owner = &Owner{Namespace: p.Namespace, Name: sa.Name, UID: string(sa.UID)}
	a.key = fmt.Sprintf("%q %q", *a.owner, a.annotations)
	if want.CacheType == kubelet.TokenServiceAccountTokenCacheType {
		a.key += fmt.Sprintf(" %x", sha256.Sum256([]byte(a.token)))
	}
	return a, true, nil
}

// plugin is one credential provider, and what it has answered.
type plugin struct {
	cfg     kubelet.CredentialProvider
	program program

	mu     sync.Mutex
	cache  map[string]answer
	asking map[string]chan struct{} // closed when who asks for the same has its answer
}

type answer struct {
	auth    map[string]credentialprovider.AuthConfig
	expires time.Time
}

// get answers from memory, or runs the program: once for those who ask the same at the same time.
func (pl *plugin) get(ctx context.Context, i image, a account, now func() time.Time) (map[string]credentialprovider.AuthConfig, error) {
	flight := a.key + "|" + a.token + "|" + i.domain + "/" + i.repository
	for {
		pl.mu.Lock()
		if auth, ok := pl.remembered(i, a, now()); ok {
			pl.mu.Unlock()
			return auth, nil
		}
		other := pl.asking[flight]
		if other == nil {
			mine := make(chan struct{})
			pl.asking[flight] = mine
			pl.mu.Unlock()
			defer func() {
				pl.mu.Lock()
				delete(pl.asking, flight)
				pl.mu.Unlock()
				close(mine)
			}()
			return pl.run(ctx, i, a, now)
		}
		pl.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// remembered looks under every scope that an answer may have. The caller holds the lock.
func (pl *plugin) remembered(i image, a account, now time.Time) (map[string]credentialprovider.AuthConfig, bool) {
	maps.DeleteFunc(pl.cache, func(_ string, r answer) bool { return !now.Before(r.expires) })
	for _, scope := range scopes(i) {
		if r, ok := pl.cache[scope+"|"+a.key]; ok {
			return r.auth, true
		}
	}
	return nil, false
}

// scopes are what an answer may be for, the narrowest first.
func scopes(i image) []string {
	return []string{"image " + i.domain + "/" + i.repository, "registry " + i.domain, "global"}
}

func (pl *plugin) run(ctx context.Context, i image, a account, now func() time.Time) (map[string]credentialprovider.AuthConfig, error) {
	r, err := pl.program.run(ctx, &credentialprovider.CredentialProviderRequest{
		Image: i.domain + "/" + i.repository, ServiceAccountToken: a.token, ServiceAccountAnnotations: a.annotations,
	})
	if err != nil {
		return nil, err
	}
	var scope string
	switch all := scopes(i); r.CacheKeyType {
	case credentialprovider.ImagePluginCacheKeyType:
		scope = all[0]
	case credentialprovider.RegistryPluginCacheKeyType:
		scope = all[1]
	case credentialprovider.GlobalPluginCacheKeyType:
		scope = all[2]
	default:
		return nil, fmt.Errorf("its answer has the cacheKeyType %q, which is none of Image, Registry, Global", r.CacheKeyType)
	}
	keep := pl.cfg.DefaultCacheDuration.Duration
	if r.CacheDuration != nil {
		keep = r.CacheDuration.Duration
	}
	if keep > 0 {
		pl.mu.Lock()
		defer pl.mu.Unlock()
		pl.cache[scope+"|"+a.key] = answer{r.Auth, now().Add(keep)}
	}
	return r.Auth, nil
}
