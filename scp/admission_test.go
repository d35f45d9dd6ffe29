package scp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
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

func open(t *testing.T, f secure.Files) *secure.Credentials {
	t.Helper()
	c, err := secure.Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPeerCertificates: a title belongs to the certificate that its entry names, on the TLS port and nowhere else.
func TestPeerCertificates(t *testing.T) {
	authority := scptest.NewAuthority(t)
	node, right, other := authority.Valid("node"), authority.Valid("right"), authority.Valid("other")
	sum := sha256.Sum256(right.Leaf.Raw)
	digest := hex.EncodeToString(sum[:])
	colons := strings.ToUpper(strings.Join(strings.Split(fmt.Sprintf("% x", sum), " "), ":"))
	server := open(t, secure.Files{Certificate: node.File, Key: node.Key, CA: authority.CA})
	for name, c := range map[string]struct {
		certificates []string
		show         *scptest.Certificate // nil: calls without TLS
		why          string               // in the log; empty: accepted
	}{
		"none asked for":       {nil, &other, ""},
		"none asked, no TLS":   {nil, nil, ""},
		"common name":          {[]string{"right"}, &right, ""},
		"DNS name":             {[]string{"RIGHT.example.org"}, &right, ""},
		"address":              {[]string{"127.0.0.1"}, &right, ""},
		"subject":              {[]string{"CN=right"}, &right, ""},
		"fingerprint":          {[]string{"sha256:" + digest}, &right, ""},
		"fingerprint, colons":  {[]string{"sha256:" + colons}, &right, ""},
		"one of two":           {[]string{"CN=nobody", "right"}, &right, ""},
		"another name":         {[]string{"right"}, &other, "the certificate presented"},
		"another subject":      {[]string{"CN=right"}, &other, "the certificate presented"},
		"another fingerprint":  {[]string{"sha256:" + digest}, &other, "the certificate presented"},
		"part of a name":       {[]string{"righ"}, &right, "the certificate presented"},
		"no TLS, so no certif": {[]string{"right"}, nil, "the caller presented none"},
	} {
		t.Run(name, func(t *testing.T) {
			secured := server.Server(true)
			if c.show == nil {
				secured = nil
			}
			a := serveTLS(t, Options{Peers: []Peer{{AETitle: "SCANNER", Certificates: c.certificates}}}, spool.Options{}, secured)
			o := options(a)
			if c.show != nil {
				o.TLS = open(t, secure.Files{Certificate: c.show.File, Key: c.show.Key, CA: authority.CA}).Client("")
			}
			expect(t, a, o, c.why, ul.RejectError{Result: 1, Source: 1, Reason: 3})
		})
	}
}

// expect calls a server: it accepts if why is empty, otherwise it rejects and its log says why.
func expect(t *testing.T, a *appliance, o dimse.ConnectOptions, why string, want ul.RejectError) {
	t.Helper()
	s, err := dimse.Connect(t.Context(), o)
	if why == "" {
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Echo(t.Context()), s.Release(t.Context())); err != nil {
			t.Error(err)
		}
		a.stop()
		if line := fmt.Sprintf(`msg="association accepted" assoc=1 peer=%s from=127.0.0.1 called=%s tls=%t`, o.CallingAE, o.CalledAE, o.TLS != nil); !strings.Contains(a.log.String(), line) {
			t.Errorf("no %q in the log:\n%s", line, a.log)
		}
		return
	}
	var r *ul.RejectError
	if !errors.As(err, &r) || *r != want {
		t.Errorf("got %v, want %v", err, &want)
	}
	a.stop()
	if !strings.Contains(a.log.String(), why) {
		t.Errorf("no %q in the log:\n%s", why, a.log)
	}
}

// TestUserIdentity (PS3.7 §D.3.3.7): what a peer must give, and how each offer is answered.
func TestUserIdentity(t *testing.T) {
	user := func(typ byte, primary, secondary string) *ul.UserIdentity {
		return &ul.UserIdentity{Type: typ, Respond: true, Primary: []byte(primary), Secondary: []byte(secondary)}
	}
	for name, c := range map[string]struct {
		username, passcode string // that the peer must give
		offer              *ul.UserIdentity
		why                string // empty: accepted
	}{
		"nothing asked, nothing offered": {"", "", nil, ""},
		"nothing asked, ticket ignored":  {"", "", user(3, "ticket", ""), ""},
		"username":                       {"ct", "", user(1, "ct", ""), ""},
		"username with a passcode":       {"ct", "", user(2, "ct", "any"), ""},
		"username and passcode":          {"ct", "pass", user(2, "ct", "pass"), ""},
		"nothing offered":                {"ct", "", nil, "requires a user identity"},
		"wrong username":                 {"ct", "", user(1, "mr", ""), "username or passcode is wrong"},
		"wrong passcode":                 {"ct", "pass", user(2, "ct", "Pass"), "username or passcode is wrong"},
		"passcode missing":               {"ct", "pass", user(1, "ct", ""), "requires a passcode"},
		"passcode in a username":         {"ct", "pass", user(1, "ct", "pass"), "requires a passcode"},
		"Kerberos":                       {"ct", "", user(3, "ct", ""), "Kerberos ticket"},
		"SAML":                           {"ct", "", user(4, "ct", ""), "SAML assertion"},
		"JSON web token":                 {"ct", "", user(5, "ct", ""), "JSON web token"},
		"unknown":                        {"ct", "", user(9, "ct", ""), "identity of type 9"},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, Options{Peers: []Peer{{AETitle: "SCANNER", Username: c.username, Passcode: c.passcode}}}, spool.Options{})
			o := options(a)
			o.Identity = c.offer
			expect(t, a, o, c.why, ul.RejectError{Result: 1, Source: 2, Reason: 1})
			a.stop()
			if strings.Contains(a.log.String(), "pass\"") || strings.Contains(a.log.String(), "=ct") {
				t.Errorf("the log tells what was given:\n%s", a.log)
			}
		})
	}
}

// TestAnswers looks at the acceptance itself: a positive response only to an identity that was verified, one operation
// at a time, and the roles.
func TestAnswers(t *testing.T) {
	for _, verified := range []bool{false, true} {
		peer := Peer{AETitle: "SCANNER"}
		if verified {
			peer.Username = "user"
		}
		a := serve(t, Options{Peers: []Peer{peer}}, spool.Options{})
		p := scptest.Dial(t, a.address)
		p.Send(scptest.AssociateRQ)
		ac := string(p.Expect(2))
		for item, want := range map[string]bool{
			string(scptest.Bytes(`59 00 {0000}`)):                                      verified,
			string(scptest.Bytes(`53 00 {0001 0001}`)):                                 true,
			string(scptest.Bytes(`54 00 {{"1.2.840.10008.5.1.4.1.1.2"} 01 00}`)):       true,
			string(scptest.Bytes(`21 00 {05 00 00 00 40 00 {"1.2.840.10008.1.2"}}`)):   true,
			string(scptest.Bytes(`21 00 {03 00 00 00 40 00 {"1.2.840.10008.1.2.1"}}`)): true,
			"\x56\x00": false,
			"\x57\x00": false,
			"\x58\x00": false,
		} {
			if strings.Contains(ac, item) != want {
				t.Errorf("verified %v: item % X there: %v\n% X", verified, item, !want, ac)
			}
		}
		p.Send(scptest.ReleaseRQ)
		p.Expect(6)
		p.Conn.Close()
	}
}

// TestPerPeer: one peer cannot take the places of another.
func TestPerPeer(t *testing.T) {
	a := serve(t, Options{MaxAssociations: 8, MaxPerPeer: 2, Peers: []Peer{
		{AETitle: "SCANNER"}, {AETitle: "ROUTER", MaxAssociations: 3},
	}}, spool.Options{})
	of := func(title string) dimse.ConnectOptions {
		o := options(a)
		o.CallingAE = title
		return o
	}
	local := ul.RejectError{Result: 2, Source: 3, Reason: 2}
	for title, n := range map[string]int{"SCANNER": 2, "ROUTER": 3} {
		for range n {
			connect(t, of(title))
		}
		_, err := dimse.Connect(t.Context(), of(title))
		var r *ul.RejectError
		if !errors.As(err, &r) || *r != local {
			t.Errorf("%s: %v", title, err)
		}
	}
	if n := a.server.Associations(); n != 5 {
		t.Errorf("%d associations", n)
	}
	a.stop()
	if n := a.server.Associations(); n != 0 {
		t.Errorf("%d associations after the end", n)
	}
	if text := a.log.String(); strings.Count(text, "all associations of this peer are in use") != 2 {
		t.Errorf("log:\n%s", text)
	}
}

// TestSilentConnections: more than wait at a time, and none of them keeps a sender from its association.
func TestSilentConnections(t *testing.T) {
	a := serve(t, Options{MaxAssociations: 2}, spool.Options{})
	for i := range maxWaiting + 50 {
		p := scptest.Dial(t, a.address)
		if i%2 == 0 {
			p.Send(scptest.AssociateRQ[:20])
		}
	}
	s := connect(t, options(a))
	if err := errors.Join(s.Echo(t.Context()), s.Release(t.Context())); err != nil {
		t.Error(err)
	}
	a.stop()
	if k := a.kinds(); k[Accepted] != 1 || k[Aborted] < 50 {
		t.Errorf("events %v", k)
	}
	if n := strings.Count(a.log.String(), "dropped idle connections"); n < 1 || n > 10 {
		t.Errorf("%d lines tell of dropped connections", n)
	}
}

// TestIdleAtShutdown: associations without a message on its way do not hold up the end, however long messages may take.
func TestIdleAtShutdown(t *testing.T) {
	a := serve(t, Options{DrainTimeout: time.Hour}, spool.Options{})
	idle := scptest.Dial(t, a.address)
	idle.Associate()
	half := scptest.Dial(t, a.address) // a command set that does not go on
	half.Associate()
	half.Send(scptest.EchoRQ[:20])
	silent := scptest.Dial(t, a.address)
	go a.stop()
	idle.Expect(7)
	half.Expect(7)
	silent.Expect(0)
	idle.Conn.Close()
	half.Conn.Close()
	a.stop() // fails the test if the server does not end
}

// TestWrongTransport: what reaches a port by mistake is told in one line of the log.
func TestWrongTransport(t *testing.T) {
	authority := scptest.NewAuthority(t)
	node := authority.Valid("node")
	secured := open(t, secure.Files{Certificate: node.File, Key: node.Key, CA: authority.CA}).Server(true)
	for _, c := range []struct {
		name string
		tls  bool
		send []byte
		says string
	}{
		{"TLS hello on the plain port", false, scptest.Bytes(`16 03 01 {01 00 00 00}`), "uses TLS on the plain DICOM port"},
		{"HTTP on the plain port", false, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "sent HTTP to the DICOM port"},
		{"HTTP on the TLS port", true, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "sent HTTP to the DICOM port"},
		{"plain DICOM on the TLS port", true, scptest.AssociateRQ, "plain DICOM on the TLS port"},
		{"a port check", false, nil, ""},
		{"a port check of the TLS port", true, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{DrainTimeout: 10 * time.Second}
			a := serveTLS(t, o, spool.Options{}, secured)
			if !c.tls {
				a = serve(t, o, spool.Options{})
			}
			p := scptest.Dial(t, a.address)
			if c.send != nil {
				p.Send(c.send)
				_, _ = p.Conn.Read(make([]byte, 10)) // A-ABORT, or the closing
			}
			p.Conn.(*net.TCPConn).CloseWrite()
			_, _ = p.Conn.Read(make([]byte, 10))
			a.stop()
			log := strings.TrimSpace(a.log.String())
			if c.says == "" && log != "" || c.says != "" && (strings.Count(log, "\n") != 0 || !strings.Contains(log, c.says)) {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestPeerRefused(t *testing.T) {
	for name, p := range map[string]Peer{
		"no title":              {},
		"long title":            {AETitle: "SEVENTEEN_LETTERS"},
		"passcode of nobody":    {AETitle: "A", Passcode: "x"},
		"empty certificate":     {AETitle: "A", Certificates: []string{""}},
		"short fingerprint":     {AETitle: "A", Certificates: []string{"sha256:00"}},
		"fingerprint of no hex": {AETitle: "A", Certificates: []string{"sha256:" + strings.Repeat("zz", 32)}},
	} {
		if _, err := New(Options{AETitle: "A", Spool: &spool.Spool{}, Sink: &sink{}, Peers: []Peer{p}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAbstractSyntaxes: what is not stored here is not accepted, what is stored is.
func TestAbstractSyntaxes(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	o := options(a)
	o.Contexts = append(o.Contexts, ul.ProposedContext{AbstractSyntax: "1.2.840.10008.5.1.4.1.2.2.1", TransferSyntaxes: []string{dcm.ImplicitVRLittleEndian}})
	s := connect(t, o)
	if got := s.Accepted("1.2.840.10008.5.1.4.1.2.2.1"); got != nil {
		t.Errorf("C-FIND accepted in %q", got)
	}
	if got := s.Accepted(dcm.CTImageStorage); len(got) == 0 {
		t.Error("CT not accepted")
	}
}
