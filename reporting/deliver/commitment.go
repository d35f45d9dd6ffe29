package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/commitment"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// informationSyntaxes are the transfer syntaxes of action and event information.
var informationSyntaxes = []string{dcm.ExplicitVRLittleEndian, dcm.ImplicitVRLittleEndian}

// maxAsked is the maximum number of objects in one transaction.
const maxAsked = 500

// ask requests Storage Commitment of objects that the destination has stored (PS3.4 §J.3.2), and waits briefly for its report.
// heard becomes true with the first report. It returns whether the association continues.
func (l *line) ask(ctx, inFlight context.Context, peer Peer, heard *bool) bool {
	if !l.asking.TryLock() { // another attempt is asking
		return true
	}
	defer l.asking.Unlock()
	list, _, err := l.uncommitted()
	if err != nil {
		l.stateFailed(err)
		return true
	}
	if len(list) == 0 {
		return true
	}
	t := state.Transaction{UID: dcm.RandomUID(), Destination: l.dest.Name}
	r := commitment.Request{TransactionUID: t.UID}
	for _, d := range list {
		t.Instances = append(t.Instances, d.SOPInstanceUID)
		r.References = append(r.References, commitment.Reference{SOPClassUID: d.SOPClassUID, SOPInstanceUID: d.SOPInstanceUID})
	}
	// Record the request before sending it: the report may come immediately, on another association.
	if err := l.opts.State.AskCommitment(t, l.dest.CommitWait, l.opts.Now()); err != nil {
		l.stateFailed(err)
		return true
	}
	c, err := l.action(inFlight, peer, r)
	if err == nil {
		l.log.Info("storage commitment requested", "objects", len(list))
		return l.await(ctx, inFlight, c, heard)
	}
	wait := l.opts.Backoff(1)
	said := errors.Is(err, ul.ErrNoContext) || errors.As(err, new(*dimse.StatusError))
	if said { // the answer will be the same for a while
		wait = l.dest.CommitWait
	}
	l.log.Warn("storage commitment not requested, will be retried", "err", loggable(err), "next_try_in", wait)
	if err := l.opts.State.Postpone(t, wait, l.opts.Now()); err != nil {
		l.log.Error("storage commitment not postponed", "err", err) // then it is requested after CommitWait
	}
	return said
}

var errUncommitted = errors.New("stored, but the destination did not report storage commitment in time; check that it knows our AE title, host and port")

// action sends the request.
func (l *line) action(ctx context.Context, peer Peer, r commitment.Request) (committer, error) {
	c, ok := peer.(committer)
	accepted := peer.Accepted(dcm.StorageCommitmentPushModel)
	if !ok || len(accepted) == 0 {
		return nil, fmt.Errorf("storage commitment: %w; enable it at the destination, or set commitment: false", ul.ErrNoContext)
	}
	data, err := r.Encode(accepted[0])
	if err != nil {
		return nil, err
	}
	_, err = c.Action(ctx, dimse.Notice{
		SOPClassUID: dcm.StorageCommitmentPushModel, SOPInstanceUID: dcm.StorageCommitmentPushModelInstance,
		Type: commitment.ActionRequest, TransferSyntaxUID: accepted[0], Data: data,
	})
	return c, err
}

// await gives the destination ReportWait to report on this association. It returns whether the association continues.
func (l *line) await(ctx, inFlight context.Context, c committer, heard *bool) bool {
	for end := time.Now().Add(l.dest.ReportWait); !*heard && ctx.Err() == nil; {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		if _, err := c.Await(inFlight, left); err != nil {
			return false
		}
	}
	return true
}

// event handles a report on one of our associations.
func (l *line) event(e dimse.Event) dimse.Status {
	if e.SOPClassUID != dcm.StorageCommitmentPushModel || e.Type != commitment.EventComplete && e.Type != commitment.EventFailures {
		return dimse.NoSuchEventType
	}
	r, err := commitment.DecodeResult(e.Data, e.TransferSyntaxUID)
	if err != nil {
		return dimse.InvalidArgument
	}
	if _, err := l.result(r); err != nil {
		l.log.Error("storage commitment result not recorded", "err", err)
		return dimse.ProcessingFailure
	}
	return dimse.StatusSuccess
}

// Result records a destination's commitment result, from any association: committed objects are done, failed ones are sent
// again. known is false for a transaction that was not requested.
func (d *Deliverer) Result(r commitment.Result) (known bool, err error) {
	if len(d.lines) == 0 {
		return false, nil
	}
	known, err = d.lines[0].result(r) // any line will do: the transaction names the destination
	d.Wake()
	return known, err
}

func (l *line) result(r commitment.Result) (known bool, err error) {
	var committed []string
	for _, ref := range r.Committed {
		committed = append(committed, ref.SOPInstanceUID)
	}
	failed := map[string]string{}
	for _, f := range r.Failed {
		failed[f.SOPInstanceUID] = "not committed: " + f.Reason.String()
	}
	again := state.Resend{Wait: l.opts.Backoff(1), Most: l.opts.RefusedTries}
	dest, known, err := l.opts.State.AnswerCommitment(r.TransactionUID, committed, failed, again, l.opts.Now())
	if err != nil || !known {
		return known, err
	}
	told := func(instance string, o Outcome) {
		l.opts.Events(Event{Delivery: state.Delivery{DeliveryKey: state.DeliveryKey{SOPInstanceUID: instance, Destination: dest}}, Outcome: o})
	}
	for _, instance := range committed {
		told(instance, Committed)
	}
	for instance := range failed {
		told(instance, NotCommitted)
	}
	level := l.opts.Logger.Info
	if len(failed) > 0 {
		level = l.opts.Logger.Warn
	}
	level("storage commitment", "dest", dest, "committed", len(committed), "failed", len(failed))
	return true, nil
}
