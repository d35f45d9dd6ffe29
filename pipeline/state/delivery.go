package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// DeliveryState says how far one delivery has come.
type DeliveryState string

const (
	Pending DeliveryState = "pending" // to be sent at Next
	Stored  DeliveryState = "stored"  // the destination answered that it has the object
	Dead    DeliveryState = "dead"    // given up; LastError says why, Replay starts it again
)

// DeliveryKey names a delivery: one object for one destination.
type DeliveryKey struct {
	SOPInstanceUID string `json:"sop_instance_uid"`
	Destination    string `json:"destination"`
}

func (k DeliveryKey) bytes() []byte { return []byte(k.SOPInstanceUID + "\x00" + k.Destination) }

// Delivery is one object on its way to one destination.
type Delivery struct {
	Version int `json:"version"`
	DeliveryKey
	Case              CaseID        `json:"case"`
	Revision          int           `json:"revision"`
	Kind              string        `json:"kind"` // SEG, SC, SR
	SOPClassUID       string        `json:"sop_class_uid"`
	TransferSyntaxUID string        `json:"transfer_syntax_uid"` // of the file
	Path              string        `json:"path"`                // of the Part 10 file
	Size              int64         `json:"size"`                // bytes of the file
	State             DeliveryState `json:"state"`
	Tries             int           `json:"tries"`   // attempts
	Refused           int           `json:"refused"` // attempts the destination refused for good
	Next              time.Time     `json:"next"`    // not before
	LastError         string        `json:"last_error,omitempty"`
	Number            uint64        `json:"number"` // order of sending among deliveries due at the same time
	Since             time.Time     `json:"since"`  // created or replayed
	Updated           time.Time     `json:"updated"`
	StoredAt          time.Time     `json:"stored_at,omitzero"`
}

// Failure is the outcome of an attempt that did not store the object.
type Failure struct {
	Key     DeliveryKey
	Next    time.Time // not before; may be in the past when the schedule is kept elsewhere
	Refused bool      // counts towards giving up
	Dead    bool      // give up now
	Err     string    // in the words of the destination
}

// addDelivery creates a pending delivery, or leaves the one that exists.
func addDelivery(tx *bolt.Tx, d Delivery, now time.Time) error {
	if d.SOPInstanceUID == "" || d.Destination == "" {
		return fmt.Errorf("delivery of case %s to %q: no SOP Instance UID or destination", d.Case, d.Destination)
	}
	b := tx.Bucket(bucketDeliveries)
	if b.Get(d.bytes()) != nil {
		return nil
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	d.State, d.Number, d.Since, d.Next = Pending, n, now.UTC(), now.UTC()
	d.Tries, d.Refused, d.LastError, d.StoredAt = 0, 0, "", time.Time{}
	return errors.Join(
		tx.Bucket(bucketResults).Put(numberKey([]byte(d.Case), n), d.bytes()),
		tx.Bucket(bucketDue).Put(dueKey(d), d.bytes()),
		count(tx, countDeliveries(d.Destination, Pending), 1),
		putDelivery(tx, &d, now))
}

// MarkStored ends a delivery: its destination has the object. note is kept as the last error when it is not empty
// (a warning status). Repeating it changes nothing.
func (s *Store) MarkStored(key DeliveryKey, note string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		d, err := getDelivery(tx, key)
		if err != nil {
			return err
		}
		if d.State == Stored {
			return nil
		}
		if err := unlist(tx, d); err != nil {
			return err
		}
		d.Tries++
		d.LastError, d.StoredAt, d.State = note, now.UTC(), Stored
		return errors.Join(count(tx, countDeliveries(d.Destination, Stored), 1), putDelivery(tx, &d, now))
	})
}

// MarkFailed records attempts that did not store their objects, all in one transaction. Deliveries that are not
// pending are left as they are.
func (s *Store) MarkFailed(failures []Failure, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		for _, f := range failures {
			d, err := getDelivery(tx, f.Key)
			if err != nil {
				return err
			}
			if d.State != Pending {
				continue
			}
			if err := unlist(tx, d); err != nil {
				return err
			}
			d.Tries++
			if f.Refused {
				d.Refused++
			}
			d.LastError = f.Err
			if f.Dead {
				d.State = Dead
			} else {
				d.Next = f.Next.UTC()
			}
			if err := errors.Join(list(tx, d), putDelivery(tx, &d, now)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Replay makes a dead delivery pending again, due at once. It returns ErrTransition when the delivery is not dead.
func (s *Store) Replay(key DeliveryKey, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		d, err := getDelivery(tx, key)
		if err != nil {
			return err
		}
		if d.State != Dead {
			return fmt.Errorf("delivery to %s from %s to %s: %w", d.Destination, d.State, Pending, ErrTransition)
		}
		if err := unlist(tx, d); err != nil {
			return err
		}
		d.State, d.Tries, d.Refused, d.Since, d.Next = Pending, 0, 0, now.UTC(), now.UTC()
		return errors.Join(list(tx, d), putDelivery(tx, &d, now))
	})
}

// Due returns up to n pending deliveries to a destination whose time has come, the longest due first and those of the
// same time in the order they were created.
func (s *Store) Due(destination string, now time.Time, n int) ([]Delivery, error) {
	var due []Delivery
	prefix := duePrefix(destination)
	end := sortable(now)
	err := s.view(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketDue).Cursor()
		for k, v := cur.Seek(prefix); len(due) < n && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
			if binary.BigEndian.Uint64(k[len(prefix):]) > end {
				return nil
			}
			d, err := readDelivery(tx, v)
			if err != nil {
				return err
			}
			due = append(due, d)
		}
		return nil
	})
	return due, err
}

// NextDue returns when the next pending delivery to a destination is due; ok is false when there is none.
func (s *Store) NextDue(destination string) (at time.Time, ok bool, err error) {
	prefix := duePrefix(destination)
	err = s.view(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(bucketDue).Cursor().Seek(prefix)
		if bytes.HasPrefix(k, prefix) {
			at, ok = time.Unix(0, int64(binary.BigEndian.Uint64(k[len(prefix):]))).UTC(), true
		}
		return nil
	})
	return at, ok, err
}

// list enters a delivery into the index and the count of its state.
func list(tx *bolt.Tx, d Delivery) error {
	var err error
	switch d.State {
	case Pending:
		err = tx.Bucket(bucketDue).Put(dueKey(d), d.bytes())
	case Dead:
		err = tx.Bucket(bucketDead).Put(numberKey(nil, d.Number), d.bytes())
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), 1))
}

// unlist takes a delivery out of the index and the count of its state.
func unlist(tx *bolt.Tx, d Delivery) error {
	var err error
	switch d.State {
	case Pending:
		err = tx.Bucket(bucketDue).Delete(dueKey(d))
	case Dead:
		err = tx.Bucket(bucketDead).Delete(numberKey(nil, d.Number))
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), -1))
}

func duePrefix(destination string) []byte { return append([]byte(destination), 0) }

func dueKey(d Delivery) []byte {
	k := binary.BigEndian.AppendUint64(duePrefix(d.Destination), sortable(d.Next))
	return binary.BigEndian.AppendUint64(k, d.Number)
}

func getDelivery(tx *bolt.Tx, key DeliveryKey) (Delivery, error) {
	return readDelivery(tx, key.bytes())
}

func readDelivery(tx *bolt.Tx, key []byte) (Delivery, error) {
	_, destination, _ := bytes.Cut(key, []byte{0})
	raw := tx.Bucket(bucketDeliveries).Get(key)
	if raw == nil {
		return Delivery{}, fmt.Errorf("delivery to %s: %w", destination, ErrNotFound)
	}
	var d Delivery
	if err := json.Unmarshal(raw, &d); err != nil {
		return Delivery{}, fmt.Errorf("delivery to %s: %w: %w", destination, ErrDamaged, err)
	}
	return d, nil
}

func putDelivery(tx *bolt.Tx, d *Delivery, now time.Time) error {
	d.Version, d.Updated = formatVersion, now.UTC()
	return putJSON(tx.Bucket(bucketDeliveries), d.bytes(), d)
}
