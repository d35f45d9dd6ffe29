package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/finding"
)

// CaseID identifies a case: 16 hexadecimal digits of the SHA-256 of its Study Instance UID. Unlike the UID it may appear in
// logs and metrics.
type CaseID string

// IDOf returns the case of a study.
func IDOf(studyInstanceUID string) CaseID {
	sum := sha256.Sum256([]byte(studyInstanceUID))
	return CaseID(hex.EncodeToString(sum[:8]))
}

// Phase is the progress of a case. Only the queue knows whether a queued case is being analysed at the moment.
type Phase string

const (
	Receiving Phase = "receiving" // objects are arriving
	Queued    Phase = "queued"    // complete; its job is in the queue
	Analyzed  Phase = "analyzed"  // has a finding with volumes
	Refused   Phase = "refused"   // has a finding that says why the study was not analysed
	Failed    Phase = "failed"    // given up; Error says why, Requeue retries it
)

// Phases lists all phases in the order of a case's life.
var Phases = [...]Phase{Receiving, Queued, Analyzed, Refused, Failed}

// transitions lists every phase a case may change to. "" is a case that does not exist yet.
var transitions = map[Phase][]Phase{
	"":        {Receiving, Queued},
	Receiving: {Queued},
	Queued:    {Receiving, Queued, Analyzed, Refused, Failed},
	Analyzed:  {Receiving, Queued},
	Refused:   {Receiving, Queued},
	Failed:    {Receiving, Queued},
}

func (p Phase) mayBecome(to Phase) bool { return slices.Contains(transitions[p], to) }

// Case is the analysis of one study.
type Case struct {
	Version          int              `json:"version"`
	ID               CaseID           `json:"id"`
	StudyInstanceUID string           `json:"study_instance_uid"`
	Phase            Phase            `json:"phase"`
	Removing         bool             `json:"removing,omitempty"` // retention is removing its study, see Claim
	Revision         int              `json:"revision"`           // number of analyses requested, from 1; objects that arrive later request another
	Objects          int              `json:"objects"`            // in the spool when the case was last queued
	Complete         string           `json:"complete,omitempty"`
	Begun            int              `json:"begun,omitempty"` // started analyses of this revision, including those that ended in a crash
	Tries            int              `json:"tries"`           // failed analyses of this revision
	Finding          *finding.Finding `json:"finding,omitempty"`
	Error            string           `json:"error,omitempty"`      // error of the last try, or why the case was given up
	Dismissed        bool             `json:"dismissed,omitempty"`  // failed, and discarded by an operator
	QueuedAt         time.Duration    `json:"queued_at,omitempty"`  // in running time: when it was last queued; 0: by a version that did not record it
	RemovedAt        time.Duration    `json:"removed_at,omitempty"` // in running time, when its images and results were removed; 0: not removed
	Created          time.Time        `json:"created"`
	Updated          time.Time        `json:"updated"`
}

// Event is one transition of a case.
type Event struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	From     Phase     `json:"from"`
	To       Phase     `json:"to"`
	Revision int       `json:"revision"`
	Why      string    `json:"why,omitempty"`
}

// Receive records at time now that an object arrived for a study. A new study becomes a case. A case that has ended is
// received again as its next revision. A case in phase Receiving does not change.
func (s *Store) Receive(studyInstanceUID string, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) error {
		var err error
		c, err = getCase(tx, IDOf(studyInstanceUID))
		switch {
		case errors.Is(err, ErrNotFound):
			c = newCase(studyInstanceUID, now)
			return advance(tx, &c, Receiving, now, "first object")
		case err != nil:
			return err
		case c.Phase == Receiving:
			return nil
		}
		c.nextRevision()
		return advance(tx, &c, Receiving, now, "further objects")
	})
	return c, err
}

// Queue records at time now that a study is complete, for the reason complete, with this number of objects in the spool. If
// it had more before, some were damaged or removed, and Objects stays the larger number. The returned case has the revision
// to submit. A case that is already queued, or was analysed with the same number of objects, does not change. If it has more
// objects now, it is queued as its next revision.
func (s *Store) Queue(studyInstanceUID string, objects int, complete string, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) error {
		var err error
		c, err = getCase(tx, IDOf(studyInstanceUID))
		switch {
		case errors.Is(err, ErrNotFound):
			c = newCase(studyInstanceUID, now)
		case err != nil:
			return err
		case c.Phase != Receiving && c.Objects == objects:
			return nil
		case c.Phase != Receiving:
			c.nextRevision()
		}
		c.Objects, c.Complete = max(c.Objects, objects), complete // the number of acknowledged objects never decreases
		return advance(tx, &c, Queued, now, "complete by "+complete)
	})
	return c, err
}

// Requeue requests at time now another analysis of a case that has ended, as its next revision: after a failure, or with
// another bundle. It returns ErrTransition while the case is being received or queued.
func (s *Store) Requeue(id CaseID, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) error {
		var err error
		if c, err = getCase(tx, id); err != nil {
			return err
		}
		switch {
		case c.Removing:
			return removingError(id)
		case c.Phase == Receiving || c.Phase == Queued:
			return fmt.Errorf("case %s from %s to %s by request: %w", id, c.Phase, Queued, ErrTransition)
		}
		c.nextRevision()
		return advance(tx, &c, Queued, now, "requested again")
	})
	return c, err
}

// maxBegun is how often an analysis may be started without ending. A study that kills the process is given up; one that
// was interrupted by a few power cuts is not.
const maxBegun = 30

// Begin records that an analysis of this revision is about to start. It returns ErrStale if the analysis is no longer
// needed: a newer revision exists, this one has ended, or it was started too often and is now given up.
func (s *Store) Begin(id CaseID, revision int, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) error {
		var err error
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		if c.Begun >= maxBegun {
			c.Error = fmt.Sprintf("started %d times and interrupted each time: the analysis may crash the process; check the service's log for lack of memory", c.Begun)
			return advance(tx, &c, Failed, now, c.Error)
		}
		c.Begun++
		return putCase(tx, &c, now)
	})
	if err == nil && c.Phase == Failed {
		err = fmt.Errorf("case %s was given up: %s: %w", id, c.Error, ErrStale)
	}
	return c, err
}

// TryFailed records the error of an analysis. After most failures the revision ends and the returned case is failed;
// otherwise retry the analysis. It returns ErrStale if the revision is no longer needed.
func (s *Store) TryFailed(id CaseID, revision int, why string, most int, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) (err error) {
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		c.Tries++
		c.Error = why
		if c.Tries < most {
			return putCase(tx, &c, now)
		}
		return advance(tx, &c, Failed, now, fmt.Sprintf("after %d tries: %s", c.Tries, why))
	})
	return c, err
}

// TryPutOff undoes a Begin: the analysis was interrupted, or the node's disk could not store results, so the study is not
// at fault. why may be empty. It returns ErrStale like TryFailed.
func (s *Store) TryPutOff(id CaseID, revision int, why string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := current(tx, id, revision)
		if err != nil {
			return err
		}
		c.Begun = max(c.Begun-1, 0)
		c.Error = why
		return putCase(tx, &c, now)
	})
}

// Dismiss removes a failed case from the dead letters. It returns ErrTransition if the case is not failed, or is at another
// revision.
func (s *Store) Dismiss(id CaseID, revision int, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := getCase(tx, id)
		if err != nil {
			return err
		}
		if c.Phase != Failed || c.Revision != revision {
			return fmt.Errorf("case %s revision %d is %s at revision %d: %w", id, revision, c.Phase, c.Revision, ErrTransition)
		}
		c.Dismissed = true
		return putCase(tx, &c, now)
	})
}

// Fail ends a revision for which retrying cannot help. Repeating it changes nothing. ErrStale as for Begin.
func (s *Store) Fail(id CaseID, revision int, why string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := getCase(tx, id)
		if err != nil {
			return err
		}
		if c.Phase == Failed && c.Revision == revision {
			return nil
		}
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		c.Error = why
		return advance(tx, &c, Failed, now, why)
	})
}

// Conclusion is what an analysed revision stores.
type Conclusion struct {
	Finding    finding.Finding
	Identity   string     // of all its objects together, see Outcome
	Deliveries []Delivery // each object for each destination
	Exam       Exam       // who was scanned and when, for comparison with later studies of the same patient
	Notes      *Notes     // nil: send no rejection notes
}

// Finish stores a result: the finding and, in the same transaction, its deliveries. The case becomes analyzed or refused,
// depending on the finding. Existing deliveries (the same object for the same destination, from an interrupted try or an
// earlier revision with the same result) do not change, so stored objects are not sent again. Pending deliveries of earlier
// revisions that this one does not have become superseded. Those already stored become replaced, and rejection notes about
// them are queued first. Objects that a destination already had before the case was forgotten are not sent to it again.
// Repeating Finish changes nothing. It returns ErrStale if revision is not the current one, and ErrChanged if r.Notes are
// out of date.
func (s *Store) Finish(id CaseID, revision int, r Conclusion, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := getCase(tx, id)
		if err != nil {
			return err
		}
		if c.Revision == revision && (c.Phase == Analyzed || c.Phase == Refused) {
			return nil
		}
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		c.Finding, c.Error = &r.Finding, ""
		deliveries, err := unknown(tx, id, r.Identity, r.Deliveries)
		if err != nil {
			return err
		}
		if err := supersede(tx, id, revision, r.Deliveries, r.Notes, now); err != nil {
			return err
		}
		for _, d := range deliveries {
			d.Case, d.Revision = id, revision
			if err := addDelivery(tx, d, now); err != nil {
				return err
			}
		}
		if err := putOutcome(tx, c, r.Finding, r.Identity, r.Deliveries, now); err != nil {
			return err
		}
		if err := putExam(tx, id, r.Exam, r.Finding.Status); err != nil {
			return err
		}
		if r.Finding.Status == finding.Refused {
			if err := count(tx, countRefusals(r.Finding.Code), 1); err != nil {
				return err
			}
		}
		return advance(tx, &c, endOf(r.Finding), now, r.Finding.Reason)
	})
}

func newCase(studyInstanceUID string, now time.Time) Case {
	return Case{ID: IDOf(studyInstanceUID), StudyInstanceUID: studyInstanceUID, Revision: 1, Created: now.UTC()}
}

// nextRevision keeps the last finding for display until the next one replaces it.
func (c *Case) nextRevision() {
	c.Revision++
	c.Begun, c.Tries, c.Error, c.Dismissed = 0, 0, "", false
}

// current returns the case if this revision is still the one to analyse.
func current(tx *bolt.Tx, id CaseID, revision int) (Case, error) {
	c, err := getCase(tx, id)
	if err != nil {
		return Case{}, err
	}
	if c.Revision != revision || c.Phase != Queued {
		return Case{}, fmt.Errorf("case %s revision %d, now %s at revision %d: %w", id, revision, c.Phase, c.Revision, ErrStale)
	}
	return c, nil
}

// advance changes the phase of a case and records why.
func advance(tx *bolt.Tx, c *Case, to Phase, now time.Time, why string) error {
	c.Removing = false // a new transition ends the removal
	from := c.Phase
	if !from.mayBecome(to) {
		return fmt.Errorf("case %s from %q to %q: %w", c.ID, from, to, ErrTransition)
	}
	if from == "" {
		if err := tx.Bucket(bucketNewest).Put(timeKey(c.Created, []byte(c.ID)), nil); err != nil {
			return err
		}
	} else if err := count(tx, countCases(from), -1); err != nil {
		return err
	}
	c.Phase = to
	if to == Queued {
		c.QueuedAt = ran(tx)
	}
	return errors.Join(
		returned(tx, c),
		count(tx, countCases(to), 1),
		count(tx, countEver(to), 1),
		putCase(tx, c, now),
		putHistory(tx, c.ID, Event{Version: formatVersion, At: now.UTC(), From: from, To: to, Revision: c.Revision, Why: why}))
}

func getCase(tx *bolt.Tx, id CaseID) (Case, error) {
	raw := tx.Bucket(bucketCases).Get([]byte(id))
	if raw == nil {
		return Case{}, fmt.Errorf("case %s: %w", id, ErrNotFound)
	}
	return decode[Case](raw, "case "+string(id))
}

func putCase(tx *bolt.Tx, c *Case, now time.Time) error {
	c.Version, c.Updated = formatVersion, now.UTC()
	return putJSON(tx.Bucket(bucketCases), []byte(c.ID), c)
}

func putHistory(tx *bolt.Tx, id CaseID, e Event) error {
	b := tx.Bucket(bucketHistory)
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	return putJSON(b, numberKey([]byte(id), n), e)
}

// numberKey orders entries below a prefix by number.
func numberKey(prefix []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(prefix), n)
}

// timeKey orders entries by time; times before 1970 sort first.
func timeKey(t time.Time, suffix []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, sortable(t)), suffix...)
}

func sortable(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }
