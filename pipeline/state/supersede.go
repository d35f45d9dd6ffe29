package state

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Notes are rejection notes: they tell destinations which of their objects were replaced. What a note names is in its
// Rejects; a destination that wants none gets none.
type Notes struct {
	Former     []Delivery // what they were made from, see Former
	Deliveries []Delivery
}

// ErrChanged is returned when destinations stored more of a former result while notes about it were made; make them again.
var ErrChanged = errors.New("deliveries changed meanwhile")

// Former lists what destinations have of earlier revisions of a case and a result with the deliveries wanted replaces, in
// the order it was created. Rejection notes are made from it before Finish.
func (s *Store) Former(id CaseID, revision int, wanted []Delivery) (former []Delivery, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		_, former, err = superseded(tx, id, revision, wanted)
		return err
	})
	return former, err
}

// has reports whether the destination ever answered that it has the object.
func (d Delivery) has() bool { return !d.StoredAt.IsZero() }

// superseded lists the deliveries of earlier revisions of a case that are not among the wanted ones: unsent are still to be
// sent, former are at their destinations. A rejection note is neither: what it says stays true.
func superseded(tx *bolt.Tx, id CaseID, revision int, wanted []Delivery) (unsent, former []Delivery, err error) {
	keep := map[DeliveryKey]bool{}
	for _, d := range wanted {
		keep[d.DeliveryKey] = true
	}
	err = scan(tx.Bucket(bucketResults), []byte(id), func(key []byte) error {
		d, err := readDelivery(tx, key)
		switch {
		case err != nil || d.Revision >= revision || keep[d.DeliveryKey] || d.Rejects != nil:
		case d.State == Superseded || d.State == Replaced:
		case d.has():
			former = append(former, d)
		case d.State == Pending || d.State == Dead:
			unsent = append(unsent, d)
		}
		return err
	})
	return unsent, former, err
}

// supersede ends what earlier revisions of a case still had to deliver and the present one does not want, and queues the
// notes about what their destinations have of them; no destination is told where notes is nil.
func supersede(tx *bolt.Tx, id CaseID, revision int, wanted []Delivery, notes *Notes, now time.Time) error {
	unsent, former, err := superseded(tx, id, revision, wanted)
	if err != nil {
		return err
	}
	if notes != nil && !slices.EqualFunc(former, notes.Former, func(a, b Delivery) bool { return a.DeliveryKey == b.DeliveryKey }) {
		return fmt.Errorf("rejection notes of case %s: %w", id, ErrChanged)
	}
	for _, d := range unsent {
		err = errors.Join(err, end(tx, d, Superseded, now))
	}
	for _, d := range former {
		err = errors.Join(err, end(tx, d, Replaced, now))
	}
	if err != nil || notes == nil {
		return err
	}
	return addNotes(tx, id, revision, notes.Deliveries, now)
}

// addNotes queues rejection notes and records in what they name that they do.
func addNotes(tx *bolt.Tx, id CaseID, revision int, notes []Delivery, now time.Time) error {
	for _, note := range notes {
		note.Case, note.Revision = id, revision
		if err := addDelivery(tx, note, now); err != nil {
			return err
		}
		for _, uid := range note.Rejects {
			d, err := getDelivery(tx, DeliveryKey{uid, note.Destination})
			if err != nil {
				return err
			}
			if d.State != Replaced {
				return fmt.Errorf("rejection note for an object that is %s at %s: %w", d.State, d.Destination, ErrTransition)
			}
			d.Note = note.SOPInstanceUID
			if err := putDelivery(tx, &d, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// storedLate records that a destination has an object that was superseded while it was on its way. It is Late until
// RejectLate.
func storedLate(tx *bolt.Tx, d Delivery, now time.Time) error {
	d.Tries++
	d.StoredAt = now.UTC()
	return errors.Join(
		end(tx, d, Replaced, now),
		tx.Bucket(bucketLate).Put(numberKey(nil, d.Number), d.bytes()))
}

// Late returns what destinations stored though it was superseded meanwhile, and what Finish could not have known.
func (s *Store) Late() ([]Delivery, error) { return s.deliveries(bucketLate, nil) }

// RejectLate takes objects of one case off the list of late ones, and queues the notes that were made about them. Repeating
// it changes nothing; where only some of them are still late, it returns ErrChanged.
func (s *Store) RejectLate(late, notes []Delivery, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLate)
		left := 0
		for _, d := range late {
			key := numberKey(nil, d.Number)
			if b.Get(key) == nil {
				continue
			}
			left++
			if err := b.Delete(key); err != nil {
				return err
			}
		}
		switch left {
		case 0:
			return nil
		case len(late):
			return addNotes(tx, late[0].Case, late[0].Revision, notes, now)
		}
		return fmt.Errorf("late objects of case %s: %w", late[0].Case, ErrChanged)
	})
}
