package scp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// session is one association, from connection to end. It belongs to one goroutine.
type session struct {
	*Server
	id       uint64
	assoc    *ul.Association
	remote   netip.AddrPort
	overload bool
	start    time.Time
	log      *slog.Logger

	rq    *ul.AssociateRQ
	conn  *dimse.Conn
	spool *spool.Session
	buf   []byte // between the association and the spool
}

func newSession(s *Server, id uint64, a *ul.Association, remote net.Addr, overload bool) *session {
	n := &session{Server: s, id: id, assoc: a, overload: overload, start: time.Now()}
	if t, ok := remote.(*net.TCPAddr); ok {
		n.remote = netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
	}
	n.log = s.o.Logger.With("assoc", id, "peer", n.remote.Addr().String())
	return n
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
	case errors.Is(err, ul.ErrClosed) && s.rq == nil:
		return // a port check, not a peer
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
	if r := s.admit(); r != nil {
		if err := s.assoc.Reject(r); err != nil {
			return err
		}
		return fmt.Errorf("calling %q, called %q: %w", rq.CallingAE, rq.CalledAE, r)
	}
	// Partial: PS3.7 §D.3.3.3 to §D.3.3.7: one operation at a time whatever window is asked for, and no
	// answer to extended negotiation and user identity, which is as good as their being ignored.
	return s.assoc.Accept(rq, ul.Negotiate(rq, supported), ul.UserInformation{
		ImplementationClass:   dcm.ImplementationClassUID,
		ImplementationVersion: dcm.ImplementationVersionName,
		Roles:                 ul.AnswerRoles(rq, func(string) bool { return false }),
	})
}

// admit returns why the request is rejected (PS3.8 Table 9-21), nil if it is not.
func (s *session) admit() *ul.RejectError {
	user := func(reason byte) *ul.RejectError {
		return &ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: reason}
	}
	switch {
	case s.overload: // comes again, so transient
		return &ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonLocalLimit}
	case s.rq.ApplicationContext != ul.ApplicationContextName:
		return user(ul.ReasonApplicationContext)
	case s.o.CheckCalledAE && s.rq.CalledAE != s.o.AETitle:
		return user(ul.ReasonCalledAE)
	case !s.known():
		return user(ul.ReasonCallingAE)
	}
	return nil
}

// known reports whether the caller is a configured peer at one of its addresses. A configured title
// from elsewhere is not known even where every title is taken.
func (s *session) known() bool {
	listed := false
	for _, p := range s.o.Peers {
		if p.AETitle != s.rq.CallingAE {
			continue
		}
		listed = true
		if len(p.Prefixes) == 0 {
			return true
		}
		for _, x := range p.Prefixes {
			if x.Contains(s.remote.Addr()) {
				return true
			}
		}
	}
	return s.o.AnyPeer && !listed
}

// messages serves the requests of the association until its end.
func (s *session) messages() error {
	s.conn = dimse.NewConn(s.assoc)
	s.spool = s.o.Spool.Session()
	defer func() {
		if err := s.spool.Close(); err != nil {
			s.log.Error("spool segment not closed", "err", err)
		}
	}()
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return err
		}
		switch f := m.Command.Field; {
		case f == dimse.CEchoRQ:
			err = s.echo(m)
		case f == dimse.CStoreRQ:
			err = s.store(m)
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
