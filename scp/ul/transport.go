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

// ErrTransport is returned when the two sides do not agree what is spoken on the connection: TLS against none, HTTP,
// or a TLS handshake that failed. Its text says what to set right.
var ErrTransport = errors.New("no DICOM connection")

// dial opens the connection, and the TLS on it where o.TLS asks for that.
func dial(ctx context.Context, address string, o Options) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.ARTIM)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	if o.TLS == nil {
		return conn, nil
	}
	config := o.TLS
	if config.ServerName == "" {
		host, _, _ := net.SplitHostPort(address) // the dialer has taken it
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent that the peer could miss
		return nil, fmt.Errorf("connect to %s: %w", address, explain(err, true))
	}
	return secure, nil
}

// handshake does the TLS handshake of an accepted connection that has one to do, within d.
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

// secure runs the handshake of an acceptor. One that fails is the loss of a connection that DICOM never had.
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

// linger gives the peer up to d to take the TLS alert that tells it what is wrong: closing with its bytes unread would
// be a reset, which takes the alert away.
func (w *wire) linger(d time.Duration) {
	conn, ok := w.conn.(*tls.Conn)
	if !ok || !w.deadline(time.Now().Add(d)) {
		return
	}
	if t, ok := conn.NetConn().(*net.TCPConn); ok && t.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(t, maxControl)) // whatever comes of it, the end is the same
	}
}

// PeerCertificate is what the peer showed by TLS, nil without. Whether its chain was verified is up to the
// configuration of the connection.
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

// explain puts the failure of a handshake into words that say what to do about it. client: this side called.
func explain(err error, client bool) error {
	var record tls.RecordHeaderError
	var unverified *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch text := err.Error(); {
	case errors.As(err, &record) && client:
		return fmt.Errorf("%w: the peer does not speak TLS on this port; use its TLS port (often 2762), or call it without TLS", ErrTransport)
	case errors.As(err, &record) && record.RecordHeader[0] == typeAssociateRQ:
		return fmt.Errorf("%w: the peer speaks plain DICOM on the TLS port; switch TLS on there, or let it call the plain port", ErrTransport)
	case errors.As(err, &record):
		if other := foreign(record.RecordHeader[:]); other != "" {
			return fmt.Errorf("%w: %s", ErrTransport, other)
		}
		return fmt.Errorf("%w: the peer does not speak TLS on the TLS port", ErrTransport)
	case client && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return fmt.Errorf("%w: the peer closed during the TLS handshake; does it speak TLS on this port, and trust our certificate?", ErrTransport)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: the certificate of the peer has expired or is not valid yet; renew it, or set the clocks (%w)", ErrTransport, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: the certificate of the peer is not signed by an authority of our CA file; add its authority there (%w)", ErrTransport, err)
	case errors.As(err, &host):
		return fmt.Errorf("%w: the certificate of the peer is for another name; call it by that name, or set server_name (%w)", ErrTransport, err)
	case strings.Contains(text, "revoked by its authority"):
		return fmt.Errorf("%w: the certificate of the peer was revoked by its authority; give it a new one", ErrTransport)
	case errors.As(err, &unverified):
		return fmt.Errorf("%w: the certificate of the peer does not verify (%w)", ErrTransport, err)
	case strings.Contains(text, "didn't provide a certificate"):
		return fmt.Errorf("%w: the peer shows no certificate; give it one that our CA file has signed", ErrTransport)
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "no cipher suite"), strings.Contains(text, "protocol version"), strings.Contains(text, "handshake failure"):
		return fmt.Errorf("%w: no TLS version or cipher suite in common; TLS 1.2 with ECDHE and AEAD, or 1.3, is needed (%w)", ErrTransport, err)
	}
	return fmt.Errorf("%w: TLS handshake: %w", ErrTransport, err)
}

// foreign recognizes by its first bytes what is spoken instead of DICOM; empty if nothing known.
func foreign(b []byte) string {
	switch {
	case len(b) >= 2 && b[0] == 0x16 && b[1] == 3: // RFC 8446 §5.1: handshake
		return "the peer speaks TLS on the plain DICOM port; let it call the TLS port, or switch TLS off there"
	case len(b) >= 2 && b[0] == 0x15 && b[1] == 3: // alert
		return "the peer speaks TLS on this port; call it with TLS, or use its plain port"
	}
	for _, word := range []string{"GET ", "HEAD", "POST", "PUT ", "OPTI", "CONN", "PRI ", "HTTP"} {
		if strings.HasPrefix(string(b), word) {
			return "the peer speaks HTTP on the DICOM port; the web interface listens elsewhere"
		}
	}
	if strings.HasPrefix(string(b), "SSH-") {
		return "the peer speaks SSH on the DICOM port"
	}
	return ""
}
