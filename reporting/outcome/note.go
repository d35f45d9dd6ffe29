package outcome

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// notes builds the rejection notes that tell destinations which of their objects, former, were replaced. header is the header of
// any object of the study, began the start time of the case.
func (r *Recorder) notes(id state.CaseID, revision int, header *dcm.DataSet, b finding.Bundle, began time.Time, former []state.Delivery) ([]state.Delivery, error) {
	var notes []state.Delivery
	for _, d := range r.o.Destinations {
		rejected, uids := rejected(former, d.Name)
		if !d.RejectionNote || len(rejected) == 0 {
			continue
		}
		options := r.o.Reporting
		options.Began = began
		o, err := reporting.Rejection(header, b, rejected, revision, options)
		if err != nil {
			return nil, err
		}
		list, err := r.save(id, []reporting.Output{o}, state.Urgent, d)
		if err != nil {
			return nil, err
		}
		for i := range list {
			list[i].Rejects = uids
		}
		notes = append(notes, list...)
	}
	return notes, nil
}

// rejected returns the objects of earlier results that a destination has, by series.
func rejected(former []state.Delivery, destination string) (list []iod.SeriesReferences, uids []string) {
	for _, d := range former {
		if d.Destination != destination || d.SeriesInstanceUID == "" { // sent by a version that did not record the series
			continue
		}
		at := slices.IndexFunc(list, func(s iod.SeriesReferences) bool { return s.SeriesInstanceUID == d.SeriesInstanceUID })
		if at < 0 {
			at = len(list)
			list = append(list, iod.SeriesReferences{SeriesInstanceUID: d.SeriesInstanceUID})
		}
		list[at].Instances = append(list[at].Instances, iod.Reference{SOPClassUID: d.SOPClassUID, SOPInstanceUID: d.SOPInstanceUID})
		uids = append(uids, d.SOPInstanceUID)
	}
	return list, uids
}

// lateWait is the time before a retry if notes could not be built.
const lateWait = time.Minute

// Stored signals that a destination stored an object. If it was superseded while it was being sent, Run now rejects it.
func (r *Recorder) Stored() {
	select {
	case r.late <- struct{}{}:
	default:
	}
}

// Run queues rejection notes for objects that destinations stored after they were superseded, until ctx is done.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(lateWait)
	defer tick.Stop()
	for {
		if err := r.rejectLate(); err != nil {
			r.o.Logger.Error("rejection note not made, will be retried", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.late:
		case <-tick.C:
		}
	}
}

// rejectLate queues the notes of all cases. A failed one does not delay the others.
func (r *Recorder) rejectLate() error {
	late, err := r.o.State.Late()
	if err != nil || len(late) == 0 {
		return err
	}
	byCase := map[state.CaseID][]state.Delivery{}
	for _, d := range late {
		byCase[d.Case] = append(byCase[d.Case], d)
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(byCase)) {
		errs = append(errs, r.rejectLateOf(id, byCase[id]))
	}
	r.o.Wake()
	return errors.Join(errs...)
}

func (r *Recorder) rejectLateOf(id state.CaseID, late []state.Delivery) error {
	var notes []state.Delivery
	if slices.ContainsFunc(r.o.Destinations, func(d Destination) bool {
		return d.RejectionNote && slices.ContainsFunc(late, func(l state.Delivery) bool { return l.Destination == d.Name })
	}) {
		c, err := r.o.State.Case(id)
		if err != nil {
			return err
		}
		header, err := r.anyHeader(id)
		if errors.Is(err, fs.ErrNotExist) { // retrying cannot help
			r.o.Logger.Error("rejection note not possible, the result files are missing; remove the earlier result at the destination", "case", id, "dest", late[0].Destination)
			return r.o.State.RejectLate(late, nil, r.o.Now())
		}
		if err != nil {
			return fmt.Errorf("case %s: %w", id, err)
		}
		var b finding.Bundle
		if c.Finding != nil {
			b = c.Finding.Bundle
		}
		if notes, err = r.notes(id, c.Revision, header, b, c.Created, late); err != nil {
			return fmt.Errorf("case %s: %w", id, err)
		}
	}
	return r.o.State.RejectLate(late, notes, r.o.Now())
}

// anyHeader returns the header of any readable result object of a case; fs.ErrNotExist if all files are missing.
func (r *Recorder) anyHeader(id state.CaseID) (*dcm.DataSet, error) {
	all, err := r.o.State.Deliveries(id)
	if err != nil {
		return nil, err
	}
	gone := error(fs.ErrNotExist)
	for _, d := range all {
		header, err := headerOf(d.Path)
		if err == nil {
			return header, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			gone = err
		}
	}
	return nil, gone
}
