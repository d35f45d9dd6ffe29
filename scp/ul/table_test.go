package ul

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/scp/scptest"
)

// standard is PS3.8 Table 9-10 once more, written row by row as "state:action" with - for empty cells,
// so that the table is checked against something that was typed independently.
const standard = `
E1  AE-1 - - - - - - - - - - - -
E2  - - - AE-2 - - - - - - - - -
E3  - AA-1 AA-8 - AE-3 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
E4  - AA-1 AA-8 - AE-4 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
E5  AE-5 - - - - - - - - - - - -
E6  - AE-6 AA-8 - AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7
E7  - - AE-7 - - - - - - - - - -
E8  - - AE-8 - - - - - - - - - -
E9  - - - - - DT-1 - AR-7 - - - - -
E10 - AA-1 AA-8 - AA-8 DT-2 AR-6 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
E11 - - - - - AR-1 - - - - - - -
E12 - AA-1 AA-8 - AA-8 AR-2 AR-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-6
E13 - AA-1 AA-8 - AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
E14 - - - - - - - AR-4 AR-9 - - AR-4 -
E15 - - AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1 -
E16 - AA-2 AA-3 - AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-3 AA-2
E17 - AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AR-5
E18 - AA-2 - - - - - - - - - - AA-2
E19 - AA-1 AA-8 - AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-8 AA-7`

// nextStates of PS3.8 Tables 9-6 to 9-9; AE-6 and AR-8 for an acceptable request and the acceptor.
var nextStates = map[string]State{
	"AE-1": 4, "AE-2": 5, "AE-3": 6, "AE-4": 1, "AE-5": 2, "AE-6": 3, "AE-7": 6, "AE-8": 13, "DT-1": 6, "DT-2": 6,
	"AR-1": 7, "AR-2": 8, "AR-3": 1, "AR-4": 13, "AR-5": 1, "AR-6": 7, "AR-7": 8, "AR-8": 10, "AR-9": 11, "AR-10": 12,
	"AA-1": 13, "AA-2": 1, "AA-3": 1, "AA-4": 1, "AA-5": 1, "AA-6": 13, "AA-7": 13, "AA-8": 13,
}

func TestTable(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(standard), "\n")
	if len(lines) != 19 {
		t.Fatalf("%d rows", len(lines))
	}
	for i, line := range lines {
		cells := strings.Fields(line)[1:]
		for j, want := range cells {
			s, e := State(j+1), Event(i+1)
			act, to := lookup(s, e, condition{})
			if want == "-" {
				if act != None || to != s {
					t.Errorf("event %d in %s: %s to %s, want nothing", e, s, act, to)
				}
				continue
			}
			if act.String() != want || to != nextStates[want] {
				t.Errorf("event %d in %s: %s to %s, want %s to Sta%d", e, s, act, to, want, nextStates[want])
			}
		}
	}
	if _, to := lookup(Sta2, EvtAssociateRQ, condition{unacceptable: true}); to != Sta13 {
		t.Errorf("unacceptable request: %s", to)
	}
	if _, to := lookup(Sta7, EvtReleaseRQ, condition{requestor: true}); to != Sta9 {
		t.Errorf("collision at the requestor: %s", to)
	}
	for _, s := range []State{0, 14} {
		if act, to := lookup(s, EvtAbort, condition{}); act != None || to != s {
			t.Errorf("%s is no state", s)
		}
	}
}

// script is a connection that plays what the peer sends and keeps what it gets. After its input it is
// silent or closed.
type script struct {
	in     *bytes.Reader
	silent bool
	out    bytes.Buffer
	writes int
	closed bool
}

func (c *script) Read(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	n, err := c.in.Read(p)
	if err == io.EOF && c.silent {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}
func (c *script) Write(p []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	c.writes++
	return c.out.Write(p)
}
func (c *script) Close() error                     { c.closed = true; return nil }
func (c *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// in makes an association that is in state s and hears in.
func in(s State, in []byte) (*Association, *script) {
	c := &script{in: bytes.NewReader(in), silent: true}
	a := newAssociation(c, Options{})
	a.state = s
	a.artim = time.Now().Add(time.Minute)
	rq, err := decodeAssociateRQ(scptest.AssociateRQ[6:])
	if err != nil {
		panic(err)
	}
	a.establish(rq, Negotiate(rq, func(string) []string { return []string{"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"} }), 16384)
	return a, c
}

// TestEveryCell runs every PDU in every state of an association, as bytes from a peer, and looks at
// what goes over the wire, whether the connection closes, and what the caller is told.
func TestEveryCell(t *testing.T) {
	pdus := map[Event][]byte{
		EvtAssociateAC: scptest.AssociateAC, EvtAssociateRJ: scptest.AssociateRJ, EvtAssociateRQ: scptest.AssociateRQ,
		EvtData: scptest.EchoRQ, EvtReleaseRQ: scptest.ReleaseRQ, EvtReleaseRP: scptest.ReleaseRP,
		EvtAbort: scptest.Abort, EvtInvalidPDU: scptest.Bytes(`FF 00 [ 00000000 ]`),
	}
	for s := Sta2; s <= Sta13; s++ {
		if s == Sta4 {
			continue // no connection yet
		}
		for e, b := range pdus {
			t.Run(fmt.Sprintf("%s/event%d", s, e), func(t *testing.T) {
				a, c := in(s, b)
				a.wire.arm(time.Minute, false)
				want, to := lookup(s, e, condition{})
				act, _, err := a.pdu()
				if act != want || a.State() != to {
					t.Fatalf("%s to %s, want %s to %s", act, a.State(), want, to)
				}
				check(t, a, c, act, e, err)
			})
		}
		t.Run(fmt.Sprintf("%s/closed", s), func(t *testing.T) {
			a, c := in(s, nil)
			c.silent = false
			a.wire.arm(time.Minute, false)
			if _, _, err := a.pdu(); err == nil || a.State() != Sta1 || c.out.Len() > 0 || !c.closed {
				t.Errorf("%v, %s, sent % X", err, a.State(), c.out.Bytes())
			}
		})
		t.Run(fmt.Sprintf("%s/silence", s), func(t *testing.T) {
			a, c := in(s, nil)
			a.wire.arm(time.Minute, false)
			_, _, err := a.pdu()
			if !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v", err)
			}
			// ARTIM closes in Sta2 and Sta13; in the others this side gives up with A-ABORT.
			if artim := s == Sta2 || s == Sta13; c.closed != artim || (c.out.Len() == 10) == artim {
				t.Errorf("closed %v, sent % X", c.closed, c.out.Bytes())
			}
		})
		t.Run(fmt.Sprintf("%s/abort", s), func(t *testing.T) {
			a, c := in(s, nil)
			a.Abort(nil)
			a.Close()
			a.Close()
			sent := s != Sta2 && s != Sta13
			if got := c.out.Bytes(); sent != bytes.Equal(got, scptest.Abort) || !c.closed {
				t.Errorf("sent % X, closed %v", got, c.closed)
			}
		})
	}
}

func check(t *testing.T, a *Association, c *script, act Action, e Event, err error) {
	t.Helper()
	var aborted *AbortError
	var rejected *RejectError
	sent := c.out.Bytes()
	switch act {
	case AA1:
		if !bytes.Equal(sent, scptest.Bytes(`07 00 [ 0000 00 00 ]`)) || !errors.As(err, &aborted) || !aborted.Local {
			t.Errorf("sent % X, %v", sent, err)
		}
	case AA8:
		reason := AbortUnexpectedPDU
		if e == EvtInvalidPDU {
			reason = AbortUnrecognizedPDU
		}
		if !bytes.Equal(sent, append(scptest.Bytes(`07 00 00000004 0000 02`), reason)) ||
			!errors.As(err, &aborted) || !aborted.Local || aborted.Reason != reason {
			t.Errorf("sent % X, %v", sent, err)
		}
	case AA7:
		if len(sent) != 10 || sent[8] != 2 || err != nil {
			t.Errorf("sent % X, %v", sent, err)
		}
	case AA2, AA3:
		if len(sent) > 0 || !c.closed || !errors.As(err, &aborted) || aborted.Local {
			t.Errorf("sent % X, %v", sent, err)
		}
	case AE4:
		if len(sent) > 0 || !c.closed || !errors.As(err, &rejected) || !rejected.Transient() {
			t.Errorf("sent % X, %v", sent, err)
		}
	case AR3:
		if len(sent) > 0 || !c.closed || err != nil {
			t.Errorf("sent % X, closed %v, %v", sent, c.closed, err)
		}
	default: // indications and what is ignored: nothing is sent
		if len(sent) > 0 || c.closed || err != nil {
			t.Errorf("%s: sent % X, closed %v, %v", act, sent, c.closed, err)
		}
	}
}

// TestLocalEvents runs the primitives of this side in every state: where the cell is empty nothing may
// be sent and nothing may change.
func TestLocalEvents(t *testing.T) {
	send := func(a *Association) error { return a.Send(1, []byte{1, 2}, nil) }
	for name, call := range map[string]struct {
		event Event
		do    func(*Association) error
		pdu   byte
	}{
		"accept": {EvtAssociateAccept, func(a *Association) error {
			return a.Accept(&AssociateRQ{CalledAE: "A", CallingAE: "B"}, nil, UserInformation{})
		}, typeAssociateAC},
		"reject":  {EvtAssociateReject, func(a *Association) error { return a.Reject(&RejectError{1, 1, 3}) }, typeAssociateRJ},
		"data":    {EvtDataRequest, nil, typeData},
		"confirm": {EvtReleaseResponse, (*Association).ConfirmRelease, typeReleaseRP},
	} {
		for s := Sta1; s <= Sta13; s++ {
			a, c := in(s, nil)
			do := call.do
			if do == nil {
				do = send
			}
			want, to := lookup(s, call.event, condition{})
			err := do(a)
			switch {
			case want == None && (!errors.Is(err, ErrState) || a.State() != s || c.out.Len() > 0):
				t.Errorf("%s in %s: %v, now %s, sent % X", name, s, err, a.State(), c.out.Bytes())
			case want != None && (err != nil || a.State() != to || c.out.Len() == 0 || c.out.Bytes()[0] != call.pdu):
				t.Errorf("%s in %s: %v, now %s, sent % X", name, s, err, a.State(), c.out.Bytes())
			}
		}
	}
}
