package node

import (
	"strings"
	"testing"
	"time"

	"ichor/config"
	"ichor/reporting/deliver"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/scptest"
	"ichor/scp/secure"
)

// overTLS is a node with a TLS port and no other.
func overTLS(authority *scptest.Authority) config.Config {
	own := authority.Valid("node")
	c := config.Default()
	c.DICOM.TLS = config.TLS{Listen: "127.0.0.1:0", Certificate: own.File, Key: own.Key, CA: authority.CA, RequireClient: true}
	return c
}

// TestDestinationOverTLS dials destinations as delivery does.
func TestDestinationOverTLS(t *testing.T) {
	authority := scptest.NewAuthority(t)
	pacs := authority.Valid("pacs")
	theirs, err := secure.Open(secure.Files{Certificate: pacs.File, Key: pacs.Key, CA: authority.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: t.TempDir(), TLS: theirs.Server(true)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := overTLS(authority)
	n := &Node{config: c}
	if n.credentials, err = OpenCredentials(c, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		config.Destination
		ok bool
	}{
		{config.Destination{TLS: true}, true},
		{config.Destination{TLS: true, ServerName: "pacs.example.org"}, true},
		{config.Destination{TLS: true, ServerName: "another.example.org"}, false},
		{config.Destination{}, false},
	} {
		d.Name, d.Address, d.AETitle = "pacs", r.Address(), "PACS"
		n.config.Destinations = []config.Destination{d.Destination}
		n.look()
		peer, err := n.dial(t.Context(), deliver.Destination{Name: d.Name}, dimse.ConnectOptions{
			Address: d.Address, CalledAE: d.AETitle, CallingAE: "ICHOR", Contexts: nil,
		})
		if (err == nil) != d.ok {
			t.Errorf("%+v: %v", d.Destination, err)
		}
		if err == nil {
			if err := peer.Release(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestExpired: a node is not ready with a certificate that expired.
func TestExpired(t *testing.T) {
	c := overTLS(scptest.NewAuthority(t))
	n := &Node{config: c}
	var err error
	if n.credentials, err = OpenCredentials(c, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.expired(time.Now()); err != nil {
		t.Error(err)
	}
	if err := n.expired(time.Now().Add(48 * time.Hour)); err == nil || !strings.Contains(err.Error(), "renew it") {
		t.Errorf("got %v", err)
	}
}
