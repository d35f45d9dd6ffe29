package scp

import (
	"bytes"
	"errors"
	"time"

	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/spool"
)

// Commitments stores, across restarts, the Storage Commitment requests from peers and those we sent to destinations. Its
// methods are called from many goroutines.
type Commitments interface {
	// Asked stores a peer's request durably. Answered removes it once the peer has the result.
	Asked(peer string, r commitment.Request) error
	Answered(peer, transactionUID string) error
	// Wake signals that results may now be reported on an association of our own.
	Wake()
	// Result records a destination's answer about objects we sent; known reports whether we had requested it.
	Result(r commitment.Result) (known bool, err error)
}

// reports are the results to send on the association on which they were requested.
type reports struct {
	due  []commitment.Request
	sent map[uint16]string // message ID -> transaction
	id   uint16
	ctx  byte   // presentation context of the request
	ts   string // its transfer syntax
}

// reportGrace is how long a peer must be silent after a request before the result is sent on the same association. A peer
// that does not wait for the result has released by then.
const reportGrace = 250 * time.Millisecond

// action serves an N-ACTION: a request for Storage Commitment (PS3.4 §J.3.2).
func (s *session) action(m *dimse.Message) error {
	cmd := &m.Command
	switch {
	case m.Context.AbstractSyntax != dcm.StorageCommitmentPushModel:
		return s.refuse(m, dimse.UnrecognizedOperation, "N-ACTION is supported only for Storage Commitment")
	case cmd.RequestedSOPClassUID != m.Context.AbstractSyntax:
		return s.refuse(m, dimse.NoSuchSOPClass, "SOP class differs from that of the presentation context")
	case cmd.RequestedSOPInstance != dcm.StorageCommitmentPushModelInstance:
		return s.refuse(m, dimse.NoSuchInstance, "not the well-known SOP instance of Storage Commitment")
	case cmd.ActionTypeID != commitment.ActionRequest:
		return s.refuse(m, dimse.NoSuchActionType, "action type is not 1")
	}
	r, why, err := information(m, commitment.DecodeRequest)
	if err != nil {
		return err
	}
	if why != nil {
		return s.refuseFor(m, why, time.Now())
	}
	if err := s.o.Commitments.Asked(s.rq.CallingAE, r); err != nil {
		return s.refuseFor(m, &dimse.StatusError{Status: dimse.ResourceLimitation, Comment: "request cannot be stored, send it again later", Err: err}, time.Now())
	}
	s.log.Info("storage commitment requested", "objects", len(r.References))
	if err := s.conn.Respond(m, dimse.StatusSuccess, ""); err != nil {
		return err
	}
	if s.peer != nil && s.peer.Listens {
		s.o.Commitments.Wake()
		return nil
	}
	s.promises.due = append(s.promises.due, r)
	s.promises.ctx, s.promises.ts = m.Context.ID, m.Context.TransferSyntax
	return nil
}

// report sends the results due on this association, once the peer is waiting for them.
func (s *session) report() error {
	p := &s.promises
	if len(p.due) == 0 {
		return nil
	}
	if quiet, err := s.assoc.Quiet(reportGrace); err != nil || !quiet {
		return err
	}
	due := p.due
	p.due = nil
	for _, r := range due {
		result := check(s.o.Spool, r)
		data, err := result.Encode(p.ts)
		if err != nil {
			s.log.Error("storage commitment not reported", "err", err)
			continue
		}
		if p.sent == nil {
			p.sent = map[uint16]string{}
		}
		p.id++
		p.sent[p.id] = r.TransactionUID
		err = s.conn.Send(p.ctx, &dimse.Command{
			Field: dimse.NEventReportRQ, MessageID: p.id, HasDataSet: true, EventTypeID: result.EventType(),
			AffectedSOPClassUID: dcm.StorageCommitmentPushModel, AffectedSOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
		}, bytes.NewReader(data))
		if err != nil {
			return err
		}
		s.log.Info("storage commitment reported", "committed", len(result.Committed), "failed", len(result.Failed))
	}
	return nil
}

// reported handles the response to a report.
func (s *session) reported(m *dimse.Message) error {
	uid := s.promises.sent[m.Command.RespondedTo]
	delete(s.promises.sent, m.Command.RespondedTo)
	if st := m.Command.Status; st.Failure() {
		s.log.Warn("storage commitment report refused by the peer", "err", &dimse.StatusError{Status: st})
	}
	if err := s.o.Commitments.Answered(s.rq.CallingAE, uid); err != nil {
		s.log.Error("storage commitment reported, but this cannot be recorded", "err", err)
	}
	return nil
}

// result serves an N-EVENT-REPORT: a destination's commitment result for objects that we sent to it (PS3.4 §J.3.3).
func (s *session) result(m *dimse.Message) error {
	if s.o.Commitments == nil || m.Context.AbstractSyntax != dcm.StorageCommitmentPushModel {
		return s.refuse(m, dimse.UnrecognizedOperation, "N-EVENT-REPORT is supported only for Storage Commitment")
	}
	r, why, err := information(m, commitment.DecodeResult)
	if err != nil {
		return err
	}
	if why != nil {
		return s.refuseFor(m, why, time.Now())
	}
	status := takeResult(s.o.Commitments, m.Command.EventTypeID, r)
	s.log.Info("storage commitment result", "committed", len(r.Committed), "failed", len(r.Failed), "status", status.String())
	return s.conn.Respond(m, status, "")
}

// takeResult records a result and returns the status for the response. An unknown transaction is a success too: it may have
// been replaced by a newer request, and the peer should not send the result again.
func takeResult(c Commitments, eventType uint16, r commitment.Result) dimse.Status {
	if eventType != commitment.EventComplete && eventType != commitment.EventFailures {
		return dimse.NoSuchEventType
	}
	if _, err := c.Result(r); err != nil {
		return dimse.ProcessingFailure // the peer sends it again
	}
	return dimse.StatusSuccess
}

// information decodes the data set of m. why: the data set is invalid; err: the association ended.
func information[T any](m *dimse.Message, decode func([]byte, string) (T, error)) (v T, why *dimse.StatusError, err error) {
	data, err := m.Information()
	if err == nil {
		if v, err = decode(data, m.Context.TransferSyntax); err == nil {
			return v, nil, nil
		}
	} else if !errors.Is(err, dimse.ErrCommand) {
		return v, nil, err
	}
	return v, &dimse.StatusError{Status: dimse.InvalidArgument, Comment: "information cannot be decoded", Err: err}, nil
}

// check returns which objects of a request are in the spool, where they have been durable since the C-STORE response
// (PS3.3 §C.14.1.1). Damaged objects count as missing.
func check(sp *spool.Spool, r commitment.Request) commitment.Result {
	result := commitment.Result{TransactionUID: r.TransactionUID}
	for _, ref := range r.References {
		if reason := kept(sp, ref); reason != 0 {
			result.Failed = append(result.Failed, commitment.Failure{Reference: ref, Reason: reason})
			continue
		}
		result.Committed = append(result.Committed, ref)
	}
	return result
}

// kept returns why an object is not stored, 0 if it is. An object that cannot be read now, as on a failing disk, is a
// processing failure: the peer may ask again.
func kept(sp *spool.Spool, ref commitment.Reference) commitment.Reason {
	found := sp.Find(ref.SOPInstanceUID)
	if len(found) == 0 {
		return commitment.NoSuchObject
	}
	for _, o := range found {
		if o.SOPClassUID != ref.SOPClassUID {
			continue
		}
		f, err := sp.Read(o)
		if err != nil {
			return commitment.ProcessingFailure
		}
		_ = f.Close() // opened only for reading
		return 0
	}
	return commitment.ClassInstanceConflict
}
