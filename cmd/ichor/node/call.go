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
	"ichor/scp"
	"ichor/scp/dimse"
	"ichor/scp/secure"
	"ichor/scp/ul"
)

// OpenCredentials reads the files of dicom.tls. It returns nil if none are set, unless a destination uses TLS: then the
// certificate authorities of the system are trusted.
func OpenCredentials(c config.Config, log *slog.Logger) (*secure.Credentials, error) {
	t := c.DICOM.TLS
	called := slices.ContainsFunc(c.Destinations, func(d config.Destination) bool { return d.TLS }) ||
		slices.ContainsFunc(c.DICOM.Peers, func(p config.Peer) bool { return p.TLS })
	called = called || c.Audit.Server != ""
	if t.Certificate == "" && t.CA == "" && !called {
		return nil, nil
	}
	credentials, err := secure.Open(secure.Files{Certificate: t.Certificate, Key: t.Key, CA: t.CA, CRL: t.CRL}, log)
	if err != nil {
		return nil, fmt.Errorf("dicom.tls: %w", err)
	}
	return credentials, nil
}

// sender is a configured peer that can be called back.
type sender struct {
	call  dimse.ConnectOptions
	count bool // it can be asked by C-FIND how many objects a study has
}

// look builds the lookup tables for destinations and senders.
func (n *Node) look() {
	n.destinations = map[string]config.Destination{}
	for _, d := range n.config.Destinations {
		n.destinations[d.Name] = d
	}
	n.lookUp(n.config)
}

// lookUp replaces the tables of peers.
func (n *Node) lookUp(c config.Config) {
	urgent := map[string]bool{}
	for _, p := range c.DICOM.Peers {
		urgent[p.AETitle] = urgent[p.AETitle] || p.Urgent
	}
	n.urgent.Store(&urgent)
	n.senders.Store(n.sendersOf(c))
}

// sendersOf returns the peers that can be called back, by AE title.
func (n *Node) sendersOf(c config.Config) *map[string]sender {
	senders := map[string]sender{}
	for _, p := range c.DICOM.Peers {
		s, known := senders[p.AETitle]
		if !known && p.Address != "" {
			s.call = dimse.ConnectOptions{Address: p.Address, CallingAE: n.config.DICOM.AETitle, CalledAE: p.AETitle}
			if p.TLS {
				s.call.TLS = n.credentials.Client("")
			}
		}
		s.count = s.count || p.Find
		if s.call.Address != "" {
			senders[p.AETitle] = s
		}
	}
	return &senders
}

// peerAddress returns how to connect to a peer; false if the configuration has no address for it.
func (n *Node) peerAddress(title string) (dimse.ConnectOptions, bool) {
	s, ok := (*n.senders.Load())[title]
	return s.call, ok
}

// newCallback connects Storage Commitment to the state and to delivery.
func (n *Node) newCallback() *scp.Callback {
	return scp.NewCallback(scp.CallbackOptions{
		Spool: n.spool, Promises: n.store, Address: n.peerAddress, Result: n.deliverer.Result,
		Retry: n.config.Delivery.FirstRetry, MaxAge: n.config.Delivery.MaxAge, Logger: n.log,
	})
}

// dial connects to a destination: a DICOM peer, with TLS and a user identity if configured, or a DICOMweb service.
func (n *Node) dial(ctx context.Context, to deliver.Destination, o dimse.ConnectOptions) (deliver.Peer, error) {
	d, ok := n.destinations[to.Name]
	switch {
	case to.Name == n.canary.destination():
		if o.Address = n.canary.address(); o.Address == "" {
			return nil, errors.New("no self-test is running")
		}
	case !ok:
		return nil, fmt.Errorf("destination %q is not in the configuration", to.Name)
	case d.URL != "":
		return dicomweb(d, o.Events)
	case d.TLS:
		o.TLS = n.credentials.Client(d.ServerName)
	}
	o.Identity = Identity(d)
	scu, err := dimse.Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	return scu, nil
}

// dicomweb returns a client for a DICOMweb service. It reads the credential files each time.
func dicomweb(d config.Destination, events func(dimse.Event) dimse.Status) (*stow.Client, error) {
	o := stow.Options{URL: d.URL, Events: events}
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
	c, err := dicomweb(d, nil)
	if err != nil {
		return err
	}
	return errors.Join(c.Probe(ctx), c.Release(ctx))
}

// Identity returns the user identity for a destination, nil for none.
func Identity(d config.Destination) *ul.UserIdentity {
	switch {
	case d.Username == "":
		return nil
	case d.Passcode == "":
		return &ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte(d.Username)}
	}
	return &ul.UserIdentity{Type: ul.IdentityPasscode, Primary: []byte(d.Username), Secondary: []byte(d.Passcode)}
}

// expiries returns when the certificates in use expire, for health checks and metrics.
func (n *Node) expiries() []secure.Expiry {
	if n.credentials == nil {
		return nil
	}
	return n.credentials.Expiries()
}

// expired returns what to do about a certificate that is not valid now.
func (n *Node) expired(now time.Time) error {
	for _, e := range n.expiries() {
		if e.List { // an outdated revocation list is better than none, and better than accepting nothing
			continue
		}
		if _, err := e.Check(now); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}
