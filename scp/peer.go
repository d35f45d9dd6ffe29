package scp

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"ichor/scp/ul"
)

// Peer is a node that may connect. All fields that are set must match. A title may have several entries; one that matches
// is enough.
type Peer struct {
	AETitle  string
	Prefixes []netip.Prefix // addresses it may connect from; empty: any
	// Certificates are the TLS certificates it may present, each as "sha256:" and the fingerprint, as a whole subject
	// ("CN=pacs,O=Clinic"), or as a name: the common name, a DNS name or an address in the certificate. Empty: none is required.
	Certificates []string
	// Username and Passcode that it must send as user identity (PS3.7 §D.3.3.7). Empty: none is required. A passcode
	// needs a username.
	Username, Passcode string
	MaxAssociations    int // simultaneous; 0: Options.MaxPerPeer
	// Listens: send Storage Commitment results on associations that we open. Otherwise they are sent on the association of
	// the request.
	Listens bool
}

func (p *Peer) check() error {
	switch {
	case p.AETitle == "" || len(p.AETitle) > 16:
		return fmt.Errorf("peer AE title %q: must have 1 to 16 characters", p.AETitle)
	case p.Passcode != "" && p.Username == "":
		return fmt.Errorf("peer %s: a passcode needs a username", p.AETitle)
	}
	for _, c := range p.Certificates {
		if digest, ok := strings.CutPrefix(c, fingerprintPrefix); c == "" || ok && len(fingerprint(digest)) != sha256.Size {
			return fmt.Errorf("peer %s: certificate %q: write a name, a subject, or sha256: and 64 hex digits", p.AETitle, c)
		}
	}
	return nil
}

const fingerprintPrefix = "sha256:"

// fingerprint decodes hex digits, with or without colons; nil if s is not hexadecimal.
func fingerprint(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil {
		return nil
	}
	return b
}

// shows reports whether cert is one of the peer's certificates.
func (p *Peer) shows(cert *x509.Certificate) bool {
	for _, want := range p.Certificates {
		digest, pinned := strings.CutPrefix(want, fingerprintPrefix)
		switch {
		case pinned:
			sum := sha256.Sum256(cert.Raw)
			if subtle.ConstantTimeCompare(sum[:], fingerprint(digest)) == 1 {
				return true
			}
		case strings.Contains(want, "="):
			if cert.Subject.String() == want {
				return true
			}
		case named(cert, want):
			return true
		}
	}
	return false
}

// named reports whether a certificate contains exactly this name. Wildcards do not match: they do not identify one peer.
func named(cert *x509.Certificate, name string) bool {
	if strings.EqualFold(cert.Subject.CommonName, name) {
		return true
	}
	for _, dns := range cert.DNSNames {
		if strings.EqualFold(dns, name) {
			return true
		}
	}
	for _, ip := range cert.IPAddresses {
		if ip.String() == name {
			return true
		}
	}
	return false
}

// at reports whether the peer may connect from an address.
func (p *Peer) at(a netip.Addr) bool {
	for _, x := range p.Prefixes {
		if x.Contains(a) {
			return true
		}
	}
	return len(p.Prefixes) == 0
}

// identified compares the user identity in a request with the one the peer must send; why is empty if they match. Tickets,
// assertions and tokens cannot be verified here, so they never match.
func (p *Peer) identified(u *ul.UserIdentity) (why string) {
	same := func(got []byte, want string) bool { return subtle.ConstantTimeCompare(got, []byte(want)) == 1 }
	switch {
	case p.Username == "":
		return ""
	case u == nil:
		return "its entry in dicom.peers requires a user identity, but none was sent"
	case u.Type != ul.IdentityUsername && u.Type != ul.IdentityPasscode:
		return "a " + u.Name() + " was sent, but only username and passcode can be verified"
	case p.Passcode != "" && u.Type != ul.IdentityPasscode:
		return "its entry in dicom.peers requires a passcode, but only a username was sent"
	}
	// Always compare both, so that the time taken reveals nothing.
	name, pass := same(u.Primary, p.Username), p.Passcode == "" || same(u.Secondary, p.Passcode)
	if !name || !pass {
		return "username or passcode is wrong"
	}
	return ""
}
