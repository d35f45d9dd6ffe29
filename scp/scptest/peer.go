package scptest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Peer is one end of a connection and sends raw PDUs.
type Peer struct {
	t    testing.TB
	Conn net.Conn
}

// Dial connects to a node, or fails the test.
func Dial(t testing.TB, address string) *Peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Peer{t: t, Conn: conn}
}

// Send writes the parts in one write.
func (p *Peer) Send(parts ...[]byte) {
	p.t.Helper()
	if _, err := p.Conn.Write(bytes.Join(parts, nil)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// Receive reads one PDU with its header. nil: the node closed the connection.
func (p *Peer) Receive() []byte {
	p.t.Helper()
	if err := p.Conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := io.ReadFull(p.Conn, b); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			p.t.Fatalf("no PDU within 10 s")
		}
		return nil
	}
	n := binary.BigEndian.Uint32(b[2:])
	if n > 1<<20 {
		p.t.Fatalf("PDU of %d bytes", n)
	}
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(p.Conn, b[6:]); err != nil {
		p.t.Fatalf("PDU ends early: %v", err)
	}
	return b
}

// Expect receives a PDU, checks its type (0: the connection closed), and returns it.
func (p *Peer) Expect(typ byte) []byte {
	p.t.Helper()
	b := p.Receive()
	switch {
	case b == nil && typ != 0:
		p.t.Fatalf("closed, want PDU type %02X", typ)
	case b != nil && b[0] != typ:
		p.t.Fatalf("PDU % X, want type %02X", b[:min(len(b), 16)], typ)
	}
	return b
}

// Associate sends AssociateRQ and expects its acceptance.
func (p *Peer) Associate() {
	p.t.Helper()
	p.Send(AssociateRQ)
	p.Expect(2)
}

// Status reads a response in one PDU and returns its Status (0000,0900).
func (p *Peer) Status() uint16 {
	p.t.Helper()
	b := p.Expect(4)
	// The element header of (0000,0900), a US, in Implicit VR Little Endian.
	i := bytes.Index(b, []byte{0, 0, 0, 9, 2, 0, 0, 0})
	if i < 0 || i+10 > len(b) {
		p.t.Fatalf("no status in % X", b)
	}
	return binary.LittleEndian.Uint16(b[i+8:])
}
