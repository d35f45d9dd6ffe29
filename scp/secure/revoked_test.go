package secure

import (
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/scp/scptest"
)

// TestRevoked: a certificate on the list is refused by both sides, with and without a reload; others are not.
func TestRevoked(t *testing.T) {
	t.Parallel()
	authority := scptest.NewAuthority(t)
	node, good, bad := authority.Valid("node"), authority.Valid("good"), authority.Valid("bad")
	tomorrow := time.Now().Add(24 * time.Hour)
	crl := authority.Revoke("list.pem", tomorrow, bad)
	c := open(t, Files{Certificate: node.File, Key: node.Key, CA: authority.CA, CRL: crl})
	client := func(shown scptest.Certificate) *Credentials {
		return open(t, Files{Certificate: shown.File, Key: shown.Key, CA: authority.CA})
	}
	if _, srv, cli := shake(t, c.Server(true), client(good).Client("localhost")); srv != nil || cli != nil {
		t.Errorf("a good one: %v, %v", srv, cli)
	}
	for _, mutual := range []bool{true, false} {
		if _, srv, _ := shake(t, c.Server(mutual), client(bad).Client("localhost")); !errors.Is(srv, ErrRevoked) {
			t.Errorf("a revoked one, mutual %v: %v", mutual, srv)
		}
	}
	if _, _, cli := shake(t, client(bad).Server(false), c.Client("localhost")); !errors.Is(cli, ErrRevoked) {
		t.Errorf("a revoked server: %v", cli)
	}
	if _, _, cli := shake(t, client(good).Server(false), c.Client("localhost")); cli != nil {
		t.Errorf("a good server: %v", cli)
	}
	authority.Revoke("list.pem", tomorrow.Add(time.Hour), good, bad)
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(crl, later, later); err != nil {
		t.Fatal(err)
	}
	if _, srv, _ := shake(t, c.Server(true), client(good).Client("localhost")); !errors.Is(srv, ErrRevoked) {
		t.Errorf("revoked since: %v", srv)
	}
	list := c.Expiries()[2]
	if text, err := list.Check(time.Now()); err != nil || !list.List || !strings.Contains(text, "next revocation list is due on "+tomorrow.Add(time.Hour).UTC().Format(time.DateOnly)) {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := list.Check(time.Now().AddDate(0, 0, 9)); err == nil || !strings.Contains(err.Error(), "was due") {
		t.Errorf("an old list: %v", err)
	}
	// DER, as authorities publish it.
	text, err := os.ReadFile(crl)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	der := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(der, block.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, srv, _ := shake(t, open(t, Files{Certificate: node.File, Key: node.Key, CA: authority.CA, CRL: der}).Server(true), client(bad).Client("localhost")); !errors.Is(srv, ErrRevoked) {
		t.Errorf("a list in DER: %v", srv)
	}
}

func TestListsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	authority, another := scptest.NewAuthority(t), scptest.NewAuthority(t)
	foreign := another.Revoke("list.pem", time.Now().Add(time.Hour))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]Files{
		"CA file":          {CRL: foreign},
		"is not signed":    {CA: authority.CA, CRL: foreign}, // both authorities have one name
		"there is no file": {CA: authority.CA, CRL: "none.pem"},
		"contains no":      {CA: authority.CA, CRL: empty},
	} {
		if _, err := Open(f, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
