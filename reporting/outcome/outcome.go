// Package outcome turns a finding into a stored result: its identity, the earlier result it replaces, the files, the deliveries,
// and the notes that tell destinations which objects were replaced.
package outcome

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/reporting/iod"
)

// Destination says which objects a destination receives.
type Destination struct {
	Name          string
	Form          reporting.Form // of segmentations
	Commitment    bool           // request Storage Commitment
	RejectionNote bool           // send rejection notes about replaced objects
}

// Options configure a Recorder.
type Options struct {
	State        *state.Store
	Dir          string // one folder of result files for each case
	Destinations []Destination
	// Route returns the destinations of a case; nil: all.
	Route     func(id state.CaseID, all []Destination) []Destination
	Reporting reporting.Options
	Reported  func(finding.Finding) bool // whether the site wants objects for a finding; nil: for every one
	Wake      func()                     // called when there are new deliveries; may be nil

	Logger *slog.Logger     // nil: no logging
	Now    func() time.Time // time.Now if nil
}

// Recorder stores results.
type Recorder struct {
	o    Options
	late chan struct{} // a destination stored an object that may be superseded
}

// New creates the folder of the results and removes incomplete files of an interrupted run from it.
func New(o Options) (*Recorder, error) {
	if o.Reported == nil {
		o.Reported = func(finding.Finding) bool { return true }
	}
	if o.Route == nil {
		o.Route = func(_ state.CaseID, all []Destination) []Destination { return all }
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Recorder{o, make(chan struct{}, 1)}, prepare(o.Dir)
}

// Record writes the objects of an analysed study durably and ends the revision of its case: it stores result and deliveries in
// one transaction. objects is the number of instances analysed. It can be interrupted anywhere and repeated: the same study
// gives objects with the same UIDs. It returns the finding that the case has then, or state.ErrStale for a revision that is no
// longer needed.
func (r *Recorder) Record(ctx context.Context, id state.CaseID, revision, objects int, a analysis.Analysis) (finding.Finding, error) {
	exam := state.ExamOf(a.Header)
	var err error
	if a.Finding.Prior, err = r.o.State.Prior(id, exam, a.Finding); err != nil {
		return finding.Finding{}, err
	}
	all, err := r.o.State.Outcomes(id)
	if err != nil {
		return finding.Finding{}, err
	}
	var present *state.Outcome
	if len(all) > 0 {
		present = &all[len(all)-1]
	}
	c, err := r.o.State.Case(id)
	if err != nil {
		return finding.Finding{}, err
	}
	if partlyCorrected(a.Finding, c.Finding) {
		r.o.Logger.Warn("the sender corrected the patient identification of some images only; the previous result stays until the others have arrived", "case", id, "revision", revision)
		_, err := r.o.State.Stand(id, revision, "the sender corrected the patient identification of some images only; send the whole study again", r.o.Now())
		return *c.Finding, err
	}
	o := r.o.Reporting
	o.Began = c.Created
	report, err := reporting.New(a, o)
	if err != nil {
		return finding.Finding{}, err
	}
	if identify(report, present, all); present != nil && present.Identity != report.Identity() {
		if a.Finding.Corrected {
			r.o.Logger.Warn("the sender corrected the patient identification; this result replaces the previous one", "case", id, "revision", revision)
		}
		if err := r.supersedes(report, id, objects, present); err != nil {
			return finding.Finding{}, err
		}
	}
	var written []reporting.Output
	if r.o.Reported(a.Finding) {
		if written, err = report.Write(ctx); err != nil {
			return finding.Finding{}, err
		}
	}
	f := report.Finding()
	deliveries, err := r.save(id, written, priority(f), r.o.Route(id, r.o.Destinations)...)
	if err != nil {
		return finding.Finding{}, err
	}
	result := state.Conclusion{Finding: f, Exam: exam, Identity: report.Identity(), Deliveries: deliveries}
	for {
		// Build the notes before the transaction that queues them, so that it does no file I/O. The transaction fails if a
		// destination stored something meanwhile.
		former, err := r.o.State.Former(id, revision, deliveries)
		if err != nil {
			return f, err
		}
		notes, err := r.notes(id, revision, a.Header, f.Bundle, o.Began, former)
		if err != nil {
			return f, err
		}
		result.Notes = &state.Notes{Former: former, Deliveries: notes}
		if err := r.o.State.Finish(id, revision, result, r.o.Now()); !errors.Is(err, state.ErrChanged) || ctx.Err() != nil {
			return f, err
		}
	}
}

// partlyCorrected reports whether a study with a result is refused now only because its sender was interrupted while it sent the
// images again with another patient identification.
func partlyCorrected(now finding.Finding, former *finding.Finding) bool {
	return now.Corrected && now.Code == finding.SeveralPatients && former != nil && former.Status == finding.Analyzed
}

// priority: hemorrhage is sent first, refusals last.
func priority(f finding.Finding) state.Priority {
	switch {
	case f.Status == finding.Refused:
		return state.Low
	case f.Volumes != nil && f.Volumes.Total > 0:
		return state.Urgent
	}
	return state.Routine
}

// identify gives the result its identity. A result that was replaced before gets new UIDs, because its destinations may have
// been told to reject the old ones.
func identify(report *reporting.Report, present *state.Outcome, all []state.Outcome) {
	for present != nil && report.Identity() != present.Identity &&
		slices.ContainsFunc(all, func(old state.Outcome) bool { return old.Identity == report.Identity() }) {
		report.NextGeneration()
	}
}

// supersedes states in a report which result it replaces.
func (r *Recorder) supersedes(report *reporting.Report, id state.CaseID, objects int, old *state.Outcome) error {
	text := fmt.Sprintf("This result replaces the result of %s", old.At.Format("2006-01-02 15:04 MST"))
	switch {
	case report.Finding().Corrected:
		text += ": the sender corrected the patient identification"
	case old.Objects != objects:
		text += fmt.Sprintf(", for which %d of these %d objects of the study had been received", old.Objects, objects)
	}
	var predecessors []iod.SeriesReferences
	deliveries, err := r.o.State.Deliveries(id)
	if err != nil {
		return err
	}
	stored := map[string]bool{}
	for _, d := range deliveries {
		stored[d.SOPInstanceUID] = stored[d.SOPInstanceUID] || !d.StoredAt.IsZero()
	}
	for _, i := range old.Instances {
		if i.Kind == string(reporting.SR) && stored[i.SOPInstanceUID] && i.SeriesInstanceUID != "" {
			predecessors = append(predecessors, iod.SeriesReferences{SeriesInstanceUID: i.SeriesInstanceUID,
				Instances: []iod.Reference{{SOPClassUID: i.SOPClassUID, SOPInstanceUID: i.SOPInstanceUID}}})
		}
	}
	report.Replace(text+".", predecessors)
	return nil
}
