package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// FileError is a file with which TLS cannot work, and what to do: a fault of the configuration. Its text is one line.
type FileError struct{ err error }

func (e *FileError) Error() string { return e.err.Error() }

func (e *FileError) Unwrap() error { return e.err }

// cannotRead says what to do about a file that cannot be opened.
func cannotRead(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s; correct the path, or put the file there", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: this user may not read it; make it readable for the user of the service", path)
	}
	return fmt.Errorf("%s: %w; check the file and its disk", path, err)
}

// pair reads a certificate with its key.
func (f Files) pair() (p tls.Certificate, err error) {
	certificate, err := os.ReadFile(f.Certificate)
	if err != nil {
		return p, cannotRead(f.Certificate, err)
	}
	if f.Key == "" {
		return p, fmt.Errorf("certificate %s has no key; name the file of its private key", f.Certificate)
	}
	key, err := os.ReadFile(f.Key)
	if err != nil {
		return p, cannotRead(f.Key, err)
	}
	block, _ := pem.Decode(certificate)
	if block != nil {
		_, err = x509.ParseCertificate(block.Bytes)
	}
	if block == nil || block.Type != "CERTIFICATE" || err != nil {
		return p, fmt.Errorf("%s contains no whole certificate; it must be a PEM file with BEGIN CERTIFICATE and END CERTIFICATE lines: copy it again", f.Certificate)
	}
	p, err = tls.X509KeyPair(certificate, key)
	switch block, _ := pem.Decode(key); {
	case err == nil:
		return p, nil
	case strings.Contains(err.Error(), "does not match"):
		return p, fmt.Errorf("key %s does not belong to certificate %s; name the key with which the certificate was requested", f.Key, f.Certificate)
	case block != nil && (strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != ""):
		return p, fmt.Errorf("key %s is encrypted; decrypt it with 'openssl pkey -in %s -out NEW'", f.Key, f.Key)
	}
	return p, fmt.Errorf("%s contains no whole private key; it must be a PEM file with BEGIN PRIVATE KEY and END PRIVATE KEY lines: copy it again", f.Key)
}
