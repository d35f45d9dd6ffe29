package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/scp/spool"
)

const (
	unknownWait = time.Minute     // before a job of an unknown case is tried again
	busyWait    = 5 * time.Second // before a job is tried again whose case is being analysed
)

// analyse runs one job: it analyses the study, builds the objects, then records result and deliveries in one transaction.
// It can be interrupted anywhere and repeated: the same study gives objects with the same UIDs.
func (n *Node) analyse(ctx context.Context, job queue.Job) error {
	if _, busy := n.working.LoadOrStore(job.CaseID, true); busy {
		return queue.Later(errors.New("an earlier revision of the case is being analysed"), busyWait)
	}
	defer n.working.Delete(job.CaseID)
	defer n.early.drop(job.StudyInstanceUID)
	start := time.Now()
	c, err := n.store.Begin(job.CaseID, job.Revision, now())
	log := n.log.With("case", job.CaseID, "try", c.Tries+1)
	switch {
	case errors.Is(err, state.ErrNotFound): // another node's case, or the state file was moved away
		return queue.Later(fmt.Errorf("this node does not know the case: %w", err), unknownWait)
	case errors.Is(err, state.ErrStale):
		if c.Phase == state.Failed {
			log.Error("analysis given up", "err", c.Error)
		}
		return nil // already done, given up, or a newer revision is queued
	case err != nil:
		return err
	}
	f, err := n.analyseAndRecord(ctx, job, c)
	switch {
	case err == nil:
		log.Info("study done", "stage", "analysis", "status", f.Status, "took", time.Since(start).Round(time.Millisecond), "code", f.Code)
		return nil
	case errors.Is(err, state.ErrStale):
		return nil // more objects arrived meanwhile: the next revision is queued
	case errors.Is(err, errLost): // retrying cannot help
		return n.stand(c, err)
	}
	return err // recorded by failed or putOff
}

// errLost: the spool has fewer objects of the study than were acknowledged. The rest is not analysed, because part of a
// head would be reported as if it were the whole.
var errLost = errors.New("send the whole study again")

// lost returns errLost if objects of the case are missing.
func (n *Node) lost(c state.Case) error {
	if have := n.objects(c.StudyInstanceUID); have < c.Objects {
		return fmt.Errorf("%d of the %d objects that were received are left, the others were damaged or removed: %w", have, c.Objects, errLost)
	}
	return nil
}

// stand ends a revision whose objects were lost.
func (n *Node) stand(c state.Case, lost error) error {
	c, err := n.store.Stand(c.ID, c.Revision, lost.Error(), now())
	if err == nil {
		n.log.Error("study not analysed, some of its objects were lost; send the whole study again",
			"case", c.ID, "try", c.Tries+1, "objects", n.objects(c.StudyInstanceUID), "of", c.Objects, "phase", c.Phase)
	}
	return err
}

// conclude stores the result of a case: objects, deliveries, event, and comparison with the bundle in the shadow.
func (n *Node) conclude(ctx context.Context, c state.Case, objects []spool.Object, result *analysis.Analysis) (finding.Finding, error) {
	if err := n.lost(c); err != nil { // damage was found meanwhile
		return finding.Finding{}, err
	}
	start := now()
	f, err := n.results.Record(ctx, c.ID, c.Revision, len(objects), *result)
	n.traceWritten(c, start, f, err)
	if err != nil {
		return f, err
	}
	n.analysed(c.StudyInstanceUID, result)
	n.recordAnalysis(c.StudyInstanceUID, f)
	n.compare(c.ID, n.studyOf(c.StudyInstanceUID, c.Complete, objects), result)
	n.pair.settle(c.ID)
	n.deliverer.Wake()
	return f, nil
}

// objects counts the objects of a study in the spool.
func (n *Node) objects(study string) int { return len(n.spool.Study(study)) }

func (n *Node) analyseAndRecord(ctx context.Context, job queue.Job, c state.Case) (finding.Finding, error) {
	if err := n.lost(c); err != nil {
		return finding.Finding{}, err
	}
	objects := n.spool.Study(job.StudyInstanceUID)
	var result *analysis.Analysis
	var err error
	start := now()
	queue.Await(ctx, func() { result, err = n.result(ctx, job, objects) }) // watched by progress
	traceAnalysis(n.traces, c.ID, c.Revision, start, result, err)
	if err != nil {
		return finding.Finding{}, err
	}
	return n.conclude(ctx, c, objects, result)
}

// result is the early result for exactly these objects, or a new one.
func (n *Node) result(ctx context.Context, job queue.Job, objects []spool.Object) (*analysis.Analysis, error) {
	if early := n.early.take(ctx, job.StudyInstanceUID, objects); early != nil {
		early.Finding.Complete = job.Complete
		return early, nil
	}
	return n.analyzeStudy(ctx, job.StudyInstanceUID, job.Complete, objects, false)
}

// failed records that an analysis failed, and reports whether to retry it.
func (n *Node) failed(_ context.Context, job queue.Job, reason error) (tries int, again bool, err error) {
	c, err := n.store.TryFailed(job.CaseID, job.Revision, reason.Error(), n.config.Analysis.MaxTries, now())
	if errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
		return 0, false, nil // a newer revision is queued
	}
	return c.Tries, c.Phase == state.Queued, err
}

// putOff records that an analysis was interrupted for a reason unrelated to the study. It does not count as a failed try.
func (n *Node) putOff(_ context.Context, job queue.Job, reason error) error {
	why := ""
	if reason != nil {
		why = reason.Error()
	}
	err := n.store.TryPutOff(job.CaseID, job.Revision, why, now())
	if errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound) {
		return nil
	}
	return err
}

// givenUp records a job that an earlier version gave up and kept in the queue.
func (n *Node) givenUp(_ context.Context, job queue.Job, reason string) (known bool, err error) {
	err = n.store.Fail(job.CaseID, job.Revision, reason, now())
	if errors.Is(err, state.ErrStale) { // it has been retried since
		return true, nil
	}
	if errors.Is(err, state.ErrNotFound) {
		return false, nil
	}
	return true, err
}

// spooled opens one received object for the analysis.
type spooled struct {
	spool *spool.Spool
	spool.Object
}

func (s spooled) Open() (pipeline.ObjectReader, error) { return s.spool.Read(s.Object) }
