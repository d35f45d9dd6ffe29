package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/cmd/ichor/doctor"
	"ichor/config"
	"ichor/scp/scptest"
)

// overTLS is a node with a TLS port and no other.
func overTLS(t *testing.T, authority *scptest.Authority) config.Config {
	t.Helper()
	own := authority.Valid("node")
	c := testConfig(t)
	c.DICOM.Listen = ""
	c.DICOM.TLS = config.TLS{Listen: "127.0.0.1:0", Certificate: own.File, Key: own.Key, CA: authority.CA, RequireClient: true}
	c.DICOM.Peers = []config.Peer{{AETitle: "ROUTER", Certificates: []string{"router"}}}
	return c
}

// TestTLS calls a node over TLS by the commands, with the right certificate and with wrong ones.
func TestTLS(t *testing.T) {
	t.Parallel()
	authority := scptest.NewAuthority(t)
	n := startNode(t, overTLS(t, authority))
	router, other := authority.Valid("router"), authority.Valid("other")
	address := n.Addr()
	args := func(c scptest.Certificate) []string {
		return []string{address, "--calling", "ROUTER", "--tls", "--tls-ca", authority.CA, "--tls-certificate", c.File, "--tls-key", c.Key}
	}
	ok(t, append([]string{"echo"}, args(router)...)...)
	dir, _ := sampleStudy(t, "normal")
	ok(t, append([]string{"send", address, filepath.Join(dir, "CT0001.dcm")}, args(router)[1:]...)...)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"certificate of another": {args(other), 1, "calling AE title not recognized"},
		"no certificate":         {args(router)[:6], 1, "certificate"},
		"no TLS":                 {args(router)[:3], 1, "does it expect TLS"},
		"another authority":      {append(args(router)[:5:5], other.File), 1, "authority"},
		"another name":           {append(args(router), "--tls-name", "pacs"), 1, "another name"},
		"flags without --tls":    {[]string{address, "--tls-ca", authority.CA}, 2, "--tls"},
		"no such file":           {append(args(router)[:5:5], "none.pem"), 1, "none.pem"},
	} {
		code, _, stderr := command(t, append([]string{"echo"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: code %d, %s", name, code, stderr)
		}
	}
}

// TestCheckCertificates: what check tells the operator about certificates.
func TestCheckCertificates(t *testing.T) {
	authority := scptest.NewAuthority(t)
	c := overTLS(t, authority)
	old := authority.Issue("old", time.Now().Add(-time.Hour))
	c.DICOM.TLS.Certificate, c.DICOM.TLS.Key = old.File, old.Key
	said := map[string]string{}
	for _, l := range doctor.Examine(t.Context(), doctor.Options{Config: c, Offline: true}) {
		said[l.What+" "+string(l.Grade)] += l.Detail + "\n"
	}
	if !strings.Contains(said["certificate failed"], "expired on") || !strings.Contains(said["certificate warning"], "renew it soon") || said["dicom.tls.listen ok"] == "" {
		t.Errorf("check says %q", said)
	}
}

// TestPassedSockets starts the node as systemd does, with sockets that are open already.
func TestPassedSockets(t *testing.T) {
	authority := scptest.NewAuthority(t)
	own := authority.Valid("node")
	file := filepath.Join(t.TempDir(), "ichor.yaml")
	configure := func(listen, tlsListen string) {
		t.Helper()
		text := fmt.Sprintf("state: %s\ncanary: {start: false}\ndicom:\n  listen: %q\n  reserve_mib: 16\n  peers: [{ae_title: ICHOR-SCU}]\n"+
			"  tls: {listen: %q, certificate: %s, key: %s, ca: %s}\nhttp: {listen: ''}\nanalysis: {bundle: %s, library: %s}\n",
			t.TempDir(), listen, tlsListen, own.File, own.Key, authority.CA, shippedBundle(t), library(t))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := func() (*os.File, string) {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close(); ln.Close() })
		return f, ln.Addr().String()
	}
	plain, plainAddress := socket()
	second, secondAddress := socket()
	secured, securedAddress := socket()
	files := []*os.File{plain, second, secured}
	// LISTEN_PID must be that of the node, which the shell keeps.
	serve := func(names string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve --config "$1"`, binary, file)
		cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles = files
		return cmd
	}
	configure("systemd", "systemd")
	p := &process{t: t, make: func() *exec.Cmd { return serve("dicom:dicom:dicom-tls") }}
	p.start()
	ok(t, "echo", plainAddress)
	ok(t, "echo", secondAddress)
	peer := authority.Valid("peer")
	ok(t, "echo", securedAddress, "--tls", "--tls-ca", authority.CA, "--tls-certificate", peer.File, "--tls-key", peer.Key)
	p.kill()
	<-p.ended

	for _, c := range []struct{ name, names, listen, tlsListen, says string }{
		{"a socket that is not used", "dicom:dicom:dicom-tls", "systemd", "", `named "dicom-tls"`},
		{"a socket of no known name", "dicom:dicom:http", "systemd", "", `named "http"`},
		{"no socket of that name", "x:x:x", "systemd", "", "named dicom; run 'systemctl enable"},
	} {
		configure(c.listen, c.tlsListen)
		out, err := serve(c.names).CombinedOutput()
		if last := lastLine(string(out)); err == nil || !strings.Contains(last, c.says) {
			t.Errorf("%s: %v, %s", c.name, err, out)
		}
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
