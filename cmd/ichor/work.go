package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/assembly"
	"ichor/pipeline/finding"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting"
	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// sink joins reception to assembly. A study whose analysis was given up is taken up again when its sender repeats it,
// though the spool has all its objects already.
type sink struct {
	*assembly.Assembler
	store *state.Store
}

// Received is told of each durable object; fresh says that it was not there before.
func (s sink) Received(assoc uint64, o spool.Object, fresh bool) {
	if !fresh {
		c, err := s.store.Case(state.IDOf(o.StudyInstanceUID))
		fresh = err == nil && c.Phase == state.Failed
	}
	s.Assembler.Received(assoc, o, fresh)
}

// begin makes a case of a study whose first object arrived, so that it can be seen while it is still being received.
func (n *node) begin(study string) {
	if _, err := n.store.Receive(study, now()); err != nil {
		n.log.Error("case not recorded; it will be when the study is complete", "case", state.IDOf(study), "err", err)
	}
}

// complete queues a study for analysis. It is called by assembly, one study at a time.
func (n *node) complete(study, how string) {
	log := n.log.With("case", state.IDOf(study))
	c, err := n.store.Queue(study, len(n.spool.Study(study)), how, now())
	if err != nil {
		log.Error("study not queued, will be tried again", "err", err)
		n.assembler.Resume(study, 0)
		return
	}
	log.Info("study complete", "stage", "assembly", "objects", c.Objects, "how", how)
	if err := n.submit(context.Background(), c); err != nil {
		log.Error("study not queued, will be tried again", "err", err)
		n.assembler.Resume(study, 0)
	}
}

func (n *node) submit(ctx context.Context, c state.Case) error {
	if c.Phase != state.Queued {
		return nil
	}
	return n.queue.Submit(ctx, queue.Job{CaseID: c.ID, StudyInstanceUID: c.StudyInstanceUID, Revision: c.Revision, Complete: c.Complete})
}

// resume takes up what a former run left: the spool says what was acknowledged, the store what became of it.
func (n *node) resume(ctx context.Context) error {
	for _, study := range n.spool.Studies() {
		objects := len(n.spool.Study(study))
		next, c, err := n.store.Resume(study, objects)
		if err != nil {
			return err
		}
		switch next {
		case state.Assemble:
			// Quiet counts from now, not from its last object: a sender that was cut off needs time to come back.
			n.assembler.Resume(study, objects)
		case state.Submit:
			err = n.submit(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// analyse does one job: analysis, objects, then state and deliveries in one transaction. It may be cut off anywhere
// and done again: the same study gives objects with the same UIDs.
func (n *node) analyse(ctx context.Context, job queue.Job, try int) error {
	log := n.log.With("case", job.CaseID, "try", try)
	start := time.Now()
	_, err := n.store.Begin(job.CaseID, job.Revision, now())
	if errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
		return nil // done already, or a newer revision waits in the queue
	}
	if err != nil {
		return err
	}
	f, err := n.analyseAndStore(ctx, job)
	switch {
	case err == nil:
		log.Info("study done", "stage", "analysis", "status", f.Status, "took", time.Since(start).Round(time.Millisecond), "code", f.Code)
		n.deliverer.Wake()
		return nil
	case errors.Is(err, state.ErrStale):
		return nil // objects came in meanwhile: the next revision waits in the queue
	case ctx.Err() != nil:
		return ctx.Err() // a shutdown is no failed try
	}
	return errors.Join(err, n.store.TryFailed(job.CaseID, job.Revision, err.Error(), now()))
}

// giveUp ends a case whose analysis failed too often; its job stays with the dead letters of the queue.
func (n *node) giveUp(_ context.Context, job queue.Job, reason error) error {
	err := n.store.Fail(job.CaseID, job.Revision, reason.Error(), now())
	if errors.Is(err, state.ErrStale) {
		return nil // a newer revision waits in the queue
	}
	return err
}

func (n *node) analyseAndStore(ctx context.Context, job queue.Job) (finding.Finding, error) {
	study := pipeline.Study{UID: job.StudyInstanceUID, Complete: job.Complete}
	for _, o := range n.spool.Study(job.StudyInstanceUID) {
		study.Objects = append(study.Objects, spooled{n.spool, o})
	}
	result, err := n.engine.analyzer.Analyze(ctx, study)
	if err != nil {
		return finding.Finding{}, err
	}
	exam := examOf(result)
	if result.Finding.Prior, err = n.store.Prior(job.CaseID, exam, result.Finding); err != nil {
		return finding.Finding{}, err
	}
	present, all, err := n.former(job.CaseID)
	if err != nil {
		return finding.Finding{}, err
	}
	if have := len(study.Objects); present != nil && have < present.Objects {
		return finding.Finding{}, fmt.Errorf("%d of the %d objects that the former result was made from are here, the others were removed (retention): %w",
			have, present.Objects, errGone)
	}
	c, err := n.store.Case(job.CaseID)
	if err != nil {
		return finding.Finding{}, err
	}
	r, o := report(result), reportingOptions(n.config)
	o.Began = c.Created
	identity, err := identify(r, &o, present, all)
	if err != nil {
		return finding.Finding{}, err
	}
	if present != nil && present.Identity != identity {
		if err := n.supersedes(&r, &o, job.CaseID, len(study.Objects), present); err != nil {
			return finding.Finding{}, err
		}
	}
	var objects []reporting.Object
	if isReported(r.Finding, n.config.Reporting.Refusals) {
		if objects, err = reporting.Write(ctx, r, o); err != nil {
			return finding.Finding{}, err
		}
	}
	deliveries, err := n.saveResults(job.CaseID, objects, priority(r.Finding), n.config.Destinations...)
	if err != nil {
		return finding.Finding{}, err
	}
	return r.Finding, n.store.Finish(job.CaseID, job.Revision, state.Result{Finding: r.Finding, Exam: exam, Identity: identity, Deliveries: deliveries,
		Reject: n.reject(job.CaseID, job.Revision, r.Header, r.Finding.Bundle, o.Began)}, now())
}

// examOf says who was scanned and when, where an image could be read.
func examOf(r *pipeline.Result) state.Exam {
	if r.Header == nil {
		return state.Exam{}
	}
	return state.ExamOf(r.Header)
}

// spooled is one received object as the analysis reads it.
type spooled struct {
	spool *spool.Spool
	spool.Object
}

func (s spooled) Open() (pipeline.ObjectReader, error) { return s.spool.Read(s.Object) }

// priority puts hemorrhage first and refusals last.
func priority(f finding.Finding) state.Priority {
	switch {
	case f.Status == finding.Refused:
		return state.Low
	case f.Volumes != nil && f.Volumes.Total > 0:
		return state.Urgent
	}
	return state.Routine
}

// saveResults makes the objects durable and returns one delivery for each object and destination.
func (n *node) saveResults(id state.CaseID, objects []reporting.Object, p state.Priority, destinations ...config.Destination) ([]state.Delivery, error) {
	dir := filepath.Join(n.results, string(id))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	var deliveries []state.Delivery
	for _, o := range objects {
		path := filepath.Join(dir, o.SOPInstanceUID+".dcm") // a UID that we derived: digits and dots
		size, err := keepResult(path, o.Bytes)
		if err != nil {
			return nil, fmt.Errorf("result: %w", err)
		}
		for _, d := range destinations {
			if !o.For(formOf(d)) {
				continue
			}
			deliveries = append(deliveries, state.Delivery{
				DeliveryKey: state.DeliveryKey{SOPInstanceUID: o.SOPInstanceUID, Destination: d.Name},
				Kind:        string(o.Kind), SOPClassUID: o.SOPClassUID, SeriesInstanceUID: o.SeriesInstanceUID, TransferSyntaxUID: o.TransferSyntaxUID,
				Path: path, Size: size, Priority: p, Commitment: d.Commitment,
			})
		}
	}
	return deliveries, errors.Join(syncFolder(dir), syncFolder(n.results))
}

// keepResult makes a result durable and returns its size. A file that is there already stays, complete as it is: its
// object was sent or waits to be, and what a SOP Instance UID names does not change. A later revision may well have
// other bytes, as the time of its analysis or a warning.
func keepResult(path string, data []byte) (size int64, err error) {
	if info, err := os.Stat(path); err == nil {
		return info.Size(), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return int64(len(data)), writeDurable(path, data)
}

// writeDurable replaces path by a complete, synced file; the caller syncs the folder.
func writeDurable(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// report hands a result of the pipeline to reporting.
func report(r *pipeline.Result) reporting.Report {
	header := r.Header
	if header == nil { // not one object could be read
		header = &dcm.DataSet{}
		header.SetStrings(dcm.StudyInstanceUID, "UI", r.Finding.Study.StudyInstanceUID)
	}
	return reporting.Report{Finding: r.Finding, Volume: r.Volume, Labels: r.Labels, Cavity: r.Cavity, Header: header}
}

// writeOverlay writes the summary picture for people, where there is one.
func writeOverlay(ctx context.Context, path string, r *pipeline.Result, o reporting.Options) error {
	if r.Finding.Status == finding.Refused {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(reporting.WritePNG(ctx, f, report(r), o), f.Close())
}
