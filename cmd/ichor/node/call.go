package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ichor/config"
	"ichor/reporting/deliver"
	"ichor/reporting/deliver/stow"
	"ichor/scp/dimse"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

// OpenCredentials reads the files of dicom.tls. Without any there are none, unless a destination is called over TLS:
// then the authorities of the system are trusted.
func OpenCredentials(c config.Config, log *slog.Logger) (*secure.Credentials, error) {
	t := c.DICOM.TLS
	called := slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return d.TLS }) ||
		slices.ContainsFunc(c.DICOM.Peers, func(p config.Peer) bool { return p.TLS })
	if t.Certificate == "" && t.CA == "" && !called {
		return nil, nil
	}
	credentials, err := secure.Open(secure.Files{Certificate: t.Certificate, Key: t.Key, CA: t.CA, CRL: t.CRL}, log)
	if err != nil {
		return nil, fmt.Errorf("dicom.tls: %w", err)
	}
	return credentials, nil
}

// dial calls a destination: over TLS and with a user identity where that is set for it, or a DICOMweb service.
func (n *Node) dial(ctx context.Context, to deliver.Destination, o dimse.ConnectOptions) (deliver.Peer, error) {
	i := slices.IndexFunc(n.config.Destinations, func(d config.Destination) bool { return d.Name == to.Name })
	if i < 0 {
		return nil, fmt.Errorf("destination %q is not in the configuration", to.Name)
	}
	d := n.config.Destinations[i]
	if d.URL != "" {
		return dicomweb(d)
	}
	if d.TLS {
		o.TLS = n.credentials.Client(d.ServerName)
	}
	o.Identity = Identity(d)
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	return scu, nil
}

// dicomweb is the client of a DICOMweb service, its files read anew.
func dicomweb(d config.Destination) (*stow.Client, error) {
	o := stow.Options{URL: d.URL}
	switch {
	case d.TokenFile != "":
		o.Authorization = stow.Bearer(d.TokenFile)
	case d.PasswordFile != "":
		o.Authorization = stow.Basic(d.PasswordFile)
	}
	if strings.HasPrefix(d.URL, "https:") {
		c, err := secure.Open(secure.Files{CA: d.CA}, nil)
		if err != nil {
			return nil, err
		}
		o.TLS = c.Client(d.ServerName)
	}
	return stow.New(o)
}

// Probe asks a DICOMweb service whether it would accept objects from us.
func Probe(ctx context.Context, d config.Destination) error {
	c, err := dicomweb(d)
	if err != nil {
		return err
	}
	return errors.Join(c.Probe(ctx), c.Release(ctx))
}

// Identity is the user identity for a destination, nil for none.
func Identity(d config.Destination) *ul.UserIdentity {
	switch {
	case d.Username == "":
		return nil
	case d.Passcode == "":
		return &ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte(d.Username)}
	}
	return &ul.UserIdentity{Type: ul.IdentityPasscode, Primary: []byte(d.Username), Secondary: []byte(d.Passcode)}
}

// expiries says how long the certificates in use are good: for health and metrics.
func (n *Node) expiries() []secure.Expiry {
	if n.credentials == nil {
		return nil
	}
	return n.credentials.Expiries()
}

// expired returns what to do about a certificate that is not valid now.
func (n *Node) expired(now time.Time) error {
	for _, e := range n.expiries() {
		if e.List { // an old revocation list is better than none, and than a node that accepts nothing
			continue
		}
		if _, err := e.Check(now); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}
