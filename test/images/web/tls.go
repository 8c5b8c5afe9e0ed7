package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"time"
)

// serveTLS serves with a certificate of its own making, as containers do whose probes and hooks speak HTTPS. With -tls-http2-only
// it speaks HTTP/2 and nothing else.
func serveTLS(o options, h http.Handler) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	s := http.Server{Addr: o.tlsAddr, Handler: h, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	}}
	if o.print {
		s.TLSConfig.GetConfigForClient = printHello
	}
	if o.tlsOnly2 {
		s.Protocols = new(http.Protocols)
		s.Protocols.SetHTTP2(true)
	}
	return s.ListenAndServeTLS("", "")
}
