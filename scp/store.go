package scp

import (
	"errors"
	"io"
	"slices"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
)

// store serves a C-STORE (PS3.7 §9.1.1, PS3.4 §B.2): it streams the data set to the spool and responds when the object is
// durable. An error means that the association has ended.
func (s *session) store(m *dimse.Message) error {
	start := time.Now()
	cmd := &m.Command
	switch {
	case !s.stores(m.Context.AbstractSyntax) || cmd.AffectedSOPClassUID != m.Context.AbstractSyntax:
		return s.refuse(m, dimse.SOPClassNotSupported, "SOP class differs from that of the presentation context")
	case !dcm.PlausibleUID(cmd.AffectedSOPInstanceUID):
		return s.refuse(m, dimse.InvalidInstance, "Affected SOP Instance UID is not a UID")
	case m.Data == nil:
		return s.refuse(m, dimse.CannotUnderstand, "C-STORE without data set")
	}
	w, err := s.spool.Create(cmd.AffectedSOPClassUID, cmd.AffectedSOPInstanceUID, m.Context.TransferSyntax, s.rq.CallingAE)
	if err != nil {
		return s.refuseObject(m, err, start)
	}
	defer w.Abort()
	data := &source{r: m.Data, session: s}
	n, err := w.ReadFrom(data)
	if data.err != nil {
		return data.err
	}
	if err != nil {
		return s.refuseObject(m, err, start)
	}
	o, fresh, err := w.Commit()
	if err != nil {
		return s.refuseObject(m, err, start)
	}
	s.count(o, n, fresh)
	s.o.Sink.Received(s.id, o, fresh)
	s.event(Event{
		Kind: Stored, SOPClassUID: cmd.AffectedSOPClassUID, TransferSyntaxUID: m.Context.TransferSyntax,
		Bytes: n, Fresh: fresh, Conflict: o.Conflict, Status: dimse.StatusSuccess, Took: time.Since(start),
	})
	return s.conn.Respond(m, dimse.StatusSuccess, "")
}

// refuseObject responds to an object that the spool did not accept.
func (s *session) refuseObject(m *dimse.Message, err error, start time.Time) error {
	why := refusal(err)
	if why.Status == dimse.OutOfResources {
		s.o.Sink.Refused(s.id)
	}
	return s.refuseFor(m, why, start)
}

// source records read errors, to tell an error of the association from one of the spool, and that the message moves.
type source struct {
	r       io.Reader
	session *session
	err     error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.session.moved.Store(s.session.clock())
	if err != io.EOF {
		s.err = err
	}
	return n, err
}

// refusals maps errors of the spool to statuses (PS3.4 Table B.2-1): A700H while this node cannot store any object, after
// which peers retry, and other codes for an object that will never be accepted.
var refusals = []struct {
	errs    []error
	status  dimse.Status
	comment string
}{
	{[]error{spool.ErrNoSpace}, dimse.OutOfResources, "no disk space, send again later"},
	{[]error{spool.ErrUnwritable}, dimse.OutOfResources, "disk cannot be written, send again later"},
	{[]error{spool.ErrResources}, dimse.OutOfResources, "out of system resources, send again later"},
	{[]error{spool.ErrTooLarge}, dimse.ObjectTooLarge, "object is larger than this node accepts"},
	{[]error{spool.ErrIdentity}, dimse.DataSetMismatch, "UIDs of data set and command do not agree or are missing"},
	{[]error{dcm.ErrTruncated}, dimse.CannotUnderstand, "data set ends within an element"},
	{[]error{dcm.ErrNotDICOM, dcm.ErrLimit, dcm.ErrEncoding, dcm.ErrTransferSyntax}, dimse.CannotUnderstand, "data set cannot be read"},
	{nil, dimse.ProcessingFailure, "object could not be stored"}, // all else
}

// refusal returns the status for an error of the spool.
func refusal(err error) *dimse.StatusError {
	for _, r := range refusals {
		if r.errs == nil || slices.ContainsFunc(r.errs, func(e error) bool { return errors.Is(err, e) }) {
			return &dimse.StatusError{Status: r.status, Comment: r.comment, Err: err}
		}
	}
	panic("unreachable: the last refusal is for all errors")
}
