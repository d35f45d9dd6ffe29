package state

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Reject makes deliveries of rejection notes. It is given what destinations have of former revisions and are to have no
// more as a present result, in the order it was created. What a note names is in its Rejects; a destination that wants
// none gets none.
type Reject func(former []Delivery) ([]Delivery, error)

// has reports whether the destination ever answered that it has the object.
func (d Delivery) has() bool { return !d.StoredAt.IsZero() }

// supersede ends what earlier revisions of a case still had to deliver, but for the objects that the new one has too,
// and returns what their destinations have of them. A rejection note stays due: what it says is true for good.
func supersede(tx *bolt.Tx, id CaseID, revision int, wanted []Delivery, now time.Time) (former []Delivery, err error) {
	keep := map[DeliveryKey]bool{}
	for _, d := range wanted {
		keep[d.DeliveryKey] = true
	}
	var old []Delivery
	err = scan(tx.Bucket(bucketResults), []byte(id), func(key []byte) error {
		d, err := readDelivery(tx, key)
		if err == nil && d.Revision < revision && !keep[d.DeliveryKey] && d.Rejects == nil {
			old = append(old, d)
		}
		return err
	})
	for _, d := range old {
		switch {
		case d.State == Superseded || d.State == Replaced:
		case d.has():
			err = errors.Join(err, end(tx, d, Replaced, now))
			former = append(former, d)
		case d.State == Pending || d.State == Dead:
			err = errors.Join(err, end(tx, d, Superseded, now))
		}
	}
	return former, err
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

// RejectLate ends the lateness of objects of one case, and queues the notes that reject makes for them.
func (s *Store) RejectLate(late []Delivery, reject Reject, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLate)
		var left []Delivery
		for _, d := range late {
			key := numberKey(nil, d.Number)
			if b.Get(key) == nil {
				continue
			}
			left = append(left, d)
			if err := b.Delete(key); err != nil {
				return err
			}
		}
		if len(left) == 0 {
			return nil
		}
		notes, err := reject(left)
		if err != nil {
			return err
		}
		return addNotes(tx, left[0].Case, left[0].Revision, notes, now)
	})
}
