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
	// sendCap bounds our PDUs if the peer accepts any length.
	sendCap = 128 << 10
	// burst is the size of one write of a long message.
	burst = 64 << 10
)

// establish records the accepted contexts and the maximum length of fragments to the peer.
func (a *Association) establish(rq *AssociateRQ, results []ContextResult, peerMax uint32) {
	for _, r := range results {
		for _, p := range rq.Contexts {
			// Ignore results for contexts or transfer syntaxes that were not proposed.
			if p.ID == r.ID && r.Result == ContextAccepted && slices.Contains(p.TransferSyntaxes, r.TransferSyntax) {
				a.contexts[r.ID] = Context{ID: r.ID, AbstractSyntax: p.AbstractSyntax, TransferSyntax: r.TransferSyntax}
			}
		}
	}
	a.sendMax = fragmentSize(peerMax)
}

// fragmentSize returns the longest even fragment that fits, with its header, into the peer's maximum of peerMax bytes of
// P-DATA-TF after the PDU header (PS3.8 §D.1; 0: no limit). Values below 8 leave no room for an even fragment; it is then 2
// bytes nevertheless.
func fragmentSize(peerMax uint32) int {
	n := sendCap
	if peerMax != 0 && peerMax < sendCap {
		n = int(peerMax)
	}
	return max((n-pdvHead)&^1, 2)
}

// pdu reads the next PDU and executes its event. Of a P-DATA-TF it reads only the header. The value is the *AssociateRQ or
// *AssociateAC, if the PDU is one of these.
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

// control executes the event of a complete control PDU.
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

// invalid executes event 19. The following bytes may not be the start of a PDU.
func (a *Association) invalid(reason byte, cause error) (Action, any, error) {
	a.framed = false
	act, err := a.step(EvtInvalidPDU, argument{reason: reason, cause: cause})
	return act, nil, err
}

// Next advances to the next fragment and skips the unread rest of the current one. ErrReleased: the peer requests release.
// Other errors mean that the association has ended: *AbortError, ErrClosed, ErrTimeout.
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

// widen replaces the read buffer by the larger one for messages, once.
func (a *Association) widen() {
	if a.wide {
		return
	}
	a.wide = true
	ahead := make([]byte, a.in.Buffered())
	_, _ = io.ReadFull(a.in, ahead) // they are already buffered
	a.in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), &a.wire), 32<<10)
}

// Context returns the accepted context with this ID; its ID is 0 if there is none.
func (a *Association) Context(id byte) Context { return a.contexts[id] }

// Read reads from the current fragment; io.EOF at its end.
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

// MessageEnd marks the end of a message: from now on the idle timeout applies.
func (a *Association) MessageEnd() { a.midway = false }

// skip discards the rest of a P-DATA-TF.
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

// Send sends a message: a command set, and a data set if data is not nil. A message that fits into one burst is sent in one
// write. If reading data fails, Send returns that error, wrapped, and aborts the association, because the message cannot be
// completed.
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
		err = fmt.Errorf("reading the data set to send: %w", src)
		a.Abort(err)
		return err
	case err != nil:
		return a.unsent(err)
	}
	return nil
}

// send writes the fragments. src is an error from data, err one from the connection.
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

// readFull fills b, with fewer bytes only at io.EOF. Unlike io.ReadFull it does not confuse the io.ErrUnexpectedEOF of a
// broken source with its end.
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

// unsent finds out how the association ended when a write failed: there may be an unread A-ABORT from the peer.
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
