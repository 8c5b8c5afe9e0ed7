package compare

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// tls is what the HTTPS API offers before anybody has asked for anything.
func (v *viewer) tls() (l Lines, err error) {
	dial := func(c *tls.Config) (tls.ConnectionState, error) {
		c.InsecureSkipVerify = true //nolint:gosec // it is looked at
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", fmt.Sprintf("%s:%d", v.env.NodeIP(), v.agent.Port), c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		return conn.ConnectionState(), conn.Close()
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		_, err := dial(&tls.Config{MinVersion: version, MaxVersion: version})
		l.add(tls.VersionName(version), err == nil)
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] >= tls.VersionTLS13 {
			continue
		}
		_, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		l.add("TLS 1.2 "+suite.Name, err == nil)
	}
	for _, curve := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
		_, err := dial(&tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{curve}})
		l.add("TLS 1.3 "+curve.String(), err == nil)
	}
	s, err := dial(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return l, err
	}
	l.add("ALPN", s.NegotiatedProtocol)
	if len(s.PeerCertificates) == 0 {
		return l, errors.New("there is no certificate")
	}
	c := s.PeerCertificates[0]
	l.add("certificate algorithm", fmt.Sprint(c.PublicKeyAlgorithm, " ", c.SignatureAlgorithm))
	l.add("certificates", len(s.PeerCertificates))
	l.add("certificate names", fmt.Sprint(c.DNSNames, c.IPAddresses))
	l.add("certificate usage", fmt.Sprint(c.KeyUsage, c.ExtKeyUsage, c.IsCA, c.BasicConstraintsValid))
	l.add("certificate days", int(time.Until(c.NotAfter).Hours()/24+.5))
	for i, n := range []string{c.Subject.String(), c.Issuer.String()} {
		l.add("certificate "+[]string{"subject", "issuer"}[i], withoutVersion(n))
	}
	return l, nil
}
