package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"ichor/config"
	"ichor/reporting/deliver"
	"ichor/scp/dimse"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

// openCredentials reads the files of dicom.tls. Without any there are none, unless a destination is called over TLS:
// then the authorities of the system are trusted.
func openCredentials(c config.Config, log *slog.Logger) (*secure.Credentials, error) {
	t := c.DICOM.TLS
	called := slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return d.TLS })
	if t.Certificate == "" && t.CA == "" && !called {
		return nil, nil
	}
	credentials, err := secure.Open(secure.Files{Certificate: t.Certificate, Key: t.Key, CA: t.CA}, log)
	if err != nil {
		return nil, fmt.Errorf("dicom.tls: %w", err)
	}
	return credentials, nil
}

// dial calls a destination, over TLS and with a user identity where that is set for it.
func (n *node) dial(ctx context.Context, o dimse.ConnectOptions) (deliver.Peer, error) {
	for _, d := range n.config.Destinations {
		if d.Address != o.Address || d.AETitle != o.CalledAE {
			continue
		}
		if d.TLS {
			o.TLS = n.credentials.Client(d.ServerName)
		}
		o.Identity = identity(d)
	}
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	return scu, nil
}

// identity is the user identity for a destination, nil for none.
func identity(d config.Destination) *ul.UserIdentity {
	switch {
	case d.Username == "":
		return nil
	case d.Passcode == "":
		return &ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte(d.Username)}
	}
	return &ul.UserIdentity{Type: ul.IdentityPasscode, Primary: []byte(d.Username), Secondary: []byte(d.Passcode)}
}

// expiries says how long the certificates in use are good: for health and metrics.
func (n *node) expiries() []secure.Expiry {
	if n.credentials == nil {
		return nil
	}
	return n.credentials.Expiries()
}

// expired returns what to do about a certificate that is not valid now.
func (n *node) expired(now time.Time) error {
	for _, e := range n.expiries() {
		if _, err := e.Check(now); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}
