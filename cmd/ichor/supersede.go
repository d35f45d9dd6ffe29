package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/reporting/deliver"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// errGone is returned for a study of which images that a former result was made from are not here any more. What is left
// would give a worse result in its place.
var errGone = errors.New("send the whole study again")

// former returns the present result of a case, nil where it has none, and all results that it ever had.
func (n *node) former(id state.CaseID) (*state.Outcome, []state.Outcome, error) {
	all, err := n.store.Outcomes(id)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	return &all[len(all)-1], all, nil
}

// identify gives the result of a report its identity. One that was replaced by another meanwhile does not come back under
// the same UIDs: its destinations may have been told to forget it.
func identify(r reporting.Report, o *reporting.Options, present *state.Outcome, all []state.Outcome) (string, error) {
	for {
		identity, err := reporting.Identity(r, *o)
		if err != nil || present == nil || present.Identity == identity {
			return identity, err
		}
		if !slices.ContainsFunc(all, func(old state.Outcome) bool { return old.Identity == identity }) {
			return identity, nil
		}
		o.Generation++
	}
}

// supersedes says in a result that it takes the place of another.
func (n *node) supersedes(r *reporting.Report, o *reporting.Options, id state.CaseID, objects int, old *state.Outcome) error {
	text := fmt.Sprintf("This result takes the place of that of %s", old.At.Format("2006-01-02 15:04 MST"))
	if old.Objects != objects {
		text += fmt.Sprintf(", when %d of these %d objects of the study were here", old.Objects, objects)
	}
	r.Finding.Warnings = append(slices.Clone(r.Finding.Warnings), text+".")
	deliveries, err := n.store.Deliveries(id)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, d := range deliveries {
		there[d.SOPInstanceUID] = there[d.SOPInstanceUID] || !d.StoredAt.IsZero()
	}
	for _, i := range old.Instances {
		if i.Kind == string(reporting.SR) && there[i.SOPInstanceUID] && i.SeriesInstanceUID != "" {
			o.Predecessors = append(o.Predecessors, iod.SeriesReferences{SeriesInstanceUID: i.SeriesInstanceUID,
				Instances: []iod.Reference{{SOPClassUID: i.SOPClassUID, SOPInstanceUID: i.SOPInstanceUID}}})
		}
	}
	return nil
}

// reject makes the notes that tell destinations which of what they have is replaced (destinations[].rejection_note).
// header is that of any object of the study, began when the case did.
func (n *node) reject(id state.CaseID, revision int, header *dcm.DataSet, b finding.Bundle, began time.Time) state.Reject {
	return func(former []state.Delivery) ([]state.Delivery, error) {
		var notes []state.Delivery
		for _, d := range n.config.Destinations {
			if !d.RejectionNote {
				continue
			}
			rejected, uids := rejected(former, d.Name)
			if len(rejected) == 0 {
				continue
			}
			options := reportingOptions(n.config)
			options.Began = began
			o, err := reporting.Rejection(header, b, rejected, revision, options)
			if err != nil {
				return nil, err
			}
			list, err := n.saveResults(id, []reporting.Object{o}, state.Urgent, d)
			if err != nil {
				return nil, err
			}
			list[0].Rejects = uids
			notes = append(notes, list...)
		}
		return notes, nil
	}
}

// rejected lists what a destination has of former results, by series.
func rejected(former []state.Delivery, destination string) (list []iod.SeriesReferences, uids []string) {
	for _, d := range former {
		if d.Destination != destination || d.SeriesInstanceUID == "" { // it was sent by a version that did not keep the series
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

// lateWait is how long notes that could not be made wait for another try.
const lateWait = time.Minute

// sent is told of every attempt. An object that was superseded while it was on its way is rejected after the fact.
func (n *node) sent(e deliver.Event) {
	n.observer.sent(e)
	if e.Outcome != deliver.Stored {
		return
	}
	select {
	case n.late <- struct{}{}:
	default:
	}
}

// rejectLate makes the notes for what destinations stored though it was superseded meanwhile, until ctx is done.
func (n *node) rejectLate(ctx context.Context) error {
	tick := time.NewTicker(lateWait)
	defer tick.Stop()
	for {
		if err := n.rejectAllLate(); err != nil {
			n.log.Error("rejection note not made, will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.late:
		case <-tick.C:
		}
	}
}

func (n *node) rejectAllLate() error {
	late, err := n.store.Late()
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
		c, err := n.store.Case(id)
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
		if err := n.store.RejectLate(late[:end], n.reject(id, c.Revision, header, b, c.Created), now()); err != nil {
			return err
		}
		late = late[end:]
	}
	n.deliverer.Wake()
	return nil
}

// headerOf reads the header of one of our own objects. The error does not name the file, which is named by a UID.
func headerOf(path string) (*dcm.DataSet, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("result object: %s", strings.ReplaceAll(err.Error(), filepath.Base(path), "*"))
	}
	defer f.Close()
	file, err := dcm.Read(f, f.Size(), dcm.Limits{HeaderBytes: f.Size()})
	if err != nil {
		return nil, fmt.Errorf("result object: %w", err)
	}
	return file.Data, nil
}
