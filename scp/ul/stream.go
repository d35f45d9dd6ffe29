package ul

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

const (
	// sendCap bounds our own PDUs where the peer takes any length.
	sendCap = 128 << 10
	// burst is how much goes into one write of a long message.
	burst = 64 << 10
)

// establish notes the accepted contexts and how long fragments to the peer may be.
func (a *Association) establish(rq *AssociateRQ, results []ContextResult, peerMax uint32) {
	for _, r := range results {
		for _, p := range rq.Contexts {
			// An answer to what was not asked, or in a syntax not offered, is no acceptance.
			if p.ID == r.ID && r.Result == ContextAccepted && slices.Contains(p.TransferSyntaxes, r.TransferSyntax) {
				a.contexts[r.ID] = Context{ID: r.ID, AbstractSyntax: p.AbstractSyntax, TransferSyntax: r.TransferSyntax}
			}
		}
	}
	a.sendMax = fragmentSize(peerMax)
}

// fragmentSize is the longest fragment for a peer that takes peerMax bytes of P-DATA-TF after the
// header (PS3.8 §D.1; 0 = any): even, and its head fits in as well. Values under 8 leave no room for
// an even fragment; two bytes are then sent nevertheless.
func fragmentSize(peerMax uint32) int {
	n := sendCap
	if peerMax != 0 && peerMax < sendCap {
		n = int(peerMax)
	}
	return max((n-pdvHead)&^1, 2)
}

// pdu reads the next PDU and runs its event through the table. Of a P-DATA-TF only the header is
// read. The value is a *AssociateRQ or *AssociateAC where the event is one that wants it.
func (a *Association) pdu() (Action, any, error) {
	var b [headerLen]byte
	if _, err := io.ReadFull(a.in, b[:]); err != nil {
		return None, nil, a.lost(err)
	}
	h := decodeHeader(b)
	var e Event
	switch h.Type {
	case typeAssociateRQ:
		e = EvtAssociateRQ
	case typeAssociateAC:
		e = EvtAssociateAC
	case typeAssociateRJ:
		e = EvtAssociateRJ
	case typeData:
		e = EvtData
	case typeReleaseRQ:
		e = EvtReleaseRQ
	case typeReleaseRP:
		e = EvtReleaseRP
	case typeAbort:
		e = EvtAbort
	default:
		cause := fmt.Errorf("PDU type %02XH: %w", h.Type, ErrValue)
		if other := foreign(b[:]); other != "" {
			cause = fmt.Errorf("%w: %s", ErrTransport, other)
		}
		return a.invalid(AbortUnrecognizedPDU, cause)
	}
	if err := h.check(); err != nil {
		return a.invalid(AbortInvalidParameter, err)
	}
	if e == EvtData {
		a.pduLeft = h.Length
		act, err := a.step(e, argument{reason: AbortUnexpectedPDU})
		return act, nil, err
	}
	body, err := readBody(a.in, h)
	if err != nil {
		if errors.Is(err, ErrTruncated) {
			err = io.EOF
		}
		return None, nil, a.lost(err)
	}
	return a.control(e, body)
}

// control runs the event of a whole PDU.
func (a *Association) control(e Event, body []byte) (Action, any, error) {
	arg := argument{reason: AbortUnexpectedPDU}
	var pdu any
	var err error
	switch s := a.State(); {
	case e == EvtAssociateRQ && s == Sta2:
		var rq *AssociateRQ
		if rq, err = decodeAssociateRQ(body); err == nil {
			arg.unacceptable = rq.ProtocolVersion&protocolVersion == 0 // PS3.8 Table 9-11
			pdu = rq
		}
	case e == EvtAssociateAC && s == Sta5:
		pdu, err = decodeAssociateAC(body)
	case e == EvtAssociateRJ:
		arg.received = &RejectError{Result: body[1], Source: body[2], Reason: body[3]}
	case e == EvtAbort:
		arg.received = &AbortError{Source: body[2], Reason: body[3]}
	}
	if err != nil {
		return a.invalid(AbortInvalidParameter, err)
	}
	act, err := a.step(e, arg)
	return act, pdu, err
}

// invalid runs event 19. What follows on the connection cannot be trusted to begin a PDU.
func (a *Association) invalid(reason byte, cause error) (Action, any, error) {
	a.framed = false
	act, err := a.step(EvtInvalidPDU, argument{reason: reason, cause: cause})
	return act, nil, err
}

// Next goes to the next fragment; what is left of the one before is skipped. ErrReleased: the peer
// wants release. Other errors are the end: *AbortError, ErrClosed, ErrTimeout.
func (a *Association) Next() (PDV, error) {
	if a.pdvLeft > 0 {
		if err := a.discard(int64(a.pdvLeft)); err != nil {
			return PDV{}, err
		}
		a.pdvLeft = 0
	}
	if !a.midway {
		a.wire.arm(a.o.Idle, false)
		if _, err := a.in.Peek(1); err != nil {
			return PDV{}, a.lost(err)
		}
		a.widen()
		a.midway = true
		a.wire.arm(a.o.Read, true)
	}
	for a.pduLeft == 0 {
		act, _, err := a.pdu()
		switch {
		case err != nil:
			return PDV{}, err
		case act == AR2:
			return PDV{}, ErrReleased
		case act != DT2:
			return PDV{}, fmt.Errorf("%s while awaiting data: %w", act, ErrState)
		}
	}
	if a.pduLeft < pdvHead {
		_, _, err := a.invalid(AbortInvalidParameter, fmt.Errorf("PDV item with %d bytes left: %w", a.pduLeft, ErrTruncated))
		return PDV{}, err
	}
	var b [pdvHead]byte
	if _, err := io.ReadFull(a.in, b[:]); err != nil {
		return PDV{}, a.lost(err)
	}
	v, err := decodePDV(b, a.pduLeft)
	if err == nil && a.contexts[v.ContextID].ID == 0 {
		err = fmt.Errorf("presentation context ID %d was not accepted: %w", v.ContextID, ErrValue)
	}
	if err != nil {
		_, _, err = a.invalid(AbortInvalidParameter, err)
		return PDV{}, err
	}
	a.pduLeft -= pdvHead + uint32(v.Length)
	a.pdvLeft = v.Length
	return v, nil
}

// widen gives the association the read buffer for messages, once.
func (a *Association) widen() {
	if a.wide {
		return
	}
	a.wide = true
	ahead := make([]byte, a.in.Buffered())
	_, _ = io.ReadFull(a.in, ahead) // they are there
	a.in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), &a.wire), 32<<10)
}

// Context returns the accepted context with that identifier; its ID is 0 if there is none.
func (a *Association) Context(id byte) Context { return a.contexts[id] }

// Read reads of the current fragment; io.EOF at its end.
func (a *Association) Read(p []byte) (int, error) {
	if a.pdvLeft == 0 {
		return 0, io.EOF
	}
	n, err := a.in.Read(p[:min(len(p), a.pdvLeft)])
	a.pdvLeft -= n
	if err != nil {
		return n, a.lost(err)
	}
	return n, nil
}

// MessageEnd says that a message is complete: the peer may now be idle.
func (a *Association) MessageEnd() { a.midway = false }

// skip reads to the end of a P-DATA-TF.
func (a *Association) skip() error {
	n := int64(a.pdvLeft) + int64(a.pduLeft)
	a.pdvLeft, a.pduLeft = 0, 0
	if n == 0 {
		return nil
	}
	return a.discard(n)
}

func (a *Association) discard(n int64) error {
	if _, err := io.CopyN(io.Discard, a.in, n); err != nil {
		return a.lost(err)
	}
	return nil
}

// Send sends a message: a command set, and a data set if data is not nil. A message that fits one
// burst leaves in one write. An error of data comes back as it is, wrapped, and the association is
// then aborted, for the message cannot be completed.
func (a *Association) Send(contextID byte, command []byte, data io.Reader) error {
	if a.contexts[contextID].ID == 0 {
		return fmt.Errorf("presentation context ID %d: %w", contextID, ErrNoContext)
	}
	if _, err := a.step(EvtDataRequest, argument{}); err != nil {
		return err
	}
	a.out.Lock()
	src, err := a.send(contextID, command, data)
	a.out.Unlock()
	switch {
	case src != nil:
		err = fmt.Errorf("data set to be sent: %w", src)
		a.Abort(err)
		return err
	case err != nil:
		return a.unsent(err)
	}
	return nil
}

// send writes the fragments. src is an error of data, err one of the connection.
func (a *Association) send(id byte, command []byte, data io.Reader) (src, err error) {
	b := a.outb[:0]
	for first := true; first || len(command) > 0; first = false {
		n := min(len(command), a.sendMax)
		b = append(PDV{ContextID: id, Command: true, Last: n == len(command), Length: n}.appendData(b), command[:n]...)
		command = command[n:]
	}
	var ahead []byte // the byte read past the last fragment, to know whether it is the last
	for last := data == nil; !last; {
		const heads = headerLen + pdvHead
		b = slices.Grow(b, heads+a.sendMax+1)
		frag := b[len(b)+heads : len(b)+heads+a.sendMax+1]
		n, err := readFull(data, frag[copy(frag, ahead):])
		if err != nil {
			return err, nil
		}
		n += len(ahead)
		last = n <= a.sendMax
		keep := frag[a.sendMax]
		n = min(n, a.sendMax)
		b = PDV{ContextID: id, Last: last, Length: n}.appendData(b)
		b = b[:len(b)+n]
		if !last {
			ahead = append(ahead[:0], keep)
		}
		if !last && len(b) >= burst {
			if err := a.wire.write(b, a.o.Write); err != nil {
				return nil, err
			}
			b = b[:0]
		}
	}
	a.outb = b[:0]
	return nil, a.wire.write(b, a.o.Write)
}

// readFull fills b; fewer bytes only at io.EOF. Unlike io.ReadFull it does not take the
// io.ErrUnexpectedEOF of a broken source for its end.
func readFull(r io.Reader, b []byte) (int, error) {
	n := 0
	for idle := 0; n < len(b); idle++ {
		m, err := r.Read(b[n:])
		if n += m; m > 0 {
			idle = 0
		}
		if idle > 100 {
			return n, io.ErrNoProgress
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// unsent finds out how the association ended when a write failed: the peer's A-ABORT may lie there
// unread.
func (a *Association) unsent(err error) error {
	if a.wire.isInterrupted() || errors.Is(err, os.ErrDeadlineExceeded) {
		return a.lost(err)
	}
	a.wire.arm(abortGrace, false)
	var b [headerLen + 4]byte
	if p, perr := a.in.Peek(len(b)); perr == nil && p[0] == typeAbort && binary.BigEndian.Uint32(p[2:]) == 4 {
		if _, _, end := a.pdu(); end != nil {
			return end
		}
	}
	return a.lost(err)
}
