package node

import (
	"context"
	"errors"
	"time"

	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// analyse does one job: analysis, objects, then result and deliveries in one transaction. It may be interrupted anywhere
// and done again: the same study gives objects with the same UIDs.
func (n *Node) analyse(ctx context.Context, job queue.Job, try int) error {
	log := n.log.With("case", job.CaseID, "try", try)
	start := time.Now()
	_, err := n.store.Begin(job.CaseID, job.Revision, now())
	if errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
		return nil // done already, or a newer revision waits in the queue
	}
	if err != nil {
		return err
	}
	f, err := n.analyseAndRecord(ctx, job)
	switch {
	case err == nil:
		log.Info("study done", "stage", "analysis", "status", f.Status, "took", time.Since(start).Round(time.Millisecond), "code", f.Code)
		n.deliverer.Wake()
		return nil
	case errors.Is(err, state.ErrStale):
		return nil // more objects arrived meanwhile: the next revision waits in the queue
	case ctx.Err() != nil:
		return ctx.Err() // a shutdown is no failed try
	}
	return errors.Join(err, n.store.TryFailed(job.CaseID, job.Revision, err.Error(), now()))
}

func (n *Node) analyseAndRecord(ctx context.Context, job queue.Job) (finding.Finding, error) {
	study := pipeline.Study{UID: job.StudyInstanceUID, Complete: job.Complete}
	for _, o := range n.spool.Study(job.StudyInstanceUID) {
		study.Objects = append(study.Objects, spooled{n.spool, o})
	}
	result, err := n.engine.Analyzer.Analyze(ctx, study)
	if err != nil {
		return finding.Finding{}, err
	}
	return n.results.Record(ctx, job.CaseID, job.Revision, len(study.Objects), Report(result))
}

// giveUp ends a case whose analysis failed too often; its job stays with the dead letters of the queue.
func (n *Node) giveUp(_ context.Context, job queue.Job, reason error) error {
	err := n.store.Fail(job.CaseID, job.Revision, reason.Error(), now())
	if errors.Is(err, state.ErrStale) {
		return nil // a newer revision waits in the queue
	}
	return err
}

// spooled is one received object as the analysis reads it.
type spooled struct {
	spool *spool.Spool
	spool.Object
}

func (s spooled) Open() (pipeline.ObjectReader, error) { return s.spool.Read(s.Object) }

// Report hands a result of the pipeline to reporting.
func Report(r *pipeline.Result) reporting.Report {
	header := r.Header
	if header == nil { // not one object could be read
		header = &dcm.DataSet{}
		header.SetStrings(dcm.StudyInstanceUID, "UI", r.Finding.Study.StudyInstanceUID)
	}
	return reporting.Report{Finding: r.Finding, Volume: r.Volume, Labels: r.Labels, Cavity: r.Cavity, Header: header}
}
