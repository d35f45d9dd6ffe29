package scp

import (
	"errors"
	"io"
	"time"

	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
)

// copyBuffer is what is moved from the connection to the spool at a time.
const copyBuffer = 32 << 10

// store serves a C-STORE (PS3.7 §9.1.1, PS3.4 §B.2): the data set goes to the spool as it comes, and
// the response leaves when it is durable. An error is the end of the association.
func (s *session) store(m *dimse.Message) error {
	start := time.Now()
	cmd := &m.Command
	switch {
	case !storage[m.Context.AbstractSyntax] || cmd.AffectedSOPClassUID != m.Context.AbstractSyntax:
		return s.refuse(m, dimse.SOPClassNotSupported, "SOP class is not that of the presentation context")
	case !dcm.PlausibleUID(cmd.AffectedSOPInstanceUID):
		return s.refuse(m, dimse.InvalidInstance, "Affected SOP Instance UID is not a UID")
	case m.Data == nil:
		return s.refuse(m, dimse.CannotUnderstand, "C-STORE without data set")
	}
	w, err := s.spool.Create(cmd.AffectedSOPClassUID, cmd.AffectedSOPInstanceUID, m.Context.TransferSyntax, s.rq.CallingAE)
	if err != nil {
		return s.refuseFor(m, refusal(err), start)
	}
	defer w.Abort()
	n, err := s.copy(w, m.Data)
	if err != nil {
		var r *readError
		if errors.As(err, &r) {
			return r.err
		}
		return s.refuseFor(m, refusal(err), start)
	}
	o, fresh, err := w.Commit()
	if err != nil {
		return s.refuseFor(m, refusal(err), start)
	}
	s.o.Sink.Received(s.id, o, fresh)
	s.event(Event{
		Kind: Stored, SOPClassUID: cmd.AffectedSOPClassUID, TransferSyntaxUID: m.Context.TransferSyntax,
		Bytes: n, Fresh: fresh, Conflict: o.Conflict, Status: dimse.StatusSuccess, Took: time.Since(start),
	})
	return s.conn.Respond(m, dimse.StatusSuccess, "")
}

// readError is an error of the association, to be told from one of the spool.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// copy moves the data set to the spool.
func (s *session) copy(w io.Writer, r io.Reader) (n int64, err error) {
	if s.buf == nil {
		s.buf = make([]byte, copyBuffer)
	}
	for {
		// Full buffers, however small the fragments are.
		have := 0
		for have < len(s.buf) && err == nil {
			var m int
			m, err = r.Read(s.buf[have:])
			have += m
		}
		n += int64(have)
		if _, werr := w.Write(s.buf[:have]); werr != nil {
			return n, werr
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, &readError{err}
		}
	}
}

// refusal gives an error of the spool its status (PS3.4 Table B.2-1). Full disks get A700H, upon which
// peers try again; what will never be taken gets another code.
func refusal(err error) *dimse.StatusError {
	s := &dimse.StatusError{Status: dimse.ProcessingFailure, Comment: "object could not be stored", Err: err}
	switch {
	case errors.Is(err, spool.ErrNoSpace):
		s.Status, s.Comment = dimse.OutOfResources, "no disk space, send again later"
	case errors.Is(err, spool.ErrUnwritable):
		s.Status, s.Comment = dimse.OutOfResources, "disk cannot be written, send again later"
	case errors.Is(err, spool.ErrTooLarge):
		s.Status, s.Comment = dimse.ObjectTooLarge, "object is larger than this node takes"
	case errors.Is(err, spool.ErrIdentity):
		s.Status, s.Comment = dimse.DataSetMismatch, "UIDs of data set and command do not agree or are missing"
	case errors.Is(err, dcm.ErrTruncated):
		s.Status, s.Comment = dimse.CannotUnderstand, "data set ends inside an element"
	case errors.Is(err, dcm.ErrNotDICOM), errors.Is(err, dcm.ErrLimit), errors.Is(err, dcm.ErrEncoding), errors.Is(err, dcm.ErrTransferSyntax):
		s.Status, s.Comment = dimse.CannotUnderstand, "data set cannot be read"
	}
	return s
}
