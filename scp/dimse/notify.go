package dimse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ichor/scp/ul"
)

// maxInformation bounds the data set of an N-ACTION, N-EVENT-REPORT or C-FIND message; enough for some ten thousand
// references.
const maxInformation = 4 << 20

// Information reads a data set that is not a stored object: action or event information, or an identifier. ErrCommand:
// there is none, or it is longer than such a message needs.
func (m *Message) Information() ([]byte, error) {
	if m.Data == nil {
		return nil, fmt.Errorf("%s without data set: %w", m.Command.Field, ErrCommand)
	}
	b, err := io.ReadAll(io.LimitReader(m.Data, maxInformation+1))
	if err == nil && len(b) > maxInformation {
		err = fmt.Errorf("data set of %s longer than %d bytes: %w", m.Command.Field, maxInformation, ErrCommand)
	}
	return b, err
}

// Notice is an N-ACTION or N-EVENT-REPORT to send.
type Notice struct {
	SOPClassUID       string
	SOPInstanceUID    string
	Type              uint16 // action or event type
	TransferSyntaxUID string // of Data; a context with it must have been accepted
	Data              []byte // action or event information
}

// Action sends an N-ACTION (PS3.7 §10.1.4). Status and error as for Store.
func (s *SCU) Action(ctx context.Context, n Notice) (Status, error) {
	return s.notify(ctx, n, &Command{
		Field: NActionRQ, RequestedSOPClassUID: n.SOPClassUID, RequestedSOPInstance: n.SOPInstanceUID, ActionTypeID: n.Type, HasDataSet: true,
	})
}

// Report sends an N-EVENT-REPORT (PS3.7 §10.1.1). This side must be SCP of the SOP class, by role selection if it opened
// the association. Status and error as for Store.
func (s *SCU) Report(ctx context.Context, n Notice) (Status, error) {
	return s.notify(ctx, n, &Command{
		Field: NEventReportRQ, AffectedSOPClassUID: n.SOPClassUID, AffectedSOPInstanceUID: n.SOPInstanceUID, EventTypeID: n.Type, HasDataSet: true,
	})
}

func (s *SCU) notify(ctx context.Context, n Notice, cmd *Command) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.context(n.SOPClassUID, n.TransferSyntaxUID)
	if err != nil {
		return ProcessingFailure, err
	}
	field := cmd.Field
	rsp, err := s.ask(ctx, c, cmd, bytes.NewReader(n.Data))
	if err != nil {
		return ProcessingFailure, fmt.Errorf("%s: %w", field, err)
	}
	if rsp.Status.Failure() || rsp.Status.Pending() {
		return rsp.Status, fmt.Errorf("%s: %w", field, &StatusError{Status: rsp.Status, Comment: rsp.ErrorComment})
	}
	return rsp.Status, nil
}

// Event is an N-EVENT-REPORT from the peer.
type Event struct {
	SOPClassUID       string
	SOPInstanceUID    string
	Type              uint16
	TransferSyntaxUID string // of Data
	Data              []byte // event information
}

// event answers an N-EVENT-REPORT.
func (s *SCU) event(m *Message) error {
	if s.events == nil {
		return s.conn.Respond(m, UnrecognizedOperation, "event reports are not expected here")
	}
	data, err := m.Information()
	if errors.Is(err, ErrCommand) {
		return s.conn.Respond(m, InvalidArgument, "")
	}
	if err != nil {
		return err
	}
	return s.conn.Respond(m, s.events(Event{
		SOPClassUID: m.Command.AffectedSOPClassUID, SOPInstanceUID: m.Command.AffectedSOPInstanceUID, Type: m.Command.EventTypeID,
		TransferSyntaxUID: m.Context.TransferSyntax, Data: data,
	}), "")
}

// Await waits up to d for an N-EVENT-REPORT from the peer and reports whether one came. Without an error the association
// continues, unless the peer released it: then Release has nothing left to do.
func (s *SCU) Await(ctx context.Context, d time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, ul.ErrState
	}
	stop := context.AfterFunc(ctx, s.assoc.Interrupt)
	defer stop()
	quiet, err := s.assoc.Quiet(d)
	if err == nil && quiet {
		return false, nil
	}
	var m *Message
	if err == nil {
		m, err = s.conn.Receive()
	}
	switch {
	case errors.Is(err, ul.ErrReleased):
		err = s.assoc.ConfirmRelease()
		s.end()
		return false, err
	case err == nil && m.Command.Field == NEventReportRQ:
		err = s.event(m)
	case err == nil:
		err = s.conn.abort(fmt.Errorf("unexpected %s from the SCP: %w", m.Command.Field, ErrCommand))
	}
	if err != nil {
		s.end()
	}
	return err == nil, err
}
