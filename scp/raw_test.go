package scp

import (
	"bytes"
	"testing"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/scptest"
	"ichor/scp/spool"
)

// TestRaw plays what a well-behaved SCU does not send.
func TestRaw(t *testing.T) {
	a := serve(t, Options{}, spool.Options{})
	p := scptest.Dial(t, a.address)
	p.Associate()
	p.Send(scptest.EchoRQ, scptest.EchoRQ) // pipelined
	for range 2 {
		if st := p.Status(); st != 0 {
			t.Errorf("echo %04X", st)
		}
	}
	p.Send(scptest.StoreRQ)
	if st := p.Status(); st != 0 {
		t.Errorf("store %04X", st)
	}
	// The same in fragments of one byte, with empty ones between.
	for _, b := range commandOf(scptest.StoreRQ) {
		p.Send(scptest.Data(3, 1, []byte{b}), scptest.Data(3, 1, nil))
	}
	p.Send(scptest.Data(3, 3, nil))
	data := ct(t, "1.2.3.4.5.66", 10, dcm.ExplicitVRLittleEndian)
	for _, b := range data {
		p.Send(scptest.Data(3, 0, []byte{b}))
	}
	p.Send(scptest.Data(3, 2, nil))
	if st := p.Status(); st != 0 {
		t.Errorf("store in bytes %04X", st)
	}
	find := dimse.Command{Field: dimse.CFindRQ, MessageID: 7, AffectedSOPClassUID: dcm.CTImageStorage, HasDataSet: true}
	p.Send(scptest.Data(3, 3, find.Encode()), scptest.Data(3, 2, []byte("ignored.")))
	if st := p.Status(); st != 0x0211 {
		t.Errorf("C-FIND %04X", st)
	}
	cancel := dimse.Command{Field: dimse.CCancelRQ, RespondedTo: 7}
	p.Send(scptest.Data(3, 3, cancel.Encode()), scptest.EchoRQ)
	if st := p.Status(); st != 0 {
		t.Errorf("echo after cancel %04X", st)
	}
	wrong := dimse.Command{Field: dimse.CStoreRQ, MessageID: 8, AffectedSOPClassUID: dcm.MRImageStorage, AffectedSOPInstanceUID: "1.2", HasDataSet: true}
	p.Send(scptest.Data(3, 3, wrong.Encode()), scptest.Data(3, 2, data))
	if st := p.Status(); st != 0x0122 {
		t.Errorf("class of another context %04X", st)
	}
	p.Send(scptest.ReleaseRQ)
	p.Expect(6)
	p.Conn.Close()

	for name, b := range map[string][]byte{
		"data before command": scptest.Data(3, 2, data),
		"two contexts":        append(scptest.Data(3, 1, []byte{1}), scptest.Data(1, 3, []byte{1})...),
		"not a command":       scptest.Data(1, 3, []byte("not a command set")),
		"endless command":     bytes.Repeat(scptest.Data(1, 1, make([]byte, 16000)), 6),
		"unasked response":    scptest.Data(1, 3, (&dimse.Command{Field: dimse.CEchoRSP}).Encode()),
		"release in message":  append(scptest.Data(3, 3, find.Encode()), scptest.ReleaseRQ...),
		"command in data":     append(scptest.Data(3, 3, find.Encode()), scptest.EchoRQ...),
		"unknown PDU":         scptest.Bytes(`0A 00 [ 00 ]`),
		"second request":      scptest.AssociateRQ,
	} {
		p := scptest.Dial(t, a.address)
		p.Associate()
		p.Send(b)
		if got := p.Receive(); len(got) != 10 || got[0] != 7 {
			t.Errorf("%s: % X", name, got)
		}
		p.Conn.Close()
	}
	// Peers that vanish in the middle leave nothing behind.
	for i := 0; i < len(scptest.StoreRQ); i += 7 {
		p := scptest.Dial(t, a.address)
		p.Associate()
		p.Send(scptest.StoreRQ[:i])
		p.Conn.Close()
	}
	a.stop()
	if n := len(a.spool.Study("1.2.3")); n != 1 {
		t.Errorf("%d objects", n)
	}
}

// commandOf takes the command set out of the first item of a P-DATA-TF.
func commandOf(b []byte) []byte { return b[12 : 12+int(b[9])-2] }
