package ul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// ErrTransport is returned when the two sides use different protocols (TLS on one side only, HTTP), or the TLS handshake
// failed. Its text says what to correct.
var ErrTransport = errors.New("no DICOM connection")

// dial opens the connection, with TLS if o.TLS is set.
func dial(ctx context.Context, address string, o Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.ARTIM)
	defer cancel()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	if o.TLS == nil {
		return conn, nil
	}
	config := o.TLS
	if config.ServerName == "" {
		host, _, _ := net.SplitHostPort(address) // valid: the dialer has accepted it
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent that could be lost
		return nil, fmt.Errorf("connect to %s: %w", address, explain(err, true))
	}
	return secure, nil
}

// handshake runs the TLS handshake, within d, if the accepted connection uses TLS.
func (w *wire) handshake(d time.Duration) error {
	conn, ok := w.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	start := time.Now()
	if !w.deadline(start.Add(d)) {
		return ErrInterrupted
	}
	if err := conn.SetWriteDeadline(start.Add(d)); err != nil {
		return err
	}
	err := conn.Handshake()
	w.left -= time.Since(start)
	return err
}

// secure runs the TLS handshake of an acceptor. If it fails, the connection ends before DICOM has started.
func (a *Association) secure() error {
	err := a.wire.handshake(a.o.ARTIM)
	if err == nil {
		return nil
	}
	if a.wire.isInterrupted() {
		err = ErrInterrupted
	}
	switch {
	case errors.Is(err, ErrInterrupted):
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("TLS handshake: %w", ErrTimeout)
	case errors.Is(err, io.EOF):
		err = ErrClosed // a port check
	default:
		err = explain(err, false)
		a.wire.linger(a.o.Linger)
	}
	a.step(EvtTransportClosed, argument{})
	return err
}

// linger gives the peer up to d to read the TLS alert that says what is wrong. Closing while bytes from the peer are unread
// would send a reset, which discards the alert.
func (w *wire) linger(d time.Duration) {
	conn, ok := w.conn.(*tls.Conn)
	if !ok || !w.deadline(time.Now().Add(d)) {
		return
	}
	if t, ok := conn.NetConn().(*net.TCPConn); ok && t.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(t, maxControl)) // closed afterwards in any case
	}
}

// PeerCertificate returns the certificate that the peer presented, nil without TLS. The TLS configuration decides whether its
// chain was verified.
func (a *Association) PeerCertificate() *x509.Certificate {
	conn, ok := a.wire.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		return certs[0]
	}
	return nil
}

// explain turns a failed handshake into an error that says what to do. client: this side opened the connection.
func explain(err error, client bool) error {
	var record tls.RecordHeaderError
	var unverified *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch text := err.Error(); {
	case errors.As(err, &record) && client:
		return fmt.Errorf("%w: the peer does not speak TLS on this port; use its TLS port (often 2762), or connect without TLS", ErrTransport)
	case errors.As(err, &record) && record.RecordHeader[0] == typeAssociateRQ:
		return fmt.Errorf("%w: the peer uses plain DICOM on the TLS port; enable TLS on the peer, or configure it to use the plain port", ErrTransport)
	case errors.As(err, &record):
		if other := foreign(record.RecordHeader[:]); other != "" {
			return fmt.Errorf("%w: %s", ErrTransport, other)
		}
		return fmt.Errorf("%w: the peer does not use TLS on the TLS port", ErrTransport)
	case client && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return fmt.Errorf("%w: the peer closed the connection during the TLS handshake; check that it uses TLS on this port and trusts our certificate", ErrTransport)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: the certificate of the peer has expired or is not valid yet; renew it, or correct the clocks (%w)", ErrTransport, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: the certificate of the peer is not signed by an authority of our CA file; add its authority there (%w)", ErrTransport, err)
	case errors.As(err, &host):
		return fmt.Errorf("%w: the certificate of the peer is for another name; connect by that name, or set server_name (%w)", ErrTransport, err)
	case strings.Contains(text, "revoked by its authority"):
		return fmt.Errorf("%w: the certificate of the peer was revoked by its authority; give it a new one", ErrTransport)
	case errors.As(err, &unverified):
		return fmt.Errorf("%w: the certificate of the peer cannot be verified (%w)", ErrTransport, err)
	case strings.Contains(text, "didn't provide a certificate"):
		return fmt.Errorf("%w: the peer presented no certificate; install one on the peer that is signed by an authority in our CA file", ErrTransport)
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "no cipher suite"), strings.Contains(text, "protocol version"), strings.Contains(text, "handshake failure"):
		return fmt.Errorf("%w: no TLS version or cipher suite in common; TLS 1.2 with ECDHE and AEAD, or TLS 1.3, is required (%w)", ErrTransport, err)
	}
	return fmt.Errorf("%w: TLS handshake: %w", ErrTransport, err)
}

// foreign recognizes another protocol by its first bytes and says what to do; empty if unknown.
func foreign(b []byte) string {
	switch {
	case len(b) >= 2 && b[0] == 0x16 && b[1] == 3: // RFC 8446 §5.1: handshake
		return "the peer uses TLS on the plain DICOM port; configure the peer to use the TLS port, or disable TLS on the peer"
	case len(b) >= 2 && b[0] == 0x15 && b[1] == 3: // alert
		return "the peer uses TLS on this port; connect with TLS, or use its plain port"
	}
	for _, word := range []string{"GET ", "HEAD", "POST", "PUT ", "OPTI", "CONN", "PRI ", "HTTP"} {
		if strings.HasPrefix(string(b), word) {
			return "the peer sent HTTP to the DICOM port; the web interface has another port"
		}
	}
	if strings.HasPrefix(string(b), "SSH-") {
		return "the peer sent SSH to the DICOM port"
	}
	return ""
}
