// Package secure provides TLS for DICOM as in the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15
// §B.12): TLS 1.3, or TLS 1.2 with ephemeral keys and authenticated encryption. There is no fallback.
//
// It reads certificates from PEM files, and reads them again when the files change, so that a renewal needs no restart.
package secure

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files are the PEM files of one side of a connection: what it presents and what it trusts.
type Files struct {
	Certificate string // our chain, our own certificate first; a client may have none
	Key         string // its private key, not encrypted
	CA          string // authorities that sign the certificates of peers
	CRL         string // revocation lists of these authorities, PEM or DER; may be empty
}

// Credentials are the contents of Files, kept up to date. They are safe for concurrent use.
type Credentials struct {
	files  Files
	logger *slog.Logger

	mu     sync.Mutex
	loaded contents
	failed [4]stamp // changed files that could not be read, logged once
}

// contents are the contents of the files at one time.
type contents struct {
	stamps      [4]stamp
	certificate *tls.Certificate // nil: none
	authorities *x509.CertPool   // nil: none
	revoked     revoked          // nil: no list
	expiries    []Expiry
}

// stamp detects that a file has changed.
type stamp struct {
	size    int64
	changed time.Time
}

// Open reads the files. The error names the file and says what to do. If changed files cannot be read, this is logged and the
// previous ones stay in use. logger may be nil.
func Open(f Files, logger *slog.Logger) (*Credentials, error) {
	if (f.Certificate == "") != (f.Key == "") {
		return nil, errors.New("certificate and key: set both, or neither")
	}
	if f.CRL != "" && f.CA == "" {
		return nil, errors.New("revocation lists need a CA file with the authorities that sign them")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Credentials{files: f, logger: logger}
	stamps, err := f.stamps()
	if err == nil {
		c.loaded, err = f.load(stamps)
	}
	if err != nil {
		return nil, &FileError{err}
	}
	return c, nil
}

func (f Files) stamps() (s [4]stamp, err error) {
	for i, path := range []string{f.Certificate, f.Key, f.CA, f.CRL} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return s, cannotRead(path, err)
		}
		s[i] = stamp{info.Size(), info.ModTime()}
	}
	return s, nil
}

func (f Files) load(stamps [4]stamp) (contents, error) {
	c := contents{stamps: stamps}
	if f.Certificate != "" {
		pair, err := f.pair()
		if err != nil {
			return c, err
		}
		// RFC 9325 §4.5
		if key, ok := pair.Leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
			return c, fmt.Errorf("certificate %s has an RSA key of %d bits; create one with at least 2048", f.Certificate, key.N.BitLen())
		}
		c.certificate = &pair
		c.expiries = append(c.expiries, Expiry{File: f.Certificate, NotBefore: pair.Leaf.NotBefore, NotAfter: pair.Leaf.NotAfter})
	}
	if f.CA != "" {
		pool, trusted, expiry, err := authorities(f.CA)
		if err != nil {
			return c, err
		}
		c.authorities = pool
		c.expiries = append(c.expiries, expiry)
		if f.CRL != "" {
			if c.revoked, expiry, err = revocations(f.CRL, trusted); err != nil {
				return c, err
			}
			c.expiries = append(c.expiries, expiry)
		}
	}
	return c, nil
}

// authorities reads a file of certificates; the expiry is the earliest of them.
func authorities(path string) (_ *x509.CertPool, trusted []*x509.Certificate, _ Expiry, _ error) {
	e := Expiry{File: path}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, e, cannotRead(path, err)
	}
	pool := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, e, fmt.Errorf("%s contains a certificate that is not whole (%w); copy it again", path, err)
		}
		if e.NotAfter.IsZero() || cert.NotAfter.Before(e.NotAfter) {
			e.NotBefore, e.NotAfter = cert.NotBefore, cert.NotAfter
		}
		pool.AddCert(cert)
		trusted = append(trusted, cert)
	}
	if e.NotAfter.IsZero() {
		return nil, nil, e, fmt.Errorf("%s contains no certificate; it must be a PEM file with BEGIN CERTIFICATE lines", path)
	}
	return pool, trusted, e, nil
}

// current returns the current contents of the files, or the last ones that could be read.
func (c *Credentials) current() contents {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps, err := c.files.stamps()
	if err == nil && stamps == c.loaded.stamps {
		return c.loaded
	}
	var fresh contents
	if err == nil {
		fresh, err = c.files.load(stamps)
	}
	switch {
	case err == nil:
		c.loaded, c.failed = fresh, [4]stamp{}
		c.logger.Info("TLS certificates read again")
	case stamps != c.failed: // certificate and key are rarely replaced at the same instant; the next handshake tries again
		c.failed = stamps
		c.logger.Warn("changed TLS certificates cannot be used, the previous ones stay in use", "err", err)
	}
	return c.loaded
}

// suites are the TLS 1.2 cipher suites with ephemeral keys and authenticated encryption (RFC 9325 §4.2). All suites of
// TLS 1.3 have both.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

func (c contents) config() *tls.Config {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12, CipherSuites: suites,
		// Handshakes are short compared with associations; without tickets each one verifies the certificates.
		SessionTicketsDisabled: true,
	}
	if c.revoked != nil {
		t.VerifyConnection = c.revoked.verify
	}
	if c.certificate != nil {
		t.Certificates = []tls.Certificate{*c.certificate}
	}
	return t
}

// Server returns the TLS configuration of an acceptor. If mutual is set, every peer must present a certificate; otherwise a
// certificate is verified only if presented. It must be signed by an authority in the CA file. Without a CA file any
// certificate is accepted, and the caller must check its fingerprint.
func (c *Credentials) Server(mutual bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := c.current()
			t := now.config()
			t.ClientCAs = now.authorities
			switch {
			case mutual && now.authorities != nil:
				t.ClientAuth = tls.RequireAndVerifyClientCert
			case mutual:
				t.ClientAuth = tls.RequireAnyClientCert
			case now.authorities != nil:
				t.ClientAuth = tls.VerifyClientCertIfGiven
			}
			return t, nil
		},
	}
}

// Web returns the TLS configuration of a web server: our certificate, and none is asked of browsers.
func (c *Credentials) Web() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			t := c.current().config()
			t.VerifyConnection, t.NextProtos = nil, []string{"http/1.1"}
			return t, nil
		},
	}
}

// Client returns the current TLS configuration of a requestor; call it again for each connection. Without a CA file it trusts
// the authorities of the system. The certificate must contain serverName; empty: the host in the address.
func (c *Credentials) Client(serverName string) *tls.Config {
	now := c.current()
	t := now.config()
	t.RootCAs, t.ServerName = now.authorities, serverName
	return t
}

// Expiry is the validity of the certificates in a file.
type Expiry struct {
	File                string
	NotBefore, NotAfter time.Time
	List                bool // a revocation list: NotAfter is when the next list is due
}

// Expiries returns the validity of each file in use, for ichor check, health checks and metrics. For a CA file with several
// certificates, the first to expire counts.
func (c *Credentials) Expiries() []Expiry { return c.current().expiries }

// Check describes the validity to an operator. It returns an error if the certificate is not valid now.
func (e Expiry) Check(now time.Time) (string, error) {
	day := e.NotAfter.UTC().Format(time.DateOnly)
	left := e.NotAfter.Sub(now)
	switch {
	case e.List && left <= 0:
		return "", fmt.Errorf("%s: the next revocation list was due on %s; replace the file; a running node loads it automatically and uses the old list until then", e.File, day)
	case e.List:
		return fmt.Sprintf("%s: the next revocation list is due on %s", e.File, day), nil
	case left <= 0:
		return "", fmt.Errorf("%s expired on %s; renew it; a running node loads the new file automatically", e.File, day)
	case now.Before(e.NotBefore):
		return "", fmt.Errorf("%s is not valid before %s; check the clock", e.File, e.NotBefore.UTC().Format(time.DateTime))
	case left < 30*24*time.Hour:
		return fmt.Sprintf("%s expires on %s, in %d days; renew it soon", e.File, day, int(left.Hours()/24)), nil
	}
	return fmt.Sprintf("%s is valid until %s", e.File, day), nil
}
