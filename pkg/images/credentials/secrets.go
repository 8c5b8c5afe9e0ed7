package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/minikubelet/minikubelet/pkg/cri"
)

// entry is one entry of a Docker configuration file.
type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"` // base64 of username:password
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// dockerConfig is a Docker configuration file.
type dockerConfig struct {
	Auths map[string]entry `json:"auths"`
}

// FromSecrets returns the logins that pull secrets hold for an image. A secret that cannot be read is an error beside what
// the others hold.
func FromSecrets(name string, secrets []v1.Secret) ([]Login, error) {
	i, err := parse(name)
	if err != nil {
		return nil, err
	}
	var found []Login
	var errs []error
	for n := range secrets {
		s := &secrets[n]
		entries, err := readSecret(s)
		if err != nil {
			errs = append(errs, err)
		}
		logins, err := i.logins(entries, fmt.Sprintf("pull secret %s/%s", s.Namespace, s.Name))
		errs = append(errs, err)
		for _, l := range logins {
			l.Secret = &Owner{Namespace: s.Namespace, Name: s.Name, UID: string(s.UID)}
			found = append(found, l)
		}
	}
	return found, errors.Join(errs...)
}

// fromFile returns the logins that the node's own Docker configuration at path holds for an image: every pod may use
// them. A file that is not there holds none.
func fromFile(name, path string) ([]Login, error) {
	i, err := parse(name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the node's logins: %w", err)
	}
	var c dockerConfig
	if json.Unmarshal(b, &c) != nil { // the decoder's own error may quote the secret
		return nil, fmt.Errorf("cannot read the node's logins: %s is not valid JSON; write it with docker login", path)
	}
	return i.logins(c.Auths, path)
}

// logins are those of the entries that match the image.
func (i image) logins(entries map[string]entry, where string) ([]Login, error) {
	var found []Login
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if !i.matches(key) {
			continue
		}
		auth, err := entries[key].auth()
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot use %s for %s: %w", where, key, err))
			continue
		}
		found = append(found, Login{Auth: auth, key: bare(key)})
	}
	return found, errors.Join(errs...)
}

func readSecret(s *v1.Secret) (map[string]entry, error) {
	fail := func(key string) error {
		// The decoder's own error may quote the secret.
		return fmt.Errorf("cannot read pull secret %s/%s: key %s is missing or not valid JSON; create it with kubectl create secret docker-registry",
			s.Namespace, s.Name, key)
	}
	switch s.Type {
	case v1.SecretTypeDockerConfigJson:
		var f dockerConfig
		if json.Unmarshal(s.Data[v1.DockerConfigJsonKey], &f) != nil {
			return nil, fail(v1.DockerConfigJsonKey)
		}
		return f.Auths, nil
	case v1.SecretTypeDockercfg:
		var f map[string]entry
		if json.Unmarshal(s.Data[v1.DockerConfigKey], &f) != nil {
			return nil, fail(v1.DockerConfigKey)
		}
		return f, nil
	}
	return nil, fmt.Errorf("cannot use secret %s/%s for pulling: its type %q is neither %s nor %s",
		s.Namespace, s.Name, s.Type, v1.SecretTypeDockerConfigJson, v1.SecretTypeDockercfg)
}

func (e entry) auth() (cri.Auth, error) {
	a := cri.Auth{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		b, err := base64.StdEncoding.DecodeString(e.Auth)
		user, password, ok := strings.Cut(string(b), ":")
		if err != nil || !ok {
			return cri.Auth{}, errors.New("auth is not base64 of username:password")
		}
		a.Username, a.Password = user, strings.TrimRight(password, "\x00")
	}
	if a == (cri.Auth{}) {
		return a, errors.New("it holds no login")
	}
	return a, nil
}
