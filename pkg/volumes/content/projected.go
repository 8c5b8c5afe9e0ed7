package content

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/minikubelet/minikubelet/pkg/csi/hostfs"
)

func (s *Source) projected(ctx context.Context, p *v1.Pod, vol *v1.Volume, out hostfs.Files) error {
	def := vol.Projected.DefaultMode
	var errs []error
	for i := range vol.Projected.Sources {
		from := &vol.Projected.Sources[i]
		var err error
		switch {
		case from.ConfigMap != nil:
			err = s.configMap(ctx, p, out, keyed{from.ConfigMap.Name, from.ConfigMap.Items, from.ConfigMap.Optional, def})
		case from.Secret != nil:
			err = s.secret(ctx, p, out, keyed{from.Secret.Name, from.Secret.Items, from.Secret.Optional, def})
		case from.DownwardAPI != nil:
			err = s.downwardAPI(p, out, from.DownwardAPI.Items, def)
		case from.ServiceAccountToken != nil:
			err = s.serviceAccountToken(ctx, p, vol, from.ServiceAccountToken, out)
		case from.ClusterTrustBundle != nil:
			err = s.clusterTrustBundle(ctx, from.ClusterTrustBundle, def, out)
		case from.PodCertificate != nil:
			err = s.podCertificate(ctx, p, vol, i, out)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// token is a service account token in use.
type token struct {
	value string
	renew time.Time
}

// tokenKey tells the tokens of a pod apart: one volume may hold several, for several audiences.
type tokenKey struct {
	pod          types.UID
	volume, path string
}

// Forget drops what is kept of a pod's volume; "" is all of its volumes.
func (s *Source) Forget(uid types.UID, volume string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(k tokenKey, _ token) bool { return k.pod == uid && (volume == "" || k.volume == volume) })
}

func (s *Source) serviceAccountToken(ctx context.Context, p *v1.Pod, vol *v1.Volume, from *v1.ServiceAccountTokenProjection, out hostfs.Files) error {
	if s.cfg.Token == nil {
		return errors.New("cannot project a service account token: this node has no API server to ask for one (set automountServiceAccountToken: false)")
	}
	seconds := int64(3600)
	if from.ExpirationSeconds != nil {
		seconds = *from.ExpirationSeconds
	}
	t, err := s.token(ctx, p, tokenKey{p.UID, vol.Name, from.Path}, from.Audience, seconds)
	if err != nil {
		return fmt.Errorf("cannot get a token of service account %s: %w", FullName(p, p.Spec.ServiceAccountName), err)
	}
	return out.Add(from.Path, credential(p, []byte(t), vol.Projected.DefaultMode))
}

// podCertificate writes the key and the chain of one source, together or apart.
func (s *Source) podCertificate(ctx context.Context, p *v1.Pod, vol *v1.Volume, i int, out hostfs.Files) error {
	from, def := vol.Projected.Sources[i].PodCertificate, vol.Projected.DefaultMode
	if s.cfg.Certificate == nil {
		return errors.New("cannot project a certificate for the pod: this node has no API server to ask for one")
	}
	key, chain, err := s.cfg.Certificate(ctx, p, vol.Name, i, from)
	if err != nil {
		return fmt.Errorf("cannot get a certificate for the pod: %w", err)
	}
	for path, data := range map[string][]byte{
		from.CredentialBundlePath: slices.Concat(key, chain), from.KeyPath: key, from.CertificateChainPath: chain,
	} {
		if path == "" {
			continue
		}
		if err := out.Add(path, credential(p, data, def)); err != nil {
			return err
		}
	}
	return nil
}

// credential is a file that says who the pod is: its user or, by fsGroup, its group may read it.
func credential(p *v1.Pod, data []byte, def *int32) hostfs.File {
	f := hostfs.File{Data: data, Mode: mode(nil, def), UID: onlyUser(p)}
	if f.UID != nil || p.Spec.SecurityContext != nil && p.Spec.SecurityContext.FSGroup != nil {
		f.Mode = 0o600
	}
	return f
}

// token keeps a token until it is due for renewal.
func (s *Source) token(ctx context.Context, p *v1.Pod, key tokenKey, audience string, seconds int64) (string, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	old, ok := s.tokens[key]
	s.mu.Unlock()
	if ok && now.Before(old.renew) {
		return old.value, nil
	}
	value, expires, err := s.cfg.Token(ctx, p, audience, seconds)
	if err != nil {
		return "", err
	}
	life := min(expires.Sub(now)*4/5, 24*time.Hour)
	s.mu.Lock()
	s.tokens[key] = token{value, now.Add(life)}
	s.mu.Unlock()
	return value, nil
}

// onlyUser is the user that every container of a pod runs as, or nil when they differ or the image decides.
func onlyUser(p *v1.Pod) *int64 {
	var user *int64
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			u := runAsUser(p, &list[i])
			if u == nil || user != nil && *u != *user {
				return nil
			}
			user = u
		}
	}
	return user
}

func runAsUser(p *v1.Pod, c *v1.Container) *int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.SecurityContext.RunAsUser
	}
	if p.Spec.SecurityContext != nil {
		return p.Spec.SecurityContext.RunAsUser
	}
	return nil
}
