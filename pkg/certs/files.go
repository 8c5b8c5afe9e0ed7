package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files is a certificate and a pool of authorities from files that others replace. It looks whether they changed at most
// every few seconds, when somebody connects. What was replaced by something unusable is told, and the old goes on.
type Files[T any] struct {
	Paths []string
	Read  func(paths []string) (T, error)
	Log   *slog.Logger

	mu      sync.Mutex
	value   T
	stamps  []time.Time
	young   bool // a file was written so shortly before it was read that its time need not show the last write
	bad     bool // what stamps stand for is unusable
	checked time.Time
}

const (
	glance = 5 * time.Second
	tick   = time.Second // no clock of a filesystem is coarser
)

// Get returns what the files hold. It fails only when they never held anything usable.
func (f *Files[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stamps != nil && time.Since(f.checked) < glance {
		return f.value, nil
	}
	f.checked = time.Now()
	stamps := make([]time.Time, len(f.Paths))
	same, young := f.stamps != nil, false
	for i, p := range f.Paths {
		if info, err := os.Stat(p); err == nil {
			stamps[i] = info.ModTime()
		}
		same = same && stamps[i].Equal(f.stamps[i])
		young = young || f.checked.Sub(stamps[i]).Abs() < tick
	}
	if same && !f.young {
		return f.value, nil
	}
	v, err := f.Read(f.Paths)
	if err != nil && f.stamps == nil {
		return v, err
	}
	switch {
	case err != nil && !same:
		f.Log.Error("cannot use the new certificates: the old ones go on", "files", f.Paths, "err", err)
	case err == nil && (f.bad || f.stamps != nil && !same):
		f.Log.Info("certificates were replaced", "files", f.Paths)
	}
	if err == nil {
		f.value = v
	}
	f.stamps, f.young, f.bad = stamps, young, err != nil
	return f.value, nil
}

// ReadPair reads a certificate and its key.
func ReadPair(paths []string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(paths[0], paths[1])
	if err != nil {
		return nil, fmt.Errorf("cannot use the serving certificate: %w", err)
	}
	return &c, nil
}

// ReadPool reads the certificates of authorities.
func ReadPool(paths []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	b, err := os.ReadFile(paths[0])
	if err != nil {
		return nil, fmt.Errorf("cannot read authentication.x509.clientCAFile: %w", err)
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate: authentication.x509.clientCAFile wants one in PEM", paths[0])
	}
	return pool, nil
}
