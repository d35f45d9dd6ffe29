package scp

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
	"ichor/scp/ul"
)

// errEvicted ends a connection without association when too many are waiting.
var errEvicted = errors.New("dropped: too many connections are waiting")

// session is one connection, from its opening to its end. One goroutine uses it, except for the fields marked.
type session struct {
	*Server
	id     uint64
	assoc  *ul.Association
	raw    net.Conn // the TCP connection under TLS, to close it without a TLS shutdown
	remote netip.AddrPort
	start  time.Time
	tls    bool
	told   bool // it is logged; false: one of too many
	log    *slog.Logger

	place *list.Element // in seats.waiting, guarded by seats
	seat  string        // in seats.of, guarded by seats

	evicted  atomic.Bool  // set by another goroutine: the connection was dropped
	silent   atomic.Int64 // read by another goroutine: when the last message ended, in Unix nanoseconds; 0: one is in progress
	moved    atomic.Int64 // read by another goroutine: when the message in progress last moved, see Server.clock
	shutDown sync.Once    // by another goroutine: aborted at shutdown

	rq    *ul.AssociateRQ
	peer  *Peer // nil: not listed
	conn  *dimse.Conn
	spool *spool.Intake

	promises reports // of Storage Commitment, to send on this association

	objects int   // stored
	bytes   int64 // of these
	refused int   // requests
	changed int   // objects stored beside another content of the same UID
	cases   []string
}

func newSession(s *Server, id uint64, conn net.Conn) *session {
	n := &session{Server: s, id: id, raw: conn, start: time.Now()}
	if t, ok := conn.(*tls.Conn); ok {
		n.raw, n.tls = t.NetConn(), true
	}
	n.assoc = ul.NewAcceptor(conn, ul.Options{
		ARTIM: s.o.ARTIM, Idle: s.o.Idle, Read: s.o.Read, Write: s.o.Write, MaxPDU: s.o.MaxPDU,
	})
	if t, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		n.remote = netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
	}
	n.silent.Store(1) // not 0, so that a shutdown aborts connections without an association
	n.log = s.o.Logger.With("assoc", id, "peer", n.remote.Addr().String())
	return n
}

// resting returns how long no message has been in progress, 0 while one is.
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

// run serves the association. It logs errors and passes them to Events.
func (s *session) run() {
	// Nothing a peer sends may end the process. A panic is a bug of ours and logged as such.
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("association aborted because of a bug in ichor, please report it", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.assoc.Abort(errors.New("internal error"))
			s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: fmt.Errorf("panic: %v", p)})
		}
	}()
	err := s.establish()
	var rejected *ul.RejectError
	switch {
	case errors.As(err, &rejected):
		told := s.mayTell(&s.failed, "rejected")
		s.log.Log(context.Background(), level(told, slog.LevelWarn), "association rejected", "err", err)
		s.event(Event{Kind: Rejected, Took: time.Since(s.start), Err: err, Untold: !told})
		return
	case s.evicted.Load():
		if s.tellDropped(time.Now()) {
			s.log.Warn("dropped idle connections: too many pending without an association request")
		}
		s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: errEvicted})
		return
	case errors.Is(err, ul.ErrClosed) && s.rq == nil:
		return // a port check, not a peer
	case errors.Is(err, errShutdown), errors.Is(err, ul.ErrInterrupted):
		return // no association was requested
	case err != nil:
		s.log.Log(context.Background(), level(s.mayTell(&s.failed, "not established"), slog.LevelWarn), "association not established", "err", err)
		s.event(Event{Kind: Aborted, Took: time.Since(s.start), Err: err})
		return
	}
	from := "this node" // the socket of the self-test
	if s.remote.IsValid() {
		from = s.remote.Addr().String()
	}
	s.log.Log(context.Background(), level(s.told, slog.LevelInfo), "association accepted", "from", from, "called", s.rq.CalledAE, "tls", s.tls)
	s.event(Event{Kind: Accepted})
	s.o.Sink.Opened(s.id)
	defer s.o.Sink.Closed(s.id)
	err = s.messages()
	if errors.Is(err, ul.ErrReleased) {
		err = s.assoc.ConfirmRelease()
	}
	if err != nil {
		s.log.Log(context.Background(), level(s.told || s.objects > 0, slog.LevelWarn), "association aborted", append(s.brought(), "err", err)...)
		s.event(Event{Kind: Aborted, Objects: s.objects, Cases: s.cases, Took: time.Since(s.start), Err: err})
		return
	}
	s.log.Log(context.Background(), level(s.told, slog.LevelInfo), "association released", s.brought()...)
	s.event(Event{Kind: Released, Objects: s.objects, Cases: s.cases, Took: time.Since(s.start)})
}

// level is that of a log line, or debug if it is one of too many.
func level(told bool, l slog.Level) slog.Level {
	if told {
		return l
	}
	return slog.LevelDebug
}

// mostCases bounds the studies of one association that are named.
const mostCases = 16

// count counts an object that is stored.
func (s *session) count(o spool.Object, bytes int64, fresh bool) {
	s.objects++
	s.bytes += bytes
	if o.Conflict && fresh {
		if s.changed++; s.changed == 1 && (s.told || s.mayTell(&s.refusing, "with changed objects")) { // the rest is counted at the end
			s.log.Warn("different content received under a known SOP instance UID, both kept")
		}
	}
	if name := s.o.Name(o.StudyInstanceUID); name != "" && len(s.cases) < mostCases && !slices.Contains(s.cases, name) {
		s.cases = append(s.cases, name)
	}
}

// brought says for the log what the association brought.
func (s *session) brought() []any {
	args := []any{"took", time.Since(s.start).Round(time.Millisecond)}
	if s.objects > 0 {
		args = append(args, "objects", s.objects, "bytes", s.bytes)
	}
	if s.changed > 0 {
		args = append(args, "changed", s.changed)
	}
	if s.refused > 0 {
		args = append(args, "refused", s.refused)
	}
	if len(s.cases) > 0 {
		args = append(args, "case", strings.Join(s.cases, " "))
	}
	return args
}

// establish reads the request and accepts or rejects it.
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
	// Extended and common extended negotiation get no answer: not supported (PS3.7 §D.3.3.5). A user identity gets a
	// positive response only if it was verified (§D.3.3.7).
	id := rq.User.Identity
	s.silent.Store(time.Now().UnixNano())
	s.told = s.mayTell(&s.accepted, "accepted")
	results := ul.Negotiate(rq, s.supported)
	s.log = s.o.Logger.With("assoc", s.id, "peer", rq.CallingAE)
	s.tellAccepted(results)
	s.tellUnsupported(results)
	return s.assoc.Accept(rq, results, ul.UserInformation{
		ImplementationClass:   dcm.ImplementationClassUID,
		ImplementationVersion: dcm.ImplementationVersionName,
		Roles:                 ul.AnswerRoles(rq, s.mayServe),
		Confirmed:             id != nil && id.Respond && peer != nil && peer.Username != "",
	})
}

// messages serves the requests on the association until it ends.
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
		s.moved.Store(s.clock())
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
		case f == dimse.CCancelRQ: // nothing here can be cancelled, and C-CANCEL has no response
		case f.Response():
			err = fmt.Errorf("unexpected %s: %w", f, dimse.ErrCommand)
			s.assoc.Abort(err)
		default:
			err = s.refuse(m, dimse.UnrecognizedOperation, f.String()+" is not supported")
		}
		if err != nil {
			return err
		}
	}
}

// refuse answers m with a failure, after reading the rest of its data set.
func (s *session) refuse(m *dimse.Message, status dimse.Status, comment string) error {
	return s.refuseFor(m, &dimse.StatusError{Status: status, Comment: comment}, time.Now())
}

func (s *session) refuseFor(m *dimse.Message, why *dimse.StatusError, start time.Time) error {
	if m.Data != nil {
		if _, err := io.Copy(io.Discard, &source{r: m.Data, session: s}); err != nil {
			return err
		}
	}
	shown := *why
	if why.Status != dimse.ProcessingFailure && why.Status != dimse.OutOfResources {
		shown.Err = nil // may contain UIDs of a patient's study
	}
	// One line an association; the rest is counted at its end. A refusal is also logged for an association that is one of too many.
	if s.refused++; s.refused == 1 && (s.told || s.mayTell(&s.refusing, "with refused requests")) {
		s.log.Warn("request refused", "err", &shown)
	} else {
		s.log.Debug("request refused", "err", &shown)
	}
	s.event(Event{
		Kind: Refused, SOPClassUID: m.Context.AbstractSyntax, TransferSyntaxUID: m.Context.TransferSyntax,
		Status: why.Status, Took: time.Since(start), Err: why,
	})
	return s.conn.Respond(m, why.Status, why.Comment)
}

// event fills in the rest of e and passes it to Options.Events.
func (s *session) event(e Event) {
	e.Time, e.Assoc, e.Remote = time.Now(), s.id, s.remote
	if s.rq != nil {
		e.Peer = s.rq.CallingAE
	}
	s.o.Events(e)
}
