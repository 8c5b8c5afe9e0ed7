package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA signs the certificates of one control plane. Its files are CertFile and KeyFile.
type CA struct {
	CertFile, KeyFile string

	e    *Env
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert says whom a certificate is for. Name and Groups are a client's user and groups; Hosts, names or addresses, are a
// server's.
type Cert struct {
	Name   string
	Groups []string
	Hosts  []string
	Life   time.Duration // from now, before it when negative; default a day
}

// KeyPair are the files of an issued certificate.
type KeyPair struct{ CertFile, KeyFile string }

// NewCA makes a certificate authority with its files in the directory dir of the Env.
func (e *Env) NewCA(dir string) *CA {
	e.t.Helper()
	ca := &CA{e: e, CertFile: e.Path(dir, "ca.crt"), KeyFile: e.Path(dir, "ca.key")}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "minikubelet test CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca.cert, ca.key = ca.sign(template, nil, nil, KeyPair{ca.CertFile, ca.KeyFile})
	return ca
}

// Issue makes a certificate for clients and servers, valid since an hour ago; its files stand beside the CA's.
func (ca *CA) Issue(file string, c Cert) KeyPair {
	ca.e.t.Helper()
	dir := filepath.Dir(ca.CertFile)
	pair := KeyPair{filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key")}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: c.Name, Organization: c.Groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if c.Life != 0 {
		template.NotAfter = time.Now().Add(c.Life)
	}
	for _, h := range c.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	ca.sign(template, ca.cert, ca.key, pair)
	return pair
}

// sign fills in what is the same in every certificate, and writes it and its key. Without a parent it signs itself.
func (ca *CA) sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, pair KeyPair) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.e.t.Helper()
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serial, err2 := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err := errors.Join(err1, err2); err != nil {
		ca.e.t.Fatalf("cannot make a key: %v", err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		ca.e.t.Fatalf("cannot sign a certificate: %v", err)
	}
	cert, err1 := x509.ParseCertificate(der)
	keyDER, err2 := x509.MarshalECPrivateKey(key)
	err = errors.Join(err1, err2,
		os.WriteFile(pair.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(pair.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600))
	if err != nil {
		ca.e.t.Fatalf("cannot write a certificate: %v", err)
	}
	return cert, key
}
