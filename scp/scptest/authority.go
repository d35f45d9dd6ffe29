package scptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for tests.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	CA   string // PEM file of its own certificate

	Addresses []net.IP // further addresses in the certificates that it signs
}

// Certificate is a certificate with its key, as PEM files.
type Certificate struct {
	File, Key string
	Leaf      *x509.Certificate
}

// NewAuthority creates an authority in a temporary folder of the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir()}
	c := a.make("authority", time.Now().Add(24*time.Hour))
	a.CA = c.File
	return a
}

// Issue signs a certificate for a name, localhost and 127.0.0.1, valid until notAfter, for clients and servers.
func (a *Authority) Issue(name string, notAfter time.Time) Certificate {
	a.t.Helper()
	return a.make(name, notAfter)
}

// Valid signs a certificate that is valid for a day.
func (a *Authority) Valid(name string) Certificate {
	a.t.Helper()
	return a.make(name, time.Now().Add(24*time.Hour))
}

// Revoke writes a revocation list of only these certificates to a PEM file.
func (a *Authority) Revoke(name string, nextUpdate time.Time, certificates ...Certificate) (path string) {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: nextUpdate}
	for _, c := range certificates {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	a.check(err)
	path = filepath.Join(a.dir, name)
	a.write(path, "X509 CRL", der)
	return path
}

// make signs a certificate; the first one is self-signed.
func (a *Authority) make(name string, notAfter time.Time) Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	a.check(err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"localhost", name + ".example.org"}, IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, a.Addresses...),
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		template.ExtKeyUsage, template.DNSNames, template.IPAddresses = nil, nil, nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	a.check(err)
	leaf, err := x509.ParseCertificate(der)
	a.check(err)
	if a.cert == nil {
		a.cert, a.key = leaf, key
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	c := Certificate{File: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key"), Leaf: leaf}
	a.write(c.File, "CERTIFICATE", der)
	a.write(c.Key, "PRIVATE KEY", private)
	return c
}

func (a *Authority) write(path, kind string, der []byte) {
	a.t.Helper()
	a.check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *Authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
