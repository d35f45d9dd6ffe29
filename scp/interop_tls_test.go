package scp

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/secure"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// TestDCMTKOverTLS: echoscu and storescu with certificates, in TLS 1.2 and 1.3 whatever their OpenSSL chooses.
func TestDCMTKOverTLS(t *testing.T) {
	echoscu, storescu := tool(t, "echoscu"), tool(t, "storescu")
	authority, stranger := scptest.NewAuthority(t), scptest.NewAuthority(t)
	node, scanner, other := authority.Valid("node"), authority.Valid("scanner"), stranger.Valid("other")
	files, _ := files(t, 3, 200_000)
	a := serveTLS(t, Options{DrainTimeout: 5 * time.Second, Peers: []Peer{
		{AETitle: "STORESCU", Certificates: []string{"scanner"}}, {AETitle: "ECHOSCU", Certificates: []string{"scanner"}},
	}}, spool.Options{}, open(t, secure.Files{Certificate: node.File, Key: node.Key, CA: authority.CA}).Server(true))
	host, port, _ := net.SplitHostPort(a.address)
	with := func(c scptest.Certificate, args ...string) []string {
		return append(append([]string{"-v", "-aec", "ICHOR", "+tls", c.Key, c.File, "+cf", authority.CA}, args...), host, port)
	}
	for name, c := range map[string]struct {
		program string
		args    []string
		fails   string // in the output; empty: it succeeds
	}{
		"echo":                      {echoscu, with(scanner), ""},
		"echo, repeated":            {echoscu, with(scanner, "--repeat", "3", "-pdu", "4096"), ""},
		"echo, aborted":             {echoscu, with(scanner, "--abort"), ""},
		"downgrading profile":       {echoscu, with(scanner, "+px"), ""},
		"extended profile":          {echoscu, with(scanner, "+pz"), ""},
		"unencrypted profile":       {echoscu, with(scanner, "+pn"), "handshake failure"},
		"no authenticated one":      {echoscu, with(scanner, "+pa", "+cs", "TLS_RSA_WITH_AES_128_CBC_SHA"), "handshake failure"},
		"certificate of a stranger": {echoscu, with(other), "Failed"},
		"without TLS":               {echoscu, []string{"-v", host, port}, "Failed"},
		"store":                     {storescu, append(with(scanner, "+sd", "-pdu", "16384"), files), ""},
	} {
		out, err := command(t, c.program, c.args...)
		if (err == nil) != (c.fails == "") || !strings.Contains(out, c.fails) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	a.stop()
	if n := len(a.spool.Study("1.2.826.0.99.1")); n != 3 {
		t.Errorf("%d objects", n)
	}
	for _, why := range []string{"plain DICOM on the TLS port", "not signed by an authority of our CA file", "no TLS version or cipher suite in common"} {
		if !strings.Contains(a.log.String(), why) {
			t.Errorf("no %q in the log:\n%s", why, a.log)
		}
	}
}

// TestPynetdicomOverTLS: a sender with certificate, user identity, window and roles.
func TestPynetdicomOverTLS(t *testing.T) {
	py := python(t)
	authority := scptest.NewAuthority(t)
	node, peer := authority.Valid("node"), authority.Valid("pynetdicom")
	_, paths := files(t, 1, 100_000)
	server := open(t, secure.Files{Certificate: node.File, Key: node.Key, CA: authority.CA})
	a := serveTLS(t, Options{Peers: []Peer{{
		AETitle: "PYNETDICOM", Certificates: []string{"pynetdicom"}, Username: "ct", Passcode: "secret",
	}}}, spool.Options{}, server.Server(true))
	host, port, _ := net.SplitHostPort(a.address)
	for passcode, want := range map[string]string{
		"secret": "0000\n0000\nwindow 1 1\nidentity confirmed\nrole True False",
		"wrong":  "not associated",
	} {
		out, err := command(t, py, "testdata/secure_send.py", host, port, authority.CA, peer.File, peer.Key, "ct", passcode, paths[0])
		if err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%s: %v\n%s\nwant %s", passcode, err, out, want)
		}
	}
	if a.stop(); t.Failed() || !strings.Contains(a.log.String(), "(source 2, reason 1): username or passcode is wrong") {
		t.Errorf("the log of the node:\n%s", a.log)
	}
}

// TestPynetdicomReceivesOverTLS: a receiver that wants a certificate and a user identity.
func TestPynetdicomReceivesOverTLS(t *testing.T) {
	py := python(t)
	authority := scptest.NewAuthority(t)
	own, theirs := authority.Valid("node"), authority.Valid("pynetdicom")
	cmd := exec.Command(py, "testdata/secure_receive.py", authority.CA, theirs.File, theirs.Key, "node", "secret")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatal("no port")
	}
	ts := dcm.ExplicitVRLittleEndian
	o := dimse.ConnectOptions{
		Address: "127.0.0.1:" + lines.Text(), CallingAE: "ICHOR", CalledAE: "PYNETDICOM",
		TLS:      open(t, secure.Files{Certificate: own.File, Key: own.Key, CA: authority.CA}).Client("localhost"),
		Identity: &ul.UserIdentity{Type: ul.IdentityPasscode, Respond: true, Primary: []byte("node"), Secondary: []byte("secret")},
		Contexts: []ul.ProposedContext{{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{ts}}},
	}
	s := connect(t, o)
	if _, err := s.Store(t.Context(), request("1.2.3", ct(t, "1.2.3", 100_000, ts), ts)); err != nil {
		t.Error(err)
	}
	if err := s.Release(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"stored 1.2.3", "released"} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("%q, want %q", lines.Text(), want)
		}
	}
	o.Identity = &ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte("node")}
	var r *ul.RejectError
	if _, err := dimse.Connect(t.Context(), o); !errors.As(err, &r) {
		t.Errorf("another identity: %v", err)
	}
	o.TLS = nil
	if _, err := dimse.Connect(t.Context(), o); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("without TLS: %v", err)
	}
}
