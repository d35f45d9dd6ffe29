package state

import (
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// StoredElsewhere records that the other node of a pair has stored an object at a destination, and whether the destination has
// committed to it. known is false if this node has no such delivery, as before its own analysis. Repeating it changes nothing:
// an object that the destination did not commit to afterwards is still sent again.
func (s *Store) StoredElsewhere(key DeliveryKey, committed bool, note string, now time.Time) (known bool, err error) {
	d, err := s.Delivery(key)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case d.State == Pending && d.Resent > 0:
		return true, nil
	case d.State != Pending && d.State != Dead && (d.State != Stored || !committed || !d.Commitment):
		return true, nil
	}
	if d.State != Stored {
		if err := s.markStored(key, Elsewhere, note, now); err != nil {
			return true, err
		}
	}
	if !committed {
		return true, nil
	}
	return true, s.update(func(tx *bolt.Tx) error {
		d, err := getDelivery(tx, key)
		if err != nil || d.State != Stored || !d.Commitment {
			return err
		}
		return change(tx, d, now, func(d *Delivery) { d.State, d.CommittedAt = Committed, now.UTC() })
	})
}

// Withdraw ends the deliveries of a case that were not sent: the other node of a pair has sent a result of more objects. It
// returns how many there were.
func (s *Store) Withdraw(id CaseID, why string, now time.Time) (withdrawn int, err error) {
	return withdrawn, s.update(func(tx *bolt.Tx) error {
		withdrawn = 0
		return scan(tx.Bucket(bucketResults), []byte(id), func(key []byte) error {
			d, err := readDelivery(tx, key)
			if err != nil || d.State != Pending {
				return err
			}
			withdrawn++
			return change(tx, d, now, func(d *Delivery) { d.State, d.LastError = Superseded, why })
		})
	})
}
