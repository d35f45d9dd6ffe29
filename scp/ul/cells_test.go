package ul

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"ichor/scp/scptest"
)

// effects says for each action of PS3.8 Tables 9-6 to 9-9 what an observer sees: the PDU that leaves, whether the
// connection closes, whether ARTIM of Sta13 begins, and what the service user is told.
//
//	sends   hex of the type, - for nothing; AA-8 and AA-7 are of the service provider, AA-1 of the service user
//	told    abort: *AbortError, reject: *RejectError, closed: ErrClosed, timeout: ErrTimeout, - nothing
const effects = `
AE-1  sends -  open    artim no   told -
AE-2  sends 01 open    artim no   told -
AE-3  sends -  open    artim no   told -
AE-4  sends -  closes  artim no   told reject
AE-5  sends -  open    artim no   told -
AE-6  sends -  open    artim no   told -
AE-7  sends 02 open    artim no   told -
AE-8  sends 03 open    artim yes  told -
DT-1  sends -  open    artim no   told -
DT-2  sends -  open    artim no   told -
AR-1  sends 05 open    artim no   told -
AR-2  sends -  open    artim no   told -
AR-3  sends -  closes  artim no   told -
AR-4  sends 06 open    artim yes  told -
AR-5  sends -  closes  artim no   told closed
AR-6  sends -  open    artim no   told -
AR-7  sends -  open    artim no   told -
AR-8  sends -  open    artim no   told -
AR-9  sends 06 open    artim no   told -
AR-10 sends -  open    artim no   told -
AA-1  sends 07 open    artim yes  told abort
AA-2  sends -  closes  artim no   told abort
AA-3  sends -  closes  artim no   told abort
AA-4  sends -  closes  artim no   told closed
AA-5  sends -  closes  artim no   told closed
AA-6  sends -  open    artim no   told -
AA-7  sends 07 open    artim no   told -
AA-8  sends 07 open    artim yes  told abort`

// arguments are what the layers above and below bring along with an event. P-DATA (events 9 and 10) is streamed and
// brings nothing here.
var arguments = map[Event]argument{
	EvtConnected:       {pdu: scptest.AssociateRQ},
	EvtAssociateRJ:     {received: &RejectError{RejectedTransient, RejectSourcePresentation, ReasonLocalLimit}},
	EvtAssociateAccept: {pdu: scptest.AssociateAC},
	EvtAssociateReject: {pdu: scptest.AssociateRJ},
	EvtAbort:           {received: &AbortError{}},
	EvtInvalidPDU:      {reason: AbortUnrecognizedPDU},
}

// TestCells runs all 19 events in all 13 states of Table 9-10 through an association and looks at the four effects.
func TestCells(t *testing.T) {
	want := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(effects), "\n") {
		f := strings.Fields(line)
		want[f[0]] = []string{f[2], f[3], f[5], f[7]}
	}
	if len(want) != 28 {
		t.Fatalf("%d actions", len(want))
	}
	cells := 0
	for i, line := range strings.Split(strings.TrimSpace(standard), "\n") {
		for j, name := range strings.Fields(line)[1:] {
			s, e := State(j+1), Event(i+1)
			a, c := in(s, nil)
			a.artim = a.artim.AddDate(-1, 0, 0)
			before := a.artim
			act, err := a.step(e, arguments[e])
			cells++
			if name == "-" {
				if act != None || !errors.Is(err, ErrState) || a.State() != s || c.out.Len() > 0 || c.closed || a.artim != before {
					t.Errorf("event %d in %s: %s, now %s, sent % X, closed %v, %v; want nothing", e, s, act, a.State(), c.out.Bytes(), c.closed, err)
				}
				continue
			}
			got := []string{"-", "open", "no", told(err)}
			if c.out.Len() > 0 {
				got[0] = fmt.Sprintf("%02X", c.out.Bytes()[0])
			}
			if c.closed {
				got[1] = "closes"
			}
			if a.artim != before {
				got[2] = "yes"
			}
			w := want[name]
			if e == EvtARTIM { // AA-2 for the timer and not for an abort
				w = []string{w[0], w[1], w[2], "timeout"}
			}
			if strings.Join(got, " ") != strings.Join(w, " ") || a.State() != nextStates[name] {
				t.Errorf("event %d in %s, %s: %v to %s, want %v to Sta%d", e, s, name, got, a.State(), w, nextStates[name])
			}
		}
	}
	if cells != 19*13 {
		t.Errorf("%d cells", cells)
	}
}

func told(err error) string {
	var aborted *AbortError
	var rejected *RejectError
	switch {
	case err == nil:
		return "-"
	case errors.As(err, &aborted):
		return "abort"
	case errors.As(err, &rejected):
		return "reject"
	case errors.Is(err, ErrClosed):
		return "closed"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	}
	return err.Error()
}

// TestTimerOfSta13: what still arrives there does not give the peer more time.
func TestTimerOfSta13(t *testing.T) {
	a, _ := in(Sta6, bytes.Join([][]byte{scptest.ReleaseRP, scptest.EchoRQ, scptest.AssociateRQ}, nil))
	a.Abort(nil)
	before := a.artim
	a.wire.resume()
	a.wire.arm(1<<40, false)
	for range 3 {
		if _, _, err := a.pdu(); err != nil || a.State() != Sta13 || a.artim != before {
			t.Fatalf("%s, %v, timer moved %v", a.State(), err, a.artim != before)
		}
		if err := a.skip(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFragments: command and data sets in fragments of every size, several in one PDU, empty ones between.
func TestFragments(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789"), 40)
	for size := 1; size <= len(message); size = size*3/2 + 1 {
		for _, together := range []bool{false, true} {
			var pdvs, wire []byte
			for at := 0; at < len(message); at += size {
				part := message[at:min(at+size, len(message))]
				control := byte(0)
				if at+size >= len(message) {
					control = 2
				}
				pdu := scptest.Data(1, control, part)
				empty := scptest.Data(1, 0, nil)
				wire = append(append(wire, empty...), pdu...)
				pdvs = append(append(pdvs, empty[6:]...), pdu[6:]...)
			}
			if together {
				wire = append(appendHeader(nil, typeData, len(pdvs)), pdvs...)
			}
			a, _ := in(Sta6, wire)
			var got []byte
			for last := false; !last; {
				v, err := a.Next()
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(a)
				if err != nil {
					t.Fatal(err)
				}
				got, last = append(got, b...), v.Last
			}
			if !bytes.Equal(got, message) {
				t.Errorf("fragments of %d, in one PDU %v: %d bytes", size, together, len(got))
			}
		}
	}
}
