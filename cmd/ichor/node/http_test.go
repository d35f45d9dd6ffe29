package node

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ichor/scp/scptest"
	"ichor/scp/secure"
)

// TestCrowd: connections beyond the limit, and beyond half of it from one address, are closed at once; those that end make room.
func TestCrowd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{Listener: ln, most: 6, of: map[string]int{}}
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	open := func(from string, n int) (conns []net.Conn) {
		t.Helper()
		for range n {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			conn, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conns = append(conns, conn)
		}
		return conns
	}
	closed := func(conn net.Conn) bool {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		return err == io.EOF || err != nil && strings.Contains(err.Error(), "reset")
	}
	open("127.0.0.2", 3)
	if !closed(open("127.0.0.2", 1)[0]) {
		t.Error("one address has more than half")
	}
	open("127.0.0.3", 3)
	if !closed(open("127.0.0.4", 1)[0]) {
		t.Error("more than the limit")
	}
	(<-accepted).Close()
	(<-accepted).Close()
	open("127.0.0.4", 1)
	for range 5 {
		<-accepted
	}
	if c.all != 5 || c.of["127.0.0.4"] != 1 {
		t.Errorf("%d connections: %v", c.all, c.of)
	}
	ln.Close()
	if _, more := <-accepted; more {
		t.Error("too many were accepted")
	}
}

// TestSilentRequests: a body that never comes ends the connection of someone unknown at once, and of someone known in time.
func TestSilentRequests(t *testing.T) {
	n, _, _ := smallNode(t, t.TempDir())
	n.token = "0123456789abcdef"
	server := n.httpServer(n.web())
	server.ReadTimeout, server.ReadHeaderTimeout = 200*time.Millisecond, 200*time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(ln)
	t.Cleanup(func() { server.Close() })
	for name, c := range map[string]struct{ token, want string }{
		"no token":    {"", "401"},
		"wrong token": {"Authorization: Bearer x\r\n", "401"},
		"token":       {"Authorization: Bearer 0123456789abcdef\r\n", "400"},
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /api/v1/dead-letters/replay HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+c.token+"Content-Length: 100000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(conn) // until the node closes
		if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %v %q", name, err, text)
		}
	}
	if real := n.httpServer(n.web()); real.ReadTimeout <= 0 || real.ReadTimeout > 30*time.Second || real.WriteTimeout <= 0 || real.IdleTimeout <= 0 {
		t.Errorf("limits: %+v", real)
	}
}

// TestWebOverTLS serves the pages with the certificate of the node, and asks browsers for none.
func TestWebOverTLS(t *testing.T) {
	authority := scptest.NewAuthority(t)
	n, _, _ := smallNode(t, t.TempDir())
	own := authority.Valid("127.0.0.1")
	var err error
	if n.credentials, err = secure.Open(secure.Files{Certificate: own.File, Key: own.Key, CA: authority.CA}, nil); err != nil {
		t.Fatal(err)
	}
	n.config.HTTP.TLS, n.config.HTTP.MaxConnections = true, 8
	if n.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.serveHTTP(t.Context(), n.http, n.web()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	ours, err := secure.Open(secure.Files{CA: authority.CA}, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	config := ours.Client("")
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &tls.Certificate{}, nil
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	answer, err := client.Get("https://" + n.http.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 || answer.TLS == nil || asked {
		t.Errorf("%s, TLS %v, certificate asked %v", answer.Status, answer.TLS != nil, asked)
	}
	if answer, err := http.Get("http://" + n.http.Addr().String() + "/healthz"); err == nil && answer.StatusCode == 200 {
		t.Error("also without TLS")
	}
}
