package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrRevoked is returned by a handshake if the authority has revoked the peer's certificate.
var ErrRevoked = errors.New("certificate was revoked by its authority")

// revoked maps issuer and serial number of revoked certificates (RFC 5280 §5) to the time of revocation.
type revoked map[string]time.Time

func number(issuer []byte, serial string) string { return string(issuer) + "\x00" + serial }

// revocations reads a file with revocation lists in PEM, or one in DER. Each must be signed by an authority in the CA file.
// The expiry is the earliest date on which a next list is due.
func revocations(path string, trusted []*x509.Certificate) (revoked, Expiry, error) {
	e := Expiry{File: path, List: true}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, e, cannotRead(path, err)
	}
	var lists [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "X509 CRL" {
			lists = append(lists, block.Bytes)
		}
	}
	if len(lists) == 0 {
		lists = [][]byte{text}
	}
	all := revoked{}
	for _, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, e, fmt.Errorf("%s contains no whole certificate revocation list in PEM or DER (%w); get the list again", path, err)
		}
		if err := signed(list, trusted); err != nil {
			return nil, e, fmt.Errorf("%s: %w", path, err)
		}
		if e.NotAfter.IsZero() || list.NextUpdate.Before(e.NotAfter) {
			e.NotBefore, e.NotAfter = list.ThisUpdate, list.NextUpdate
		}
		for _, entry := range list.RevokedCertificateEntries {
			all[number(list.RawIssuer, entry.SerialNumber.String())] = entry.RevocationTime
		}
	}
	return all, e, nil
}

func signed(list *x509.RevocationList, trusted []*x509.Certificate) error {
	why := errors.New("the issuer of a revocation list is not in the CA file; add it there")
	for _, authority := range trusted {
		if bytes.Equal(authority.RawSubject, list.RawIssuer) {
			err := list.CheckSignatureFrom(authority)
			if err == nil {
				return nil
			}
			why = fmt.Errorf("a revocation list is not signed by the authority in the CA file; get the list that belongs to it (%w)", err)
		}
	}
	return why
}

// verify refuses a connection if every chain from the certificate of the peer to an authority contains a revoked
// certificate. Connections without a verified certificate are not checked here.
func (r revoked) verify(c tls.ConnectionState) error {
	for _, chain := range c.VerifiedChains {
		good := true
		for _, cert := range chain {
			if _, bad := r[number(cert.RawIssuer, cert.SerialNumber.String())]; bad {
				good = false
			}
		}
		if good {
			return nil
		}
	}
	if len(c.VerifiedChains) > 0 {
		return ErrRevoked
	}
	return nil
}
