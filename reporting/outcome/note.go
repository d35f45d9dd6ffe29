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

// notes makes the notes that tell destinations which of their objects, former, were replaced. header is that of any object
// of the study, began the time when the case began.
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

// rejected lists the objects of former results that a destination has, by series.
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

// lateWait is the time after which notes that could not be made are tried again.
const lateWait = time.Minute

// Stored tells that a destination stored an object: one that was superseded while it was being sent is rejected now.
func (r *Recorder) Stored() {
	select {
	case r.late <- struct{}{}:
	default:
	}
}

// Run makes the notes for objects that destinations stored although they were superseded meanwhile, until ctx is done.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(lateWait)
	defer tick.Stop()
	for {
		if err := r.rejectLate(); err != nil {
			r.o.Logger.Error("rejection note not made, will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.late:
		case <-tick.C:
		}
	}
}

// rejectLate makes the notes of all cases; one that fails holds up no other.
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
		if errors.Is(err, fs.ErrNotExist) { // no later try can help
			r.o.Logger.Error("no rejection note can be made, the result files are gone; remove the former result at the destination", "case", id, "dest", late[0].Destination)
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

// anyHeader reads the header of any object of a case whose file can be read, fs.ErrNotExist where all are gone.
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
