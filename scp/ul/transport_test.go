package ul

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/scp/scptest"
)

// configs are a server that asks for certificates and a client that shows one.
func configs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	authority := scptest.NewAuthority(t)
	text, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	pair := func(name string) []tls.Certificate {
		c := authority.Valid(name)
		p, err := tls.LoadX509KeyPair(c.File, c.Key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	server = &tls.Config{Certificates: pair("node"), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return server, &tls.Config{Certificates: pair("peer"), RootCAs: pool}
}

// TestTLS: data both ways, release in order, and the certificate of the peer, for TLS 1.2 and 1.3.
func TestTLS(t *testing.T) {
	server, client := configs(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client.MaxVersion = version
		var got bytes.Buffer
		var name string
		address, result := node(t, Options{TLS: server}, func(a *Association) error {
			name = a.PeerCertificate().Subject.CommonName
			return gather(&got)(a)
		})
		a, _, err := Dial(t.Context(), address, proposal(), Options{TLS: client})
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("0123456789"), 50_000)
		if err := a.Send(1, []byte("cmd."), bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
		if err := a.Release(); err != nil {
			t.Error(err)
		}
		a.Close()
		if err := await(t, result); err != nil || got.String() != "cmd."+string(data) || name != "peer" {
			t.Errorf("%d bytes from %q, %v", got.Len(), name, err)
		}
	}
	if a, _ := in(Sta6, nil); a.PeerCertificate() != nil {
		t.Error("a certificate without TLS")
	}
}

// TestAbortUnderTLS: the peer hears of it through the encryption.
func TestAbortUnderTLS(t *testing.T) {
	server, client := configs(t)
	address, result := node(t, Options{TLS: server}, func(a *Association) error {
		a.Abort(errors.New("enough"))
		return nil
	})
	a, _, err := Dial(t.Context(), address, proposal(), Options{TLS: client})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var aborted *AbortError
	if _, err := a.Next(); !errors.As(err, &aborted) || aborted.Local {
		t.Errorf("got %v", err)
	}
	a.Close()
	if err := await(t, result); err != nil {
		t.Error(err)
	}
}

// TestWrongTransport plays what reaches a port by mistake. Each side says in one line what to set right.
func TestWrongTransport(t *testing.T) {
	server, client := configs(t)
	hello := scptest.Bytes(`16 03 01 { 01 00 0000 }`)
	nobody := &tls.Config{RootCAs: client.RootCAs}
	stranger := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: client.Certificates}
	for name, c := range map[string]struct {
		server *tls.Config // of the node, nil: plain
		raw    []byte      // from the peer; nil: an association request by Dial with client
		client *tls.Config
		node   string // in what the node says
		peer   string // in what Dial says
	}{
		"TLS on the plain port":       {nil, hello, nil, "TLS on the plain DICOM port", ""},
		"HTTP on the plain port":      {nil, []byte("GET / HTTP/1.1\r\n\r\n"), nil, "HTTP to the DICOM port", ""},
		"SSH on the plain port":       {nil, []byte("SSH-2.0-x\r\n"), nil, "SSH", ""},
		"plain on the TLS port":       {server, scptest.AssociateRQ, nil, "plain DICOM on the TLS port", ""},
		"HTTP on the TLS port":        {server, []byte("POST / HTTP/1.1\r\n\r\n"), nil, "HTTP to the DICOM port", ""},
		"noise on the TLS port":       {server, bytes.Repeat([]byte{0xA5}, 100), nil, "does not use TLS", ""},
		"Dial plain to the TLS port":  {server, nil, nil, "plain DICOM on the TLS port", "does it expect TLS on this port?"},
		"Dial TLS to the plain port":  {nil, nil, client, "TLS on the plain DICOM port", "does not speak TLS on this port"},
		"Dial without a certificate":  {server, nil, nobody, "presented no certificate", "certificate"},
		"Dial with another authority": {server, nil, stranger, "bad certificate", "add its authority"},
		"Dial by another name": {server, nil, &tls.Config{RootCAs: client.RootCAs, Certificates: client.Certificates, ServerName: "pacs"},
			"bad certificate", "is for another name"},
	} {
		t.Run(name, func(t *testing.T) {
			address, result := node(t, Options{TLS: c.server, Linger: time.Second}, nil)
			if c.raw != nil {
				p := scptest.Dial(t, address)
				p.Send(c.raw)
				_, _ = io.Copy(io.Discard, io.LimitReader(p.Conn, 10)) // A-ABORT or an alert
				p.Conn.Close()
			} else {
				_, _, err := Dial(t.Context(), address, proposal(), Options{TLS: c.client, ARTIM: 5 * time.Second})
				if err == nil || !strings.Contains(err.Error(), c.peer) || strings.Contains(err.Error(), "\n") {
					t.Errorf("peer says: %v", err)
				}
			}
			if err := await(t, result); !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), c.node) || strings.Contains(err.Error(), "\n") {
				t.Errorf("node says: %v", err)
			}
		})
	}
}

// TestHandshakeEnds: a peer that is silent, drips, or goes away in the middle of the handshake.
func TestHandshakeEnds(t *testing.T) {
	server, _ := configs(t)
	for name, c := range map[string]struct {
		send  []byte
		close bool
		want  error
	}{
		"silent":     {nil, false, ErrTimeout},
		"half":       {scptest.Bytes(`16 03 01 00FF 01 00 00FB`), false, ErrTimeout},
		"port check": {nil, true, ErrClosed},
	} {
		address, result := node(t, Options{TLS: server, ARTIM: 50 * time.Millisecond}, nil)
		p := scptest.Dial(t, address)
		p.Send(c.send)
		if c.close {
			p.Conn.Close()
		}
		if err := await(t, result); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDialHandshakeEnds: a peer that accepts the connection and says nothing, or hangs up.
func TestDialHandshakeEnds(t *testing.T) {
	_, client := configs(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	begin := time.Now()
	if _, _, err := Dial(t.Context(), ln.Addr().String(), proposal(), Options{TLS: client, ARTIM: 50 * time.Millisecond}); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("silent: %v", err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if _, _, err := Dial(t.Context(), ln.Addr().String(), proposal(), Options{TLS: client}); !errors.Is(err, ErrTransport) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("hangs up: %v", err)
	}
}
