package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/finding"
)

// CaseID names a case: 16 hexadecimal digits of the SHA-256 of its Study Instance UID. Unlike the UID it may appear in
// logs and metrics.
type CaseID string

// IDOf returns the case of a study.
func IDOf(studyInstanceUID string) CaseID {
	sum := sha256.Sum256([]byte(studyInstanceUID))
	return CaseID(hex.EncodeToString(sum[:8]))
}

// Phase says how far a case has come. Whether a queued case is being worked on at this moment is the queue's to know.
type Phase string

const (
	Receiving Phase = "receiving" // objects arrive
	Queued    Phase = "queued"    // complete; its job is with the queue
	Analyzed  Phase = "analyzed"  // has a finding with volumes
	Refused   Phase = "refused"   // has a finding that says why the study was not read
	Failed    Phase = "failed"    // the queue gave up on it; Error says why
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

func (p Phase) mayBecome(to Phase) bool {
	for _, t := range transitions[p] {
		if t == to {
			return true
		}
	}
	return false
}

// Case is the analysis of one study.
type Case struct {
	Version          int              `json:"version"`
	ID               CaseID           `json:"id"`
	StudyInstanceUID string           `json:"study_instance_uid"`
	Phase            Phase            `json:"phase"`
	Removing         bool             `json:"removing,omitempty"` // retention removes its study, see Claim
	Revision         int              `json:"revision"`           // counts from 1 the analyses asked for; objects that arrive later ask for another
	Objects          int              `json:"objects"`            // in the spool when the case was last queued
	Complete         string           `json:"complete,omitempty"`
	Tries            int              `json:"tries"` // analyses begun for this revision
	Finding          *finding.Finding `json:"finding,omitempty"`
	Error            string           `json:"error,omitempty"` // of the last try, or why the queue gave up
	Created          time.Time        `json:"created"`
	Updated          time.Time        `json:"updated"`
}

// Event is one step in the life of a case.
type Event struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	From     Phase     `json:"from"`
	To       Phase     `json:"to"`
	Revision int       `json:"revision"`
	Why      string    `json:"why,omitempty"`
}

// Receive notes at time now that an object arrived for a study: a new study becomes a case, an analysed one is
// received again as its next revision, and one that is being received is left as it is.
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

// Queue notes at time now that a study is complete, for the reason complete, with objects instances in the spool. Where
// it had more before, some were damaged or removed, and Objects stays the larger number. The returned case names the
// revision to submit. A study that is queued already, or was analysed with the same number of
// objects, is left as it is; one that has grown since becomes its next revision.
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
		c.Objects, c.Complete = max(c.Objects, objects), complete // what was acknowledged does not become fewer
		return advance(tx, &c, Queued, now, "complete by "+complete)
	})
	return c, err
}

// Requeue asks at time now for another analysis of a case that has ended, as its next revision: after a failure, or
// with another bundle. It returns ErrTransition while the case is received or queued.
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
		return advance(tx, &c, Queued, now, "asked for again")
	})
	return c, err
}

// Begin counts a try: an analysis of this revision is about to start. It returns ErrStale when the work is not wanted
// any more: a newer revision exists, or this one has ended.
func (s *Store) Begin(id CaseID, revision int, now time.Time) (Case, error) {
	var c Case
	err := s.update(func(tx *bolt.Tx) error {
		var err error
		if c, err = current(tx, id, revision); err != nil {
			return err
		}
		c.Tries++
		return putCase(tx, &c, now)
	})
	return c, err
}

// TryFailed records the error of a try that the queue will repeat. It returns ErrStale as Begin does.
func (s *Store) TryFailed(id CaseID, revision int, why string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := current(tx, id, revision)
		if err != nil {
			return err
		}
		c.Error = why
		return putCase(tx, &c, now)
	})
}

// Fail ends a revision that the queue has given up on. Repeating it changes nothing; ErrStale as for Begin.
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

// Result is what a revision gave.
type Result struct {
	Finding    finding.Finding
	Identity   string     // of its objects as a whole, see Outcome
	Deliveries []Delivery // each object for each destination
	Exam       Exam       // who was scanned and when: later studies of the same patient are compared with this one
	Notes      *Notes     // nil: no destination is told which of its objects were replaced
}

// Finish stores a result: the finding and, in the same transaction, what is to be delivered because of it. The case
// becomes analyzed or refused as the finding says. Deliveries that exist already (the same object for the same
// destination, from a try that was cut short or an earlier revision with the same result) are left as they are, so
// nothing that was stored is sent again. What earlier revisions still had to deliver and this one does not is superseded;
// what destinations have of them is replaced, and notes that say so are queued before anything else. Repeating a Finish
// changes nothing; a revision that is not the present one is ErrStale, and ErrChanged says that r.Notes are out of date.
func (s *Store) Finish(id CaseID, revision int, r Result, now time.Time) error {
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
		if err := supersede(tx, id, revision, r.Deliveries, r.Notes, now); err != nil {
			return err
		}
		for _, d := range r.Deliveries {
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
		return advance(tx, &c, endOf(r.Finding), now, r.Finding.Reason)
	})
}

func newCase(studyInstanceUID string, now time.Time) Case {
	return Case{ID: IDOf(studyInstanceUID), StudyInstanceUID: studyInstanceUID, Revision: 1, Created: now.UTC()}
}

// nextRevision keeps the last finding for display until the next one replaces it.
func (c *Case) nextRevision() {
	c.Revision++
	c.Tries, c.Error = 0, ""
}

// current returns the case if this revision of it is still wanted.
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

// advance moves a case to another phase and records why.
func advance(tx *bolt.Tx, c *Case, to Phase, now time.Time, why string) error {
	c.Removing = false // it was received again
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
	return errors.Join(
		count(tx, countCases(to), 1),
		putCase(tx, c, now),
		putHistory(tx, c.ID, Event{Version: formatVersion, At: now.UTC(), From: from, To: to, Revision: c.Revision, Why: why}))
}

func getCase(tx *bolt.Tx, id CaseID) (Case, error) {
	raw := tx.Bucket(bucketCases).Get([]byte(id))
	if raw == nil {
		return Case{}, fmt.Errorf("case %s: %w", id, ErrNotFound)
	}
	var c Case
	if err := json.Unmarshal(raw, &c); err != nil {
		return Case{}, fmt.Errorf("case %s: %w: %w", id, ErrDamaged, err)
	}
	return c, nil
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
