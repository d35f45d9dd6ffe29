package dimse

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/ul"
)

// ConnectOptions say which peer to connect to and what to propose. Address, CallingAE, CalledAE and Contexts are required;
// zero durations and sizes take the defaults given.
type ConnectOptions struct {
	Address   string // host:port
	CallingAE string // at most 16 bytes
	CalledAE  string
	Contexts  []ul.ProposedContext // IDs that are 0 are numbered 1, 3, 5 ...
	Roles     []ul.Role
	Identity  *ul.UserIdentity   // offered to the peer; nil: none
	TLS       *tls.Config        // nil: plain
	Events    func(Event) Status // answers N-EVENT-REPORTs from the peer, during any call; nil: refuse them

	ConnectTimeout  time.Duration // for the TCP connection, the association and the release, each; 15 s
	ResponseTimeout time.Duration // from the last byte of a request to its response, 120 s
	WriteTimeout    time.Duration // for each write, 60 s
	MaxPDU          uint32        // bytes the peer may send us in one PDU, 131072
}

// SCU is an association on which this side sends requests and the peer is the SCP. Several goroutines may use it; their
// calls run one at a time.
type SCU struct {
	mu     sync.Mutex
	assoc  *ul.Association
	conn   *Conn
	offer  []ul.ProposedContext
	events func(Event) Status
	id     uint16
	closed bool

	information []byte // data set of the last pending response
}

// Connect opens an association. Errors: *ul.RejectError if the peer rejects it, *ul.AbortError, ul.ErrTimeout, or an error
// of package net. ctx bounds only the opening. It is no error if the peer accepts none of the contexts: see Accepted.
func Connect(ctx context.Context, o ConnectOptions) (*SCU, error) {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 15 * time.Second
	}
	if o.ResponseTimeout <= 0 {
		o.ResponseTimeout = 2 * time.Minute
	}
	offer := slices.Clone(o.Contexts)
	for i := range offer {
		if offer[i].ID == 0 && i < ul.MaxContexts {
			offer[i].ID = byte(2*i + 1)
		}
	}
	rq := &ul.AssociateRQ{
		CalledAE: o.CalledAE, CallingAE: o.CallingAE, Contexts: offer,
		User: ul.UserInformation{
			ImplementationClass: dcm.ImplementationClassUID, ImplementationVersion: dcm.ImplementationVersionName, Roles: o.Roles,
			Identity: o.Identity,
		},
	}
	assoc, _, err := ul.Dial(ctx, o.Address, rq, ul.Options{
		ARTIM: o.ConnectTimeout, Idle: o.ResponseTimeout, Read: o.ResponseTimeout, Write: o.WriteTimeout, MaxPDU: o.MaxPDU, TLS: o.TLS,
	})
	if err != nil {
		return nil, fmt.Errorf("association with %s at %s: %w", o.CalledAE, o.Address, err)
	}
	return &SCU{assoc: assoc, conn: NewConn(assoc), offer: offer, events: o.Events}, nil
}

// Accepted returns the transfer syntaxes in which the peer accepts sopClass, in the order proposed; nil if it does not
// accept the class.
func (s *SCU) Accepted(sopClass string) []string {
	var ts []string
	for _, o := range s.offer {
		if c := s.assoc.Context(o.ID); o.AbstractSyntax == sopClass && c.ID != 0 && !slices.Contains(ts, c.TransferSyntax) {
			ts = append(ts, c.TransferSyntax)
		}
	}
	return ts
}

// context returns the accepted context for a SOP class; an empty transferSyntax matches any.
func (s *SCU) context(sopClass, transferSyntax string) (ul.Context, error) {
	for _, c := range s.assoc.Contexts() {
		if c.AbstractSyntax == sopClass && (transferSyntax == "" || c.TransferSyntax == transferSyntax) {
			return c, nil
		}
	}
	return ul.Context{}, fmt.Errorf("SOP class %s in transfer syntax %s: %w, configure the peer to accept it",
		sopClass, transferSyntax, ul.ErrNoContext)
}

// Echo sends a C-ECHO (PS3.7 §9.1.5). *StatusError: the response is not success. The contexts must include the Verification
// SOP class.
func (s *SCU) Echo(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.context(dcm.VerificationSOPClass, "")
	if err != nil {
		return err
	}
	rsp, err := s.ask(ctx, c, &Command{Field: CEchoRQ, AffectedSOPClassUID: dcm.VerificationSOPClass}, nil)
	if err != nil {
		return fmt.Errorf("C-ECHO: %w", err)
	}
	if !rsp.Status.Success() {
		return fmt.Errorf("C-ECHO: %w", &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment})
	}
	return nil
}

// StoreRequest is one object to send.
type StoreRequest struct {
	SOPClassUID       string
	SOPInstanceUID    string
	TransferSyntaxUID string    // of Data; a context with it must have been accepted
	Data              io.Reader // data set without preamble and meta information
	Priority          uint16    // 0 medium, 1 high, 2 low (PS3.7 §9.1.1.1.3)
}

// Store sends a C-STORE (PS3.7 §9.1.1) and returns the status in the response. A failure status also gives a *StatusError; a
// warning means stored and gives no error. ul.ErrNoContext: nothing was sent and the association continues. Any other
// error, also the end of ctx, ends the association.
func (s *SCU) Store(ctx context.Context, r StoreRequest) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.context(r.SOPClassUID, r.TransferSyntaxUID)
	if err != nil {
		return ProcessingFailure, err
	}
	rsp, err := s.ask(ctx, c, &Command{
		Field: CStoreRQ, AffectedSOPClassUID: r.SOPClassUID, AffectedSOPInstanceUID: r.SOPInstanceUID, HasDataSet: true, Priority: r.Priority,
	}, r.Data)
	if err != nil {
		return ProcessingFailure, fmt.Errorf("C-STORE: %w", err)
	}
	if rsp.Status.Failure() || rsp.Status.Pending() {
		return rsp.Status, fmt.Errorf("C-STORE: %w", &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment})
	}
	return rsp.Status, nil
}

// StoreDataSet encodes d in a transfer syntax and sends it as Store does.
func (s *SCU) StoreDataSet(ctx context.Context, d *dcm.DataSet, transferSyntaxUID string) (Status, error) {
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, transferSyntaxUID); err != nil {
		return ProcessingFailure, err
	}
	return s.Store(ctx, StoreRequest{SOPClassUID: d.String(dcm.SOPClassUID), SOPInstanceUID: d.String(dcm.SOPInstanceUID), TransferSyntaxUID: transferSyntaxUID, Data: &b})
}

// ask sends a request and waits for its response.
func (s *SCU) ask(ctx context.Context, c ul.Context, cmd *Command, data io.Reader) (Command, error) {
	if s.closed {
		return Command{}, ul.ErrState
	}
	if err := ctx.Err(); err != nil {
		return Command{}, err
	}
	stop := context.AfterFunc(ctx, s.assoc.Interrupt)
	defer stop()
	s.id++
	cmd.MessageID = s.id
	rsp, err := s.exchange(c, cmd, data)
	if err != nil {
		s.end()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	return rsp, err
}

func (s *SCU) exchange(c ul.Context, cmd *Command, data io.Reader) (Command, error) {
	if err := s.conn.Send(c.ID, cmd, data); err != nil {
		return Command{}, err
	}
	return s.response(cmd)
}

// response waits for a response to cmd. It stores the data set of a pending one in information.
func (s *SCU) response(cmd *Command) (Command, error) {
	m, err := s.conn.Receive()
	for err == nil && m.Command.Field == NEventReportRQ { // the peer may send one at any time
		if err = s.event(m); err == nil {
			m, err = s.conn.Receive()
		}
	}
	if err != nil {
		return Command{}, err
	}
	if m.Command.Field != cmd.Field.response() || m.Command.RespondedTo != cmd.MessageID {
		return Command{}, s.conn.abort(fmt.Errorf("%s to message %d answers %s %d: %w",
			m.Command.Field, m.Command.RespondedTo, cmd.Field, cmd.MessageID, ErrCommand))
	}
	if m.Command.Status.Pending() && m.Data != nil {
		if s.information, err = m.Information(); err != nil {
			return Command{}, s.conn.abort(err)
		}
	}
	return m.Command, nil
}

// Release ends the association in an orderly way and closes the connection. The connection is closed even on error, that is
// if the peer did not follow the protocol; earlier responses remain valid.
func (s *SCU) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	stop := context.AfterFunc(ctx, s.assoc.Interrupt)
	defer stop()
	err := s.assoc.Release()
	s.end()
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// Abort ends the association immediately, even during a call. After Release or Abort it does nothing.
func (s *SCU) Abort() {
	s.assoc.Abort(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

func (s *SCU) end() {
	if !s.closed {
		s.closed = true
		s.assoc.Close()
	}
}
