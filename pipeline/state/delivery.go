package state

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// DeliveryState says how far one delivery has come.
type DeliveryState string

const (
	Pending    DeliveryState = "pending"    // to be sent at Next
	Stored     DeliveryState = "stored"     // the destination answered that it has the object
	Committed  DeliveryState = "committed"  // and that it will keep it (Storage Commitment)
	Dead       DeliveryState = "dead"       // given up; LastError says why, Replay starts it again
	Superseded DeliveryState = "superseded" // not sent: a newer revision of its case gave other objects
	Replaced   DeliveryState = "replaced"   // the destination has it, and since then a newer revision gave other objects
	Discarded  DeliveryState = "discarded"  // dead, and an operator wants no more of it
)

// Priority orders the deliveries to one destination.
type Priority int

const (
	Low     Priority = -1 // nothing that anybody waits for
	Routine Priority = 0
	Urgent  Priority = 1 // a reader should see it first
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
	Kind              string        `json:"kind"` // SEG, SC, SR, KO
	SOPClassUID       string        `json:"sop_class_uid"`
	SeriesInstanceUID string        `json:"series_instance_uid,omitempty"`
	TransferSyntaxUID string        `json:"transfer_syntax_uid"` // of the file
	Path              string        `json:"path"`                // of the Part 10 file
	Size              int64         `json:"size"`                // bytes of the file
	SHA256            []byte        `json:"sha256,omitempty"`    // of the file; empty: written by an ichor that kept none
	Priority          Priority      `json:"priority,omitempty"`
	Rejects           []string      `json:"rejects,omitempty"`    // SOP Instance UIDs that this rejection note names
	Note              string        `json:"note,omitempty"`       // SOP Instance UID of the rejection note that names this
	Commitment        bool          `json:"commitment,omitempty"` // Storage Commitment is to be asked for
	State             DeliveryState `json:"state"`
	Tries             int           `json:"tries"`              // attempts
	Refused           int           `json:"refused"`            // attempts in which the destination refused the object
	Rejected          int           `json:"rejected,omitempty"` // attempts in which it rejected us altogether
	Resent            int           `json:"resent,omitempty"`   // sent again because the destination did not commit to it
	LastError         string        `json:"last_error,omitempty"`
	Cause             Cause         `json:"cause,omitempty"` // of LastError
	Number            uint64        `json:"number"`          // order of sending among deliveries due at the same time
	Due               time.Duration `json:"due"`             // in running time, not before: of sending, or when stored of asking for commitment
	From              time.Duration `json:"from"`            // in running time, when its age began: created, replayed, or stored
	Updated           time.Time     `json:"updated"`
	StoredAt          time.Time     `json:"stored_at,omitzero"`
	CommittedAt       time.Time     `json:"committed_at,omitzero"`
}

// Cause says what kept an object from being stored. What helps is told by it, never by words of the destination.
type Cause string

const (
	Unreachable   Cause = "unreachable"    // no connection, or no answer
	Busy          Cause = "busy"           // out of resources for the moment
	Rejected      Cause = "rejected"       // it rejects the association for good
	Denied        Cause = "denied"         // it does not take the credentials, or the URL is none of its own
	NotAuthorized Cause = "not authorized" // we may not store there
	NotSupported  Cause = "not supported"  // it is not set up for this SOP class
	BadObject     Cause = "bad object"     // it finds something wrong with the object
	FileLost      Cause = "file lost"      // our own file is gone, or not what was written
	Uncommitted   Cause = "uncommitted"    // stored, and it does not say that it keeps it
	Unconfigured  Cause = "unconfigured"   // the destination is no longer in the configuration
)

// Failure is the outcome of an attempt that did not store the object.
type Failure struct {
	Key      DeliveryKey
	Wait     time.Duration // before this object is due again; 0: it stays due, and its destination waits
	Refused  bool
	Rejected bool
	Dead     bool // give up now
	Cause    Cause
	Err      string // in the words of the destination
}

// Settled reports whether nothing is left to be done about a delivery.
func (d Delivery) Settled() bool {
	switch d.State {
	case Committed, Superseded, Replaced, Discarded:
		return true
	case Stored:
		return !d.Commitment
	}
	return false
}

// addDelivery creates a pending delivery, or leaves the one that exists. One that was superseded is wanted again; one that
// was replaced is ErrTransition, for its destination may have been told to forget it.
func addDelivery(tx *bolt.Tx, d Delivery, now time.Time) error {
	if d.SOPInstanceUID == "" || d.Destination == "" {
		return fmt.Errorf("delivery of case %s to %q: no SOP Instance UID or destination", d.Case, d.Destination)
	}
	b := tx.Bucket(bucketDeliveries)
	if b.Get(d.bytes()) != nil {
		old, err := readDelivery(tx, d.bytes())
		switch {
		case err != nil:
			return err
		case old.State == Superseded:
			return revive(tx, old, now)
		case old.State == Replaced:
			return fmt.Errorf("delivery to %s of an object that was replaced there: %w", d.Destination, ErrTransition)
		}
		old.Path, old.Size, old.SHA256, old.TransferSyntaxUID = d.Path, d.Size, d.SHA256, d.TransferSyntaxUID // the file may have been written anew
		return putDelivery(tx, &old, old.Updated)
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	d.State, d.Number, d.From, d.Due = Pending, n, ran(tx), ran(tx)
	d.Tries, d.Refused, d.LastError, d.StoredAt = 0, 0, "", time.Time{}
	return errors.Join(
		tx.Bucket(bucketResults).Put(numberKey([]byte(d.Case), n), d.bytes()),
		list(tx, d),
		putDelivery(tx, &d, now))
}

// revive makes a delivery pending, due at once, with all its tries.
func revive(tx *bolt.Tx, d Delivery, now time.Time) error {
	if err := unlist(tx, d); err != nil {
		return err
	}
	d.State, d.Tries, d.Refused, d.Rejected, d.Resent, d.From, d.Due = Pending, 0, 0, 0, 0, ran(tx), ran(tx)
	return errors.Join(list(tx, d), putDelivery(tx, &d, now))
}

// end takes a delivery that is pending, stored or dead to its last state.
func end(tx *bolt.Tx, d Delivery, to DeliveryState, now time.Time) error {
	if err := unlist(tx, d); err != nil {
		return err
	}
	d.State = to
	return errors.Join(list(tx, d), putDelivery(tx, &d, now))
}

// MarkStored ends a delivery: its destination has the object. note is kept as the last error when it is not empty
// (a warning status). Repeating it changes nothing. One that was superseded meanwhile is replaced, see Late.
func (s *Store) MarkStored(key DeliveryKey, note string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		d, err := getDelivery(tx, key)
		if err != nil {
			return err
		}
		switch d.State {
		case Stored, Committed, Replaced:
			return nil
		case Superseded:
			d.LastError = note
			return storedLate(tx, d, now)
		}
		if err := unlist(tx, d); err != nil {
			return err
		}
		d.Tries++
		d.LastError, d.Cause, d.StoredAt, d.State, d.From, d.Due = note, "", now.UTC(), Stored, ran(tx), ran(tx)
		return errors.Join(list(tx, d), putDelivery(tx, &d, now), putJSON(tx.Bucket(bucketCounts), lastStored(d.Destination), now.Unix()))
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
			if f.Rejected {
				d.Rejected++
			}
			d.LastError, d.Cause = f.Err, f.Cause
			if f.Dead {
				d.State = Dead
			} else if f.Wait > 0 {
				d.Due = ran(tx) + f.Wait
			}
			if err := errors.Join(list(tx, d), putDelivery(tx, &d, now)); err != nil {
				return err
			}
		}
		return nil
	})
}

// GiveUp makes dead letters of all pending deliveries to a destination that are at least so old, in running time, tried
// or not, and returns them as they were. why goes before their last error; an empty cause leaves the one they have.
func (s *Store) GiveUp(destination string, age time.Duration, cause Cause, why string, now time.Time) ([]Delivery, error) {
	return s.giveUp(bucketDue, destination, age, cause, why, now)
}

// GiveUpCommitment does the same to stored deliveries whose destination does not say that it keeps them.
func (s *Store) GiveUpCommitment(destination string, age time.Duration, why string, now time.Time) ([]Delivery, error) {
	return s.giveUp(bucketUncommitted, destination, age, Uncommitted, why, now)
}

func (s *Store) giveUp(index []byte, destination string, age time.Duration, cause Cause, why string, now time.Time) (old []Delivery, err error) {
	find := func(tx *bolt.Tx) error {
		old = nil
		return scan(tx.Bucket(index), duePrefix(destination), func(key []byte) error {
			d, err := readDelivery(tx, key)
			if err == nil && s.running()-d.From >= age {
				old = append(old, d)
			}
			return err
		})
	}
	if err := s.view(find); err != nil || len(old) == 0 { // as a rule there are none, and nothing is written
		return nil, err
	}
	return old, s.update(func(tx *bolt.Tx) error {
		if err := find(tx); err != nil {
			return err
		}
		for _, d := range old {
			d.Cause = cmp.Or(cause, d.Cause, Unreachable)
			if d.LastError == "" || cause != "" {
				d.LastError = why
			} else {
				d.LastError = why + ": " + d.LastError
			}
			if err := end(tx, d, Dead, now); err != nil {
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
		if c, err := getCase(tx, d.Case); err == nil && c.Removing {
			return removingError(c.ID)
		}
		return revive(tx, d, now)
	})
}

// Discard ends a dead delivery for good. It returns ErrTransition when the delivery is not dead.
func (s *Store) Discard(key DeliveryKey, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		d, err := getDelivery(tx, key)
		if err != nil {
			return err
		}
		if d.State != Dead {
			return fmt.Errorf("delivery to %s from %s to %s: %w", d.Destination, d.State, Discarded, ErrTransition)
		}
		return end(tx, d, Discarded, now)
	})
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
