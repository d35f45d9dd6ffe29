package node

import (
	"context"
	"slices"
	"time"

	"ichor/pipeline/assembly"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/scp/spool"
)

// sink passes received objects to assembly. If the analysis of a study was given up and its sender sends it again, the
// study is analysed again, although the spool already has all its objects.
type sink struct {
	*assembly.Assembler
	store *state.Store
	early *early
	pair  *paired
}

// Received is called for each durable object. fresh: the spool did not have it before.
func (s sink) Received(assoc uint64, o spool.Object, fresh bool) {
	if fresh {
		s.early.drop(o.StudyInstanceUID)
		s.pair.note(o)
	}
	s.Assembler.Received(assoc, o, fresh || s.store.HasFailed(state.IDOf(o.StudyInstanceUID)))
}

// received counts the instances of a study in the spool.
func (n *Node) received(study string) int {
	seen := map[string]bool{}
	for _, o := range n.spool.Study(study) {
		seen[o.SOPInstanceUID] = true
	}
	return len(seen)
}

// begin creates the case of a study when its first object arrives, so that operators see it during reception.
func (n *Node) begin(study string) {
	if _, err := n.store.Receive(study, now()); err != nil {
		n.log.Error("case not recorded yet; it will be recorded when the study is complete", "case", state.IDOf(study), "err", err)
	}
}

// submitTime bounds the wait for the queue, so that a shutdown does not wait for it.
const submitTime = 5 * time.Second

// complete queues a study for analysis. Assembly calls it, for one study at a time.
func (n *Node) complete(study, how string) {
	log := n.log.With("case", state.IDOf(study))
	c, err := n.store.Queue(study, n.objects(study), how, now())
	if err != nil {
		log.Error("study not queued, will be retried", "err", err)
		n.assembler.Resume(study, 0)
		return
	}
	log.Info("study complete", "stage", "assembly", "objects", c.Objects, "how", how)
	n.recordStudy(study, c.Objects, how)
	n.traceStudy(c, how)
	ctx, cancel := context.WithTimeout(context.Background(), submitTime)
	defer cancel()
	if err := n.submit(ctx, c); err != nil {
		log.Error("study not queued, will be retried", "err", err)
		n.assembler.Resume(study, 0)
	}
}

func (n *Node) submit(ctx context.Context, c state.Case) error {
	if c.Phase != state.Queued {
		n.early.drop(c.StudyInstanceUID) // no job will take it
		return nil
	}
	return n.queue.Submit(ctx, n.jobOf(c))
}

func (n *Node) jobOf(c state.Case) queue.Job {
	urgent := slices.ContainsFunc(n.spool.Study(c.StudyInstanceUID), func(o spool.Object) bool { return (*n.urgent.Load())[o.CallingAE] })
	return queue.Job{CaseID: c.ID, StudyInstanceUID: c.StudyInstanceUID, Revision: c.Revision, Complete: c.Complete, Urgent: urgent}
}

// queuedJobs lists the jobs from which the queue is rebuilt when it is opened.
func (n *Node) queuedJobs() (jobs []queue.Job, err error) {
	cases, err := n.store.InPhase(state.Queued)
	for _, c := range cases {
		jobs = append(jobs, n.jobOf(c))
	}
	return jobs, err
}

// resume continues the work of an earlier run. The spool knows what was acknowledged, the state what was done with it.
func (n *Node) resume(ctx context.Context) error {
	for _, study := range n.spool.Studies() {
		objects := n.objects(study)
		next, c, err := n.store.Resume(study, objects)
		if err != nil {
			return err
		}
		switch next {
		case state.Assemble:
			// The quiet period starts now, not at the last object: an interrupted sender needs time to reconnect.
			n.assembler.Resume(study, objects)
		case state.Submit:
			if err := n.submit(ctx, c); err != nil { // a full disk must not prevent the start
				n.log.Error("study not queued, will be retried", "case", c.ID, "err", err)
				n.assembler.Resume(study, objects)
			}
		case state.Damaged:
			n.log.Error("objects of a study were lost; its result remains valid, but to analyse it again send the whole study again",
				"case", c.ID, "objects", objects, "of", c.Objects, "phase", c.Phase)
		}
	}
	return nil
}
