package scp

import (
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// errEvicted ends a connection without association when too many others wait.
var errEvicted = errors.New("dropped: too many connections wait")

// session is one connection, from its opening to its end. It belongs to one goroutine but for what is marked.
type session struct {
	*Server
	id     uint64
	assoc  *ul.Association
	raw    net.Conn // under TLS, to end it whatever TLS may want
	remote netip.AddrPort
	start  time.Time
	log    *slog.Logger

	place *list.Element // in seats.waiting, guarded by seats
	seat  string        // in seats.of, guarded by seats

	evicted  atomic.Bool  // set by another: the connection had to go
	silent   atomic.Int64 // read by another: since when no message is on its way, in Unix nanoseconds; 0: one is
	shutDown sync.Once    // by another: aborted at shutdown

	rq    *ul.AssociateRQ
	peer  *Peer // nil: not listed
	conn  *dimse.Conn
	spool *spool.Intake

	promises reports // of Storage Commitment, to be made on this association
}

func newSession(s *Server, id uint64, conn net.Conn) *session {
	n := &session{Server: s, id: id, raw: conn, start: time.Now()}
	if t, ok := conn.(*tls.Conn); ok {
		n.raw = t.NetConn()
	}
	n.assoc = ul.NewAcceptor(conn, ul.Options{
		ARTIM: s.o.ARTIM, Idle: s.o.Idle, Read: s.o.Read, Write: s.o.Write, MaxPDU: s.o.MaxPDU,
	})
	if t, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		n.remote = netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
	}
	n.silent.Store(1) // whoever has not asked for an association by the time of a shutdown need not
	n.log = s.o.Logger.With("assoc", id, "peer", n.remote.Addr().String())
	return n
}

// resting is how long no message has been on its way, 0 while one is.
func (s *session) resting(now time.Time) time.Duration {
	if since := s.silent.Load(); since != 0 {
		return time.Duration(now.UnixNano() - since)
	}
	return 0
}

func (s *session) abortIf(yes bool) {
	if yes {
		s.shutDown.Do(func() { s.assoc.Abort(errShutdown) })
	}
}

// run serves the association. Errors end here: they are logged and told to Events.
func (s *session) run() {
	// What a peer sends is not to end the process. A panic is a defect of ours and logged as such.
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("association aborted by a defect of this program, please report it", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.assoc.Abort(errors.New("internal error"))
			s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: fmt.Errorf("panic: %v", p)})
		}
	}()
	err := s.establish()
	var rejected *ul.RejectError
	switch {
	case errors.As(err, &rejected):
		s.log.Warn("association rejected", "err", err)
		s.event(Event{Kind: Rejected, Took: time.Since(s.start), Err: err})
		return
	case s.evicted.Load():
		if s.tellDropped(time.Now()) {
			s.log.Warn("connections dropped that sent no association request, for too many came after them")
		}
		s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: errEvicted})
		return
	case errors.Is(err, ul.ErrClosed) && s.rq == nil:
		return // a port check, not a peer
	case errors.Is(err, errShutdown), errors.Is(err, ul.ErrInterrupted):
		return // no association was asked for
	case err != nil:
		s.log.Warn("association not established", "err", err)
		s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: err})
		return
	}
	s.log = s.o.Logger.With("assoc", s.id, "peer", s.rq.CallingAE)
	s.event(Event{Kind: Accepted})
	s.o.Sink.Opened(s.id)
	defer s.o.Sink.Closed(s.id)
	err = s.messages()
	if errors.Is(err, ul.ErrReleased) {
		err = s.assoc.ConfirmRelease()
	}
	if err != nil {
		s.log.Warn("association aborted", "took", time.Since(s.start), "err", err)
		s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: err})
		return
	}
	s.log.Info("association released", "took", time.Since(s.start))
	s.event(Event{Kind: Released, Took: time.Since(s.start)})
}

// establish hears the request and accepts or rejects it.
func (s *session) establish() error {
	rq, err := s.assoc.Request()
	if err != nil {
		return err
	}
	s.rq = rq
	peer, r := s.admit()
	s.peer = peer
	if r != nil {
		if err := s.assoc.Reject(r.RejectError); err != nil {
			return err
		}
		err = fmt.Errorf("calling %q, called %q: %w", rq.CallingAE, rq.CalledAE, r.RejectError)
		if r.why != "" {
			err = fmt.Errorf("%w: %s", err, r.why)
		}
		return err
	}
	// Extended and common extended negotiation have no answer, which says that they are not supported (PS3.7 §D.3.3.5).
	// Of a user identity a positive response is given only where it was verified (§D.3.3.7).
	id := rq.User.Identity
	s.silent.Store(time.Now().UnixNano())
	results := ul.Negotiate(rq, s.supported)
	s.log = s.o.Logger.With("assoc", s.id, "peer", rq.CallingAE)
	s.tellUnsupported(results)
	return s.assoc.Accept(rq, results, ul.UserInformation{
		ImplementationClass:   dcm.ImplementationClassUID,
		ImplementationVersion: dcm.ImplementationVersionName,
		Roles:                 ul.AnswerRoles(rq, s.mayServe),
		Confirmed:             id != nil && id.Respond && peer != nil && peer.Username != "",
	})
}

// messages serves the requests of the association until its end.
func (s *session) messages() error {
	s.conn = dimse.NewConn(s.assoc)
	s.spool = s.o.Spool.Intake()
	defer func() {
		if err := s.spool.Close(); err != nil {
			s.log.Error("spool segment not closed", "err", err)
		}
	}()
	for {
		s.silent.Store(time.Now().UnixNano())
		if err := s.report(); err != nil {
			return err
		}
		m, err := s.conn.Receive()
		if err != nil {
			return err
		}
		s.silent.Store(0)
		switch f := m.Command.Field; {
		case f == dimse.CEchoRQ:
			err = s.echo(m)
		case f == dimse.CStoreRQ:
			err = s.store(m)
		case f == dimse.NActionRQ:
			err = s.action(m)
		case f == dimse.NEventReportRQ:
			err = s.result(m)
		case f == dimse.NEventReportRSP && s.promises.sent[m.Command.RespondedTo] != "":
			err = s.reported(m)
		case f == dimse.CCancelRQ: // nothing here can be cancelled, and it has no response
		case f.Response():
			err = fmt.Errorf("%s that nobody asked for: %w", f, dimse.ErrCommand)
			s.assoc.Abort(err)
		default:
			err = s.refuse(m, dimse.UnrecognizedOperation, f.String()+" is not served here")
		}
		if err != nil {
			return err
		}
	}
}

// refuse answers m with a failure, after what there is of its data set.
func (s *session) refuse(m *dimse.Message, status dimse.Status, comment string) error {
	return s.refuseFor(m, &dimse.StatusError{Status: status, Comment: comment}, time.Now())
}

func (s *session) refuseFor(m *dimse.Message, why *dimse.StatusError, start time.Time) error {
	if m.Data != nil {
		if _, err := io.Copy(io.Discard, m.Data); err != nil {
			return err
		}
	}
	shown := *why
	if why.Status != dimse.ProcessingFailure && why.Status != dimse.OutOfResources {
		shown.Err = nil // may name UIDs of a patient's study
	}
	s.log.Warn("request refused", "err", &shown)
	s.event(Event{
		Kind: Refused, SOPClassUID: m.Context.AbstractSyntax, TransferSyntaxUID: m.Context.TransferSyntax,
		Status: why.Status, Took: time.Since(start), Err: why,
	})
	return s.conn.Respond(m, why.Status, why.Comment)
}

// event completes e and tells it.
func (s *session) event(e Event) {
	e.Time, e.Assoc, e.Remote = time.Now(), s.id, s.remote
	if s.rq != nil {
		e.Peer = s.rq.CallingAE
	}
	s.o.Events(e)
}
