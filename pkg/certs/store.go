package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/minikubelet/minikubelet/pkg/atomicfile"
)

// Store holds the generations of one certificate: Dir/Name-<date>.pem, with the key in the same file, and the link
// Dir/Name-current.pem, as kubelets have them. Files are 0600.
type Store struct {
	Dir  string // /var/lib/kubelet/pki
	Name string // kubelet-client, kubelet-server
}

// Current is the path of the link to the current certificate and key.
func (s Store) Current() string { return filepath.Join(s.Dir, s.Name+"-current.pem") }

// load reads the current certificate, with its Leaf. The error is fs.ErrNotExist where there is none yet.
func (s Store) load() (*tls.Certificate, error) {
	b, err := os.ReadFile(s.Current())
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate: %w", err)
	}
	c, err := parse(b, b)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w: remove it to ask for another", s.Current(), err)
	}
	return c, nil
}

func parse(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		c.Leaf, err = x509.ParseCertificate(c.Certificate[0])
	}
	return &c, err
}

// save makes a certificate (PEM) with its key the current one. The generation before it is kept, older ones go.
func (s Store) save(certPEM []byte, key *ecdsa.PrivateKey, now time.Time) (*tls.Certificate, error) {
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	c, err := s.put(certPEM, keyPEM, now)
	return c, errors.Join(err, remove(s.pending()))
}

// put is save of a key in PEM.
func (s Store) put(certPEM, keyPEM []byte, now time.Time) (*tls.Certificate, error) {
	c, err := parse(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate that was issued: %w", err)
	}
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of certificates: %w", err)
	}
	if err := atomicfile.Sweep(s.Dir, time.Minute); err != nil { // another store may be writing there
		return nil, err
	}
	before, _ := os.Readlink(s.Current())
	name := s.Name + "-" + now.UTC().Format("2006-01-02-15-04-05.000000") + ".pem"
	if err := os.WriteFile(filepath.Join(s.Dir, name), bytes.Join([][]byte{certPEM, keyPEM}, nil), 0o600); err != nil {
		return nil, fmt.Errorf("cannot keep the certificate: %w", err)
	}
	tmp := s.Current() + ".new"
	if err := remove(tmp); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Symlink(name, tmp), os.Rename(tmp, s.Current())); err != nil {
		return nil, fmt.Errorf("cannot make the certificate the current one: %w", err)
	}
	return c, s.trim(name, filepath.Base(before))
}

// trim removes the generations that are neither of these.
func (s Store) trim(keep ...string) error {
	all, err := filepath.Glob(filepath.Join(s.Dir, s.Name+"-[0-9]*.pem"))
	for _, f := range all {
		if base := filepath.Base(f); base != keep[0] && base != keep[1] {
			err = errors.Join(err, remove(f))
		}
	}
	return err
}

// pending is the key of a request that has no answer yet.
func (s Store) pending() string { return filepath.Join(s.Dir, s.Name+".key.tmp") }

// key returns the key of the request that has no answer yet, or makes one and keeps it.
func (s Store) key() (*ecdsa.PrivateKey, error) {
	if b, err := os.ReadFile(s.pending()); err == nil {
		if p, _ := pem.Decode(b); p != nil {
			if k, err := x509.ParseECPrivateKey(p.Bytes); err == nil {
				return k, nil
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the key of a signing request: %w", err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	b, err := encodeKey(k)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make the directory of certificates: %w", err)
	}
	if err := atomicfile.Write(s.pending(), b, 0o600, atomicfile.None); err != nil {
		return nil, fmt.Errorf("cannot keep the key of a signing request: %w", err)
	}
	return k, nil
}

// forget drops the key of a request: the next one is made with another.
func (s Store) forget() error { return remove(s.pending()) }

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("cannot encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
