package scp

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/spool"
)

// tape is a connection that plays its input and is then closed by the peer.
type tape struct {
	io.Reader
	closed bool
}

func (c *tape) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.Reader.Read(p)
}
func (c *tape) Write(p []byte) (int, error) {
	if c.closed {
		return 0, os.ErrClosed
	}
	return len(p), nil
}
func (c *tape) Close() error                     { c.closed = true; return nil }
func (c *tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer plays bytes to the whole server from four states: nothing said, associated, in the middle
// of a command set, in the middle of a data set. It must end, close, and tell the sink in order.
func FuzzServer(f *testing.F) {
	store := dimse.Command{
		Field: dimse.CStoreRQ, MessageID: 1, AffectedSOPClassUID: dcm.CTImageStorage, AffectedSOPInstanceUID: "1.2.3", HasDataSet: true,
	}
	before := [][]byte{
		nil,
		scptest.AssociateRQ,
		append(bytes.Clone(scptest.AssociateRQ), scptest.Data(3, 1, store.Encode()[:20])...),
		append(append(bytes.Clone(scptest.AssociateRQ), scptest.Data(3, 3, store.Encode())...), scptest.Data(3, 0, []byte{8, 0})...),
	}
	for _, b := range scptest.Seeds() {
		for i := range before {
			f.Add(byte(i), b)
		}
	}
	f.Add(byte(3), scptest.Data(3, 2, ct(f, "1.2.3", 10, dcm.ExplicitVRLittleEndian)[2:]))
	sp, err := spool.Open(context.Background(), spool.Options{Dir: f.TempDir(), ReserveBytes: -1, MaxObjectBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { sp.Close() })
	f.Fuzz(func(t *testing.T, state byte, b []byte) {
		told := &sink{open: map[uint64]bool{}}
		s, err := New(Options{AETitle: "ICHOR", AnyPeer: true, Spool: sp, Sink: told, Events: func(e Event) {
			if e.Kind.String() == "unknown" || e.Err != nil && strings.HasPrefix(e.Err.Error(), "panic") {
				t.Errorf("event %s: %v", e.Kind, e.Err)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := &tape{Reader: io.MultiReader(bytes.NewReader(before[int(state)%len(before)]), bytes.NewReader(b))}
		n := newSession(s, 1, c)
		if state < 128 { // otherwise it had to go before it could ask, and is rejected
			s.seats.enter(n)
		}
		n.run()
		n.assoc.Close()
		s.seats.leave(n)
		if !c.closed || len(told.open) > 0 || len(told.wrong) > 0 {
			t.Fatalf("closed %v, still open %v, %q", c.closed, told.open, told.wrong)
		}
	})
}
