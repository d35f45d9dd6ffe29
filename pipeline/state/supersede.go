package state

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Notes are rejection notes: they tell destinations which of their objects were replaced. Rejects of a note lists them. There is
// none for a destination without rejection notes in its configuration.
type Notes struct {
	Former     []Delivery // the deliveries they are based on, see Former
	Deliveries []Delivery
}

// ErrChanged is returned when destinations stored more of an earlier result while notes about it were made; make them again.
var ErrChanged = errors.New("deliveries changed meanwhile")

// Former returns the deliveries of earlier revisions of a case that destinations have stored and that are not among wanted, in
// the order they were created. Make rejection notes from them before Finish.
func (s *Store) Former(id CaseID, revision int, wanted []Delivery) (former []Delivery, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		_, former, err = superseded(tx, id, revision, wanted)
		return err
	})
	return former, err
}

// has reports whether the destination ever confirmed that it has the object.
func (d Delivery) has() bool { return !d.StoredAt.IsZero() }

// superseded returns the deliveries of earlier revisions of a case that are not among wanted: unsent ones, and former ones that
// their destinations have. It leaves out rejection notes, because they remain valid.
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

// supersede ends the pending deliveries of earlier revisions that are not among wanted, and queues the rejection notes about
// those that destinations have. If notes is nil, no destination is notified.
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

// addNotes queues rejection notes and records them in the deliveries that they reject.
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

// storedLate records that a destination has an object that was superseded while it was being sent. Late returns it until
// RejectLate is called.
func storedLate(tx *bolt.Tx, d Delivery, now time.Time) error {
	d.Tries++
	d.StoredAt = now.UTC()
	return errors.Join(
		end(tx, d, Replaced, now),
		tx.Bucket(bucketLate).Put(numberKey(nil, d.Number), d.bytes()))
}

// Late returns the deliveries that destinations stored after they were superseded, so that Finish did not know about them.
func (s *Store) Late() ([]Delivery, error) { return s.deliveries(bucketLate, nil) }

// RejectLate removes objects of one case from the list of late ones, and queues the notes about them. Repeating it changes
// nothing. If only some of them are still late, it returns ErrChanged.
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
