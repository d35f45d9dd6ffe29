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

// Peer is a node that may call. All that is set must be met. A title may have several entries; one that fits will do.
type Peer struct {
	AETitle  string
	Prefixes []netip.Prefix // where it calls from; empty: anywhere
	// Certificates it may show by TLS, each as "sha256:" and the fingerprint, as a whole subject ("CN=pacs,O=Clinic"),
	// or as a name that must be the common name, a DNS name or an address of the certificate. Empty: none is asked for.
	Certificates []string
	// Username and Passcode that it must give as user identity (PS3.7 §D.3.3.7). Empty: none is asked for. A passcode
	// needs a username.
	Username, Passcode string
	MaxAssociations    int // at a time; 0: Options.MaxPerPeer
	// Listens says that it takes the results of Storage Commitment on associations that we open. Otherwise they go over
	// the one on which it asked.
	Listens bool
}

func (p *Peer) check() error {
	switch {
	case p.AETitle == "" || len(p.AETitle) > 16:
		return fmt.Errorf("peer AE title %q: give 1 to 16 characters", p.AETitle)
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

// fingerprint reads hex digits, with or without colons; nil if they are none.
func fingerprint(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil {
		return nil
	}
	return b
}

// shows reports whether cert is one of the certificates of the peer.
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

// named reports whether a certificate is for a name: exactly, for a wildcard is no identity.
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

// at reports whether the peer may call from an address.
func (p *Peer) at(a netip.Addr) bool {
	for _, x := range p.Prefixes {
		if x.Contains(a) {
			return true
		}
	}
	return len(p.Prefixes) == 0
}

// identified compares the user identity of a request with what the peer must give; why is empty if it fits. Tickets,
// assertions and tokens cannot be verified here, so they do not.
func (p *Peer) identified(u *ul.UserIdentity) (why string) {
	same := func(got []byte, want string) bool { return subtle.ConstantTimeCompare(got, []byte(want)) == 1 }
	switch {
	case p.Username == "":
		return ""
	case u == nil:
		return "no user identity was offered, its entry asks for one"
	case u.Type != ul.IdentityUsername && u.Type != ul.IdentityPasscode:
		return "a " + u.Name() + " was offered, only username and passcode can be verified"
	case p.Passcode != "" && u.Type != ul.IdentityPasscode:
		return "a username was offered without the passcode that its entry asks for"
	}
	// Both are compared whatever comes of the first: the time taken tells nothing.
	name, pass := same(u.Primary, p.Username), p.Passcode == "" || same(u.Secondary, p.Passcode)
	if !name || !pass {
		return "username or passcode is wrong"
	}
	return ""
}
