package state

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// DeliveryState is the progress of one delivery.
type DeliveryState string

const (
	Pending    DeliveryState = "pending"    // to be sent when due
	Stored     DeliveryState = "stored"     // the destination confirmed that it has the object
	Committed  DeliveryState = "committed"  // and committed to keep it (Storage Commitment)
	Dead       DeliveryState = "dead"       // given up; LastError says why, Replay retries it
	Superseded DeliveryState = "superseded" // not sent: a newer revision of its case has other objects
	Replaced   DeliveryState = "replaced"   // the destination has it, but a newer revision has other objects
	Discarded  DeliveryState = "discarded"  // dead, and discarded by an operator
)

// Priority orders the deliveries to one destination.
type Priority int

const (
	Low     Priority = -1 // nobody is waiting for it
	Routine Priority = 0
	Urgent  Priority = 1 // readers should see it first
)

// DeliveryKey identifies a delivery: one object for one destination.
type DeliveryKey struct {
	SOPInstanceUID string `json:"sop_instance_uid"`
	Destination    string `json:"destination"`
}

func (k DeliveryKey) bytes() []byte { return []byte(k.SOPInstanceUID + "\x00" + k.Destination) }

// Delivery is the delivery of one object to one destination.
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
	SHA256            []byte        `json:"sha256,omitempty"`    // of the file; empty: written by a version without digests
	Priority          Priority      `json:"priority,omitempty"`
	Rejects           []string      `json:"rejects,omitempty"`    // if this is a rejection note: SOP Instance UIDs that it rejects
	Note              string        `json:"note,omitempty"`       // SOP Instance UID of the rejection note that rejects this object
	Commitment        bool          `json:"commitment,omitempty"` // request Storage Commitment
	State             DeliveryState `json:"state"`
	Tries             int           `json:"tries"`              // attempts
	Refused           int           `json:"refused"`            // attempts in which the destination refused the object
	Rejected          int           `json:"rejected,omitempty"` // attempts in which it rejected the association or our credentials
	Resent            int           `json:"resent,omitempty"`   // how often it was sent again for lack of commitment
	LastError         string        `json:"last_error,omitempty"`
	Cause             Cause         `json:"cause,omitempty"` // of LastError
	Number            uint64        `json:"number"`          // sending order of deliveries due at the same time
	Due               time.Duration `json:"due"`             // in running time: when to send it, or once stored, when to request commitment
	From              time.Duration `json:"from"`            // in running time: when its age started (created, replayed, or stored)
	Updated           time.Time     `json:"updated"`
	StoredAt          time.Time     `json:"stored_at,omitzero"`
	CommittedAt       time.Time     `json:"committed_at,omitzero"`
}

// Cause is why an object was not stored. Remedies depend on it, never on text from the destination.
type Cause string

const (
	Unreachable   Cause = "unreachable"    // no connection or no answer
	Busy          Cause = "busy"           // temporarily out of resources
	Rejected      Cause = "rejected"       // it rejects the association permanently
	Denied        Cause = "denied"         // it does not accept the credentials or the URL
	NotAuthorized Cause = "not authorized" // we are not authorized to store there
	NotSupported  Cause = "not supported"  // it is not configured for this SOP class
	BadObject     Cause = "bad object"     // it considers the object invalid
	FileLost      Cause = "file lost"      // our own file is missing or has changed
	Uncommitted   Cause = "uncommitted"    // stored, but not committed
	Unconfigured  Cause = "unconfigured"   // the destination is no longer in the configuration
	Present       Cause = "present"        // of a stored object: the destination had it already (0111H)
	Elsewhere     Cause = "elsewhere"      // of a stored object: the other node of a pair has sent it
)

// Failure is an attempt that did not store the object.
type Failure struct {
	Key      DeliveryKey
	Wait     time.Duration // before this object is due again; 0: it stays due, and the whole destination waits
	Refused  bool
	Rejected bool
	Dead     bool // give up now
	Cause    Cause
	Err      string // text from the destination
}

// Settled reports whether nothing remains to be done for a delivery.
func (d Delivery) Settled() bool {
	switch d.State {
	case Committed, Superseded, Replaced, Discarded:
		return true
	case Stored:
		return !d.Commitment
	}
	return false
}

// addDelivery creates a pending delivery, or keeps an existing one. A superseded one becomes pending again. A replaced one
// gives ErrTransition, because a rejection note may already have rejected it at the destination.
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
		old.Path, old.Size, old.SHA256, old.TransferSyntaxUID = d.Path, d.Size, d.SHA256, d.TransferSyntaxUID // the file may have been written again
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

// revive makes a delivery pending and due now, with its tries reset.
func revive(tx *bolt.Tx, d Delivery, now time.Time) error {
	return change(tx, d, now, func(d *Delivery) {
		d.State, d.Tries, d.Refused, d.Rejected, d.Resent, d.From, d.Due = Pending, 0, 0, 0, 0, ran(tx), ran(tx)
	})
}

// end moves a pending, stored or dead delivery to a final state.
func end(tx *bolt.Tx, d Delivery, to DeliveryState, now time.Time) error {
	return change(tx, d, now, func(d *Delivery) { d.State = to })
}

// change changes a delivery and keeps indexes and counts in step.
func change(tx *bolt.Tx, d Delivery, now time.Time, f func(*Delivery)) error {
	if err := unlist(tx, d); err != nil {
		return err
	}
	f(&d)
	return errors.Join(list(tx, d), putDelivery(tx, &d, now))
}

// MarkStored records that the destination has the object. A note that is not empty (a warning status) is kept as the last
// error. Repeating it changes nothing. A delivery superseded meanwhile becomes replaced, see Late.
func (s *Store) MarkStored(key DeliveryKey, note string, now time.Time) error {
	return s.markStored(key, "", note, now)
}

// MarkPresent is MarkStored for an object that the destination had already, which Counts tells: a destination that has it
// from somebody else, or does not have it, says the same.
func (s *Store) MarkPresent(key DeliveryKey, note string, now time.Time) error {
	return s.markStored(key, Present, note, now)
}

func (s *Store) markStored(key DeliveryKey, cause Cause, note string, now time.Time) error {
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
		err = change(tx, d, now, func(d *Delivery) {
			d.Tries++
			d.LastError, d.Cause, d.StoredAt, d.State, d.From, d.Due = note, cause, now.UTC(), Stored, ran(tx), ran(tx)
		})
		if cause == Present {
			err = errors.Join(err, count(tx, countPresent(d.Destination), 1))
		}
		return errors.Join(err, putJSON(tx.Bucket(bucketCounts), lastStored(d.Destination), now.Unix()))
	})
}

// MarkFailed records failed attempts, all in one transaction. Deliveries that are not pending do not change.
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
			err = change(tx, d, now, func(d *Delivery) {
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
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// GiveUp turns all pending deliveries to a destination that are at least this old, in running time, into dead letters, tried
// or not. It returns them as they were before. why is put before their last error; an empty cause keeps their cause.
func (s *Store) GiveUp(destination string, age time.Duration, cause Cause, why string, now time.Time) ([]Delivery, error) {
	return s.giveUp(bucketDue, destination, age, cause, why, now)
}

// GiveUpCommitment does the same for stored deliveries to which the destination did not commit.
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
	if err := s.view(find); err != nil || len(old) == 0 { // usually there are none, and nothing is written
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

// Replay makes a dead delivery pending again and due now. It returns ErrTransition if the delivery is not dead.
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

// Discard ends a dead delivery permanently. It returns ErrTransition if the delivery is not dead.
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
	return decode[Delivery](raw, "delivery to "+string(destination))
}

func putDelivery(tx *bolt.Tx, d *Delivery, now time.Time) error {
	d.Version, d.Updated = formatVersion, now.UTC()
	return putJSON(tx.Bucket(bucketDeliveries), d.bytes(), d)
}
