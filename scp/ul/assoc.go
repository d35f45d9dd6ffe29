package ul

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// abortGrace bounds the write of an A-ABORT to a peer that may have stopped reading.
const abortGrace = time.Second

// Options configure an association. Zero values take the defaults given.
type Options struct {
	ARTIM time.Duration // association request and release, PS3.8 §9.1.5; 30 s
	// Linger is ARTIM in Sta13: how long the peer gets to close its side; 2 s.
	Linger time.Duration
	Idle   time.Duration // between messages; 5 min
	Read   time.Duration // for each 16 KiB, or the rest of a message, to arrive; 60 s
	Write  time.Duration // for each write; 60 s

	// MaxPDU is announced to the peer: maximum bytes of a P-DATA-TF after its header; 131072.
	MaxPDU uint32

	// TLS configures a requestor; nil: no TLS. Without a ServerName the certificate must contain the host of the address. For
	// an acceptor, pass a *tls.Conn instead.
	TLS *tls.Config
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.ARTIM, 30*time.Second)
	set(&o.Linger, 2*time.Second)
	set(&o.Idle, 5*time.Minute)
	set(&o.Read, time.Minute)
	set(&o.Write, time.Minute)
	if o.MaxPDU == 0 {
		o.MaxPDU = 128 << 10
	}
	return o
}

// Association is one association, as requestor or acceptor. Only one goroutine at a time may use it, except for Abort and
// Interrupt.
type Association struct {
	o         Options
	requestor bool
	wire      wire
	in        *bufio.Reader
	wide      bool // the read buffer has the size for messages
	framed    bool // in is at a PDU boundary after pduLeft more bytes
	pduLeft   uint32
	pdvLeft   int
	midway    bool // between the first byte of a message and MessageEnd
	contexts  [256]Context
	sendMax   int // bytes of a fragment, even

	mu    sync.Mutex
	state State
	err   error     // the first reason why it ended
	artim time.Time // expiry, while it runs

	out  sync.Mutex // held while a PDU is written
	outb []byte
}

// Context is an accepted presentation context.
type Context struct {
	ID             byte
	AbstractSyntax string
	TransferSyntax string
}

func newAssociation(conn net.Conn, o Options) *Association {
	a := &Association{o: o.withDefaults(), framed: true, state: Sta1}
	a.connected(conn)
	return a
}

// narrow is the size of the read buffer before the first message, so that many idle associations need little memory.
const narrow = 2 << 10

func (a *Association) connected(conn net.Conn) {
	a.wire.conn = conn
	a.in = bufio.NewReaderSize(&a.wire, narrow)
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		// Detect a dead peer within two minutes even if the idle timeout is long. An error means that
		// the connection is closed; the first read reports that.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
	}
}

// NewAcceptor starts an association on an accepted connection. Call Request next, and Close at the end in any case.
func NewAcceptor(conn net.Conn, o Options) *Association {
	a := newAssociation(conn, o)
	a.step(EvtConnectIndication, argument{})
	return a
}

// Request waits for the A-ASSOCIATE-RQ under ARTIM, after the handshake on a TLS connection. It rejects a request with
// another protocol version and returns the *RejectError. Call Accept or Reject next.
func (a *Association) Request() (*AssociateRQ, error) {
	a.wire.arm(a.o.ARTIM, false)
	if err := a.secure(); err != nil {
		return nil, err
	}
	_, pdu, err := a.pdu()
	if err != nil {
		return nil, err
	}
	rq, ok := pdu.(*AssociateRQ)
	if !ok {
		return nil, fmt.Errorf("no association request: %w", ErrState)
	}
	return rq, nil
}

// Accept accepts the request. results are those of Negotiate for rq. The answer to a proposed asynchronous operations
// window is one operation each way (PS3.7 §D.3.3.3), because one goroutine runs the association.
func (a *Association) Accept(rq *AssociateRQ, results []ContextResult, user UserInformation) error {
	user.MaxLength = a.o.MaxPDU
	if rq.User.Async != nil {
		user.Async = &AsyncWindow{Invoked: 1, Performed: 1}
	}
	ac := AssociateAC{
		ProtocolVersion: protocolVersion, CalledAE: rq.CalledAE, CallingAE: rq.CallingAE,
		ApplicationContext: ApplicationContextName, Contexts: results, User: user,
	}
	b, err := ac.Encode()
	if err != nil {
		return err
	}
	a.establish(rq, results, rq.User.MaxLength)
	_, err = a.step(EvtAssociateAccept, argument{pdu: b})
	return err
}

// Reject rejects the request with A-ASSOCIATE-RJ.
func (a *Association) Reject(r *RejectError) error {
	_, err := a.step(EvtAssociateReject, argument{pdu: r.encode()})
	return err
}

// Dial opens a connection and an association. Errors: *RejectError, *AbortError, ErrTimeout, ErrClosed, ErrTransport, or an
// error of package net. A nil error means that the association is established, even if the peer accepted no context.
func Dial(ctx context.Context, address string, rq *AssociateRQ, o Options) (*Association, *AssociateAC, error) {
	o = o.withDefaults()
	rq.ProtocolVersion, rq.ApplicationContext, rq.User.MaxLength = protocolVersion, ApplicationContextName, o.MaxPDU
	b, err := rq.Encode()
	if err != nil {
		return nil, nil, err
	}
	a := &Association{o: o, requestor: true, framed: true, state: Sta1}
	a.step(EvtAssociateRequest, argument{})
	conn, err := dial(ctx, address, o)
	if err != nil {
		return nil, nil, err
	}
	a.connected(conn)
	stop := context.AfterFunc(ctx, a.Interrupt)
	defer stop()
	ac, err := a.request(b)
	if err != nil {
		a.Close()
		if errors.Is(err, ErrClosed) && o.TLS == nil {
			err = fmt.Errorf("%w: the association request was not answered; does it expect TLS on this port?", err)
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return nil, nil, err
	}
	a.establish(rq, ac.Contexts, ac.User.MaxLength)
	return a, ac, nil
}

func (a *Association) request(b []byte) (*AssociateAC, error) {
	if _, err := a.step(EvtConnected, argument{pdu: b}); err != nil {
		return nil, err
	}
	a.wire.arm(a.o.ARTIM, false)
	_, pdu, err := a.pdu()
	if err != nil {
		return nil, err
	}
	ac, ok := pdu.(*AssociateAC)
	if !ok {
		return nil, fmt.Errorf("no association response: %w", ErrState)
	}
	return ac, nil
}

// Contexts returns the accepted contexts, ordered by ID.
func (a *Association) Contexts() []Context {
	var cs []Context
	for _, c := range a.contexts {
		if c.ID != 0 {
			cs = append(cs, c)
		}
	}
	return cs
}

// State returns the current state.
func (a *Association) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// Err returns why the association ended early, nil if it did not.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// argument holds the parameters of an event.
type argument struct {
	pdu          []byte // to send: A-ASSOCIATE-RQ, -AC, -RJ
	received     error  // *RejectError or *AbortError from the peer
	reason       byte   // of AA-8 and AA-7
	cause        error  // why this side aborts
	unacceptable bool   // AE-6
}

// step executes PS3.8 Table 9-10 for one event. The error is why the association ended, or ErrState if the table has no
// entry.
func (a *Association) step(e Event, arg argument) (Action, error) {
	a.mu.Lock()
	from := a.state
	act, to := lookup(from, e, condition{requestor: a.requestor, unacceptable: arg.unacceptable})
	if act == None {
		defer a.mu.Unlock()
		if a.err != nil {
			return None, a.err
		}
		return None, fmt.Errorf("event %d in %s: %w", e, from, ErrState)
	}
	a.state = to
	if arg.reason == AbortUnexpectedPDU && (act == AA8 || act == AA1) {
		arg.cause = fmt.Errorf("PDU of event %d (PS3.8 Table 9-10) in %s: %w", e, from, ErrState)
	}
	send, end, closing := a.effect(act, e, arg)
	if end != nil && a.err == nil {
		a.err = end
	}
	if to == Sta13 && from != Sta13 {
		a.artim = time.Now().Add(a.o.Linger)
	}
	a.mu.Unlock()

	if send != nil {
		if err := a.put(send, act == AA1 || act == AA7 || act == AA8); err != nil && end == nil {
			return act, a.lost(err)
		}
	}
	if closing && a.wire.conn != nil {
		_ = a.wire.conn.Close() // nothing is left to write
	}
	return act, end
}

// effect returns what an action sends, how it ends the association, and whether it closes the connection
// (PS3.8 Tables 9-6 to 9-9).
func (a *Association) effect(act Action, e Event, arg argument) (send []byte, end error, closing bool) {
	switch act {
	case AE2, AE7, AE8:
		return arg.pdu, nil, false
	case AE4:
		return nil, arg.received, true
	case AE6:
		if arg.unacceptable {
			r := &RejectError{RejectedPermanent, RejectSourceACSE, ReasonProtocolVersion}
			return r.encode(), r, false
		}
	case AR1:
		return encodeRelease(typeReleaseRQ), nil, false
	case AR4, AR9:
		return encodeRelease(typeReleaseRP), nil, false
	case AR3:
		return nil, nil, true
	case AR5:
		return nil, ErrClosed, true // the normal end of Sta13; an earlier err is kept
	case AA1:
		ab := &AbortError{Source: AbortSourceUser, Local: true, Err: arg.cause}
		return ab.encode(), ab, false
	case AA2:
		switch {
		case arg.received != nil:
			return nil, arg.received, true
		case e == EvtARTIM:
			return nil, fmt.Errorf("ARTIM timer: %w", ErrTimeout), true
		}
		return nil, &AbortError{Source: AbortSourceUser, Local: true, Err: arg.cause}, true
	case AA3:
		return nil, arg.received, true
	case AA4, AA5:
		if arg.cause != nil {
			return nil, fmt.Errorf("%w: %w", ErrClosed, arg.cause), true
		}
		return nil, ErrClosed, true
	case AA7:
		ab := &AbortError{Source: AbortSourceProvider, Reason: arg.reason}
		return ab.encode(), nil, false
	case AA8:
		ab := &AbortError{Source: AbortSourceProvider, Reason: arg.reason, Local: true, Err: arg.cause}
		return ab.encode(), ab, false
	}
	return nil, nil, false
}

// put sends a control PDU. An abort is skipped while a data PDU is being written: the connection is then as good as lost,
// and closing it tells the peer the same.
func (a *Association) put(b []byte, abort bool) error {
	d := a.o.Write
	if abort {
		if !a.out.TryLock() {
			a.wire.interrupt()
			return nil
		}
		d = min(d, abortGrace)
	} else {
		a.out.Lock()
	}
	defer a.out.Unlock()
	return a.wire.write(b, d)
}
