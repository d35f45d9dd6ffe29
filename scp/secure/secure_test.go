package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/scp/scptest"
)

func open(t *testing.T, f Files) *Credentials {
	t.Helper()
	c, err := Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake runs a handshake over loopback and returns what each side says of it.
func shake(t *testing.T, server, client *tls.Config) (s *tls.Conn, srv, cli error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", ln.Addr().String(), client)
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // with TLS 1.3 a client hears of the refusal of its certificate here
			c.Close()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		done <- err
	}()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s = tls.Server(conn, server)
	srv = s.Handshake()
	if srv == nil {
		srv = s.CloseWrite()
	}
	cli = <-done
	conn.Close()
	return s, srv, cli
}

func TestProfile(t *testing.T) {
	t.Parallel()
	authority, stranger := scptest.NewAuthority(t), scptest.NewAuthority(t)
	node, peer, other := authority.Valid("node"), authority.Valid("peer"), stranger.Valid("other")
	old := authority.Issue("old", time.Now().Add(-time.Hour))
	server := open(t, Files{Certificate: node.File, Key: node.Key, CA: authority.CA})
	unsigned := open(t, Files{Certificate: node.File, Key: node.Key})
	client := func(c scptest.Certificate) *tls.Config {
		return open(t, Files{Certificate: c.File, Key: c.Key, CA: authority.CA}).Client("localhost")
	}
	nobody := open(t, Files{CA: authority.CA}).Client("localhost")
	with := func(c *tls.Config, f func(*tls.Config)) *tls.Config { c = c.Clone(); f(c); return c }
	for name, c := range map[string]struct {
		server, client *tls.Config
		ok             bool
	}{
		"mutual":                      {server.Server(true), client(peer), true},
		"no certificate":              {server.Server(true), nobody, false},
		"of another authority":        {server.Server(true), client(other), false},
		"expired":                     {server.Server(true), client(old), false},
		"one side only":               {server.Server(false), nobody, true},
		"shown although not asked":    {server.Server(false), client(other), false},
		"any, to be pinned":           {unsigned.Server(true), client(other), true},
		"any, but there must be one":  {unsigned.Server(true), nobody, false},
		"server of another authority": {open(t, Files{Certificate: other.File, Key: other.Key}).Server(false), nobody, false},
		"server of another name":      {server.Server(false), with(nobody, func(c *tls.Config) { c.ServerName = "elsewhere" }), false},
		"TLS 1.2":                     {server.Server(true), with(client(peer), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), true},
		"TLS 1.1":                     {server.Server(true), with(client(peer), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), false},
		"CBC": {server.Server(true), with(client(peer), func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}), false},
	} {
		conn, srv, cli := shake(t, c.server, c.client)
		if ok := srv == nil && cli == nil; ok != c.ok {
			t.Errorf("%s: server %v, client %v", name, srv, cli)
		}
		if c.ok && conn.ConnectionState().Version < tls.VersionTLS12 {
			t.Errorf("%s: %s", name, tls.VersionName(conn.ConnectionState().Version))
		}
	}
	// TLS 1.3 is chosen where both have it.
	if conn, _, _ := shake(t, server.Server(true), client(peer)); conn.ConnectionState().Version != tls.VersionTLS13 {
		t.Error(tls.VersionName(conn.ConnectionState().Version))
	}
}

func serial(t *testing.T, c *Credentials) string {
	t.Helper()
	conn, _, cli := shake(t, c.Server(false), &tls.Config{InsecureSkipVerify: true})
	if cli != nil {
		t.Fatal(cli)
	}
	_ = conn
	return c.current().certificate.Leaf.SerialNumber.String()
}

// TestReload replaces the files under a server: the next handshake has them, and half a replacement changes nothing.
func TestReload(t *testing.T) {
	t.Parallel()
	authority := scptest.NewAuthority(t)
	first, second := authority.Valid("first"), authority.Valid("second")
	var log bytes.Buffer
	c, err := Open(Files{Certificate: first.File, Key: first.Key, CA: authority.CA}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	replace := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		later := time.Now().Add(time.Minute)
		if err := errors.Join(err, os.Chtimes(to, later, later)); err != nil {
			t.Fatal(err)
		}
	}
	if got := serial(t, c); got != first.Leaf.SerialNumber.String() {
		t.Errorf("serves %s", got)
	}
	replace(second.File, first.File) // its key is still to come
	for range 3 {
		if got := serial(t, c); got != first.Leaf.SerialNumber.String() {
			t.Errorf("serves %s while the key is missing", got)
		}
	}
	if n := strings.Count(log.String(), "the previous ones stay"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	replace(second.Key, first.Key)
	if got := serial(t, c); got != second.Leaf.SerialNumber.String() {
		t.Errorf("serves %s after the renewal", got)
	}
	if err := os.Remove(first.Key); err != nil {
		t.Fatal(err)
	}
	if got := serial(t, c); got != second.Leaf.SerialNumber.String() {
		t.Errorf("serves %s without a file", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	a := scptest.NewAuthority(t)
	one, two := a.Valid("one"), a.Valid("two")
	cut := func(path string, keep int) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path+".cut", text[:min(keep, len(text))], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path + ".cut"
	}
	empty := one.File + ".empty"
	if err := os.WriteFile(empty, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		Files
		says string
	}{
		{"no key", Files{Certificate: one.File}, ""},
		{"no certificate", Files{Key: one.Key}, ""},
		{"missing file", Files{Certificate: one.File + "x", Key: one.Key}, "there is no file " + one.File + "x; correct the path"},
		{"missing key", Files{Certificate: one.File, Key: one.Key + "x"}, "there is no file " + one.Key + "x; correct the path"},
		{"key of another", Files{Certificate: one.File, Key: two.Key}, "does not belong to certificate " + one.File + "; name the key"},
		{"certificate cut", Files{Certificate: cut(one.File, 200), Key: one.Key}, "contains no whole certificate; it must be a PEM file"},
		{"key cut", Files{Certificate: one.File, Key: cut(two.Key, 60)}, "contains no whole private key; it must be a PEM file"},
		{"files exchanged", Files{Certificate: one.Key, Key: one.File}, "contains no whole certificate"},
		{"nothing signs", Files{Certificate: one.File, Key: one.Key, CA: empty}, "contains no certificate; it must"},
		{"no such signers", Files{Certificate: one.File, Key: one.Key, CA: a.CA + "x"}, "there is no file"},
		{"no whole list", Files{Certificate: one.File, Key: one.Key, CA: a.CA, CRL: empty}, "get the list again"},
	} {
		_, err := Open(c.Files, nil)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.says != "" && !errors.As(err, new(*FileError)) {
			t.Errorf("%s: no fault of a file: %v", c.name, err)
		}
	}
}

func TestExpiries(t *testing.T) {
	t.Parallel()
	a := scptest.NewAuthority(t)
	now := time.Now()
	soon := a.Issue("soon", now.Add(100*time.Hour))
	c := open(t, Files{Certificate: soon.File, Key: soon.Key, CA: a.CA})
	list := c.Expiries()
	if len(list) != 2 || list[0].File != soon.File || !list[0].NotAfter.Equal(soon.Leaf.NotAfter) || list[1].File != a.CA {
		t.Fatalf("%+v", list)
	}
	for when, want := range map[time.Time]string{
		now:                      "in 4 days",
		now.Add(101 * time.Hour): "expired",
		now.Add(-72 * time.Hour): "not valid before",
		now.Add(-47*time.Hour - time.Hour + time.Minute): "renew it soon",
	} {
		text, err := list[0].Check(when)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, want) {
			t.Errorf("%v: %q, want %q", when, text, want)
		}
	}
	if text, err := (Expiry{File: "x.pem", NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}).Check(now.Add(time.Hour)); err != nil || !strings.Contains(text, "valid until") {
		t.Errorf("%q, %v", text, err)
	}
}
