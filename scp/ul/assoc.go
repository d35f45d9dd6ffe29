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

// abortGrace bounds the writing of an A-ABORT to a peer that may not read any more.
const abortGrace = time.Second

// Options of an association. Zero values take the defaults named.
type Options struct {
	ARTIM time.Duration // association request and release, PS3.8 §9.1.5; 30 s
	// Linger is ARTIM in Sta13: how long the peer gets to close its side; 2 s.
	Linger time.Duration
	Idle   time.Duration // between messages; 5 min
	Read   time.Duration // for each 16 KiB, or the rest of a message, to arrive; 60 s
	Write  time.Duration // for each write to make way; 60 s

	// MaxPDU is announced to the peer: bytes of a P-DATA-TF after its header; 131072.
	MaxPDU uint32

	// TLS of a requestor; nil: plain. Without a ServerName the host of the address is expected in the certificate. An
	// acceptor is given a *tls.Conn instead.
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

// Association is one association, in either role. All calls but Abort and Interrupt belong to one
// goroutine at a time.
type Association struct {
	o         Options
	requestor bool
	wire      wire
	in        *bufio.Reader
	wide      bool // in has the size for messages
	framed    bool // in stands at a PDU boundary once pduLeft bytes are read
	pduLeft   uint32
	pdvLeft   int
	midway    bool // between the first byte of a message and MessageEnd
	contexts  [256]Context
	sendMax   int // bytes of a fragment, even

	mu    sync.Mutex
	state State
	err   error     // why it ended, the first reason
	artim time.Time // expiry, while it runs

	out  sync.Mutex // held while a PDU is on its way out
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

// narrow is the read buffer of an association that has not sent a message yet: a thousand idle ones cost little.
const narrow = 2 << 10

func (a *Association) connected(conn net.Conn) {
	a.wire.conn = conn
	a.in = bufio.NewReaderSize(&a.wire, narrow)
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		// A dead peer is noticed within two minutes even where the idle time is long. An error means
		// the connection is gone already; the first read says so.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
	}
}

// NewAcceptor begins an association on an accepted connection. Request comes next, Close always
// comes last.
func NewAcceptor(conn net.Conn, o Options) *Association {
	a := newAssociation(conn, o)
	a.step(EvtConnectIndication, argument{})
	return a
}

// Request awaits the A-ASSOCIATE-RQ under ARTIM, after the handshake on a TLS connection. A request of another protocol version is rejected
// here, the *RejectError comes back. Accept or Reject comes next.
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

// Accept answers the request. results is what Negotiate gave for rq. A proposed asynchronous operations window is
// answered by one operation each way (PS3.7 §D.3.3.3), for the association is driven by one goroutine.
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

// Reject answers the request with A-ASSOCIATE-RJ.
func (a *Association) Reject(r *RejectError) error {
	_, err := a.step(EvtAssociateReject, argument{pdu: r.encode()})
	return err
}

// Dial opens a connection and an association. *RejectError, *AbortError, ErrTimeout, ErrClosed, ErrTransport or the
// error of net. A nil error means that data may flow, even if the peer accepted no context at all.
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

// Contexts returns the accepted contexts in the order of their identifiers.
func (a *Association) Contexts() []Context {
	var cs []Context
	for _, c := range a.contexts {
		if c.ID != 0 {
			cs = append(cs, c)
		}
	}
	return cs
}

// State is the current state.
func (a *Association) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// Err is the reason why the association ended early, nil if it has not.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// argument is what an event brings along.
type argument struct {
	pdu          []byte // to send: A-ASSOCIATE-RQ, -AC, -RJ
	received     error  // *RejectError or *AbortError of the peer
	reason       byte   // of AA-8 and AA-7
	cause        error  // why this side aborts
	unacceptable bool   // AE-6
}

// step executes PS3.8 Table 9-10 for one event. The error is the end of the association, or ErrState
// where the table has no entry.
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
		_ = a.wire.conn.Close() // nothing is left to be written
	}
	return act, end
}

// effect says what an action sends, how it ends the association, and whether the connection closes
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
		return nil, ErrClosed, true // the regular end of Sta13; err was set before if there was one
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

// put sends a control PDU. An abort does not wait for a data PDU on its way: the connection is then
// as good as lost, and closing it says as much.
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
