package outcome

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// reject makes the notes that tell destinations which of their objects were replaced. header is that of any object of the
// study, began the time when the case began.
func (r *Recorder) reject(id state.CaseID, revision int, header *dcm.DataSet, b finding.Bundle, began time.Time) state.Reject {
	return func(former []state.Delivery) ([]state.Delivery, error) {
		var notes []state.Delivery
		for _, d := range r.o.Destinations {
			if !d.RejectionNote {
				continue
			}
			rejected, uids := rejected(former, d.Name)
			if len(rejected) == 0 {
				continue
			}
			options := r.o.Reporting
			options.Began = began
			o, err := reporting.Rejection(header, b, rejected, revision, options)
			if err != nil {
				return nil, err
			}
			list, err := r.save(id, []reporting.Object{o}, state.Urgent, d)
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

func (r *Recorder) rejectLate() error {
	late, err := r.o.State.Late()
	if err != nil || len(late) == 0 {
		return err
	}
	slices.SortStableFunc(late, func(a, b state.Delivery) int { return cmp.Compare(a.Case, b.Case) })
	for len(late) > 0 {
		id := late[0].Case
		end := slices.IndexFunc(late, func(d state.Delivery) bool { return d.Case != id })
		if end < 0 {
			end = len(late)
		}
		c, err := r.o.State.Case(id)
		if err != nil {
			return err
		}
		header, err := headerOf(late[0].Path)
		if err != nil {
			return err
		}
		var b finding.Bundle
		if c.Finding != nil {
			b = c.Finding.Bundle
		}
		if err := r.o.State.RejectLate(late[:end], r.reject(id, c.Revision, header, b, c.Created), r.o.Now()); err != nil {
			return err
		}
		late = late[end:]
	}
	r.o.Wake()
	return nil
}
