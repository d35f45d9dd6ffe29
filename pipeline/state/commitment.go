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

// Transaction is a request for Storage Commitment that we made of a destination (PS3.4 §J.3).
type Transaction struct {
	Version     int       `json:"version"`
	UID         string    `json:"uid"`
	Destination string    `json:"destination"`
	Instances   []string  `json:"instances"`
	At          time.Time `json:"at"`
}

// transactionAge is how long an answer to a request may take; the objects have been asked about again by then.
const transactionAge = 30 * 24 * time.Hour

// Uncommitted returns up to n stored deliveries to a destination that commitment is to be asked for now.
func (s *Store) Uncommitted(destination string, now time.Time, n int) ([]Delivery, error) {
	var list []Delivery
	prefix := duePrefix(destination)
	err := s.view(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketUncommitted).Cursor()
		for k, v := cur.Seek(prefix); len(list) < n && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
			if binary.BigEndian.Uint64(k[len(prefix):]) > sortable(now) {
				return nil
			}
			d, err := readDelivery(tx, v)
			if err != nil {
				return err
			}
			list = append(list, d)
		}
		return nil
	})
	return list, err
}

// AskCommitment records a request that is about to be made; its objects are to be asked about again at time again,
// unless they are answered before. Requests whose answer is not awaited any more are forgotten.
func (s *Store) AskCommitment(t Transaction, again, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTransactions)
		var old [][]byte
		err := b.ForEach(func(k, v []byte) error {
			var t Transaction
			if json.Unmarshal(v, &t) != nil || now.Sub(t.At) > transactionAge {
				old = append(old, bytes.Clone(k))
			}
			return nil
		})
		for _, k := range old {
			err = errors.Join(err, b.Delete(k))
		}
		if err != nil {
			return err
		}
		if err := postpone(tx, t, again, now); err != nil {
			return err
		}
		t.Version, t.At = formatVersion, now.UTC()
		return putJSON(b, []byte(t.UID), t)
	})
}

// postpone has the objects of a transaction asked about again at another time.
func postpone(tx *bolt.Tx, t Transaction, again, now time.Time) error {
	for _, uid := range t.Instances {
		d, err := getDelivery(tx, DeliveryKey{uid, t.Destination})
		if err != nil {
			return err
		}
		if d.State != Stored || !d.Commitment {
			continue
		}
		if err := unlist(tx, d); err != nil {
			return err
		}
		d.Next = again.UTC()
		if err := errors.Join(list(tx, d), putDelivery(tx, &d, now)); err != nil {
			return err
		}
	}
	return nil
}

// Postpone has the objects of a request that could not be made asked about again at another time. Their number of
// tries does not change: they are stored.
func (s *Store) Postpone(t Transaction, again, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		return errors.Join(postpone(tx, t, again, now), tx.Bucket(bucketTransactions).Delete([]byte(t.UID)))
	})
}

// Resend says what becomes of an object that a destination has not committed to: it is sent again at Next, and after
// Most times it is dead.
type Resend struct {
	Next time.Time
	Most int
}

// Commit records the answer to a transaction: objects by SOP Instance UID, failed ones with the reason. The destination
// is that of the transaction, known is false when nobody asked, or the answer was recorded before.
func (s *Store) Commit(uid string, committed []string, failed map[string]string, r Resend, now time.Time) (destination string, known bool, err error) {
	err = s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTransactions)
		raw := b.Get([]byte(uid))
		if raw == nil {
			return nil
		}
		var t Transaction
		if err := json.Unmarshal(raw, &t); err != nil {
			return fmt.Errorf("storage commitment transaction: %w: %w", ErrDamaged, err)
		}
		destination, known = t.Destination, true
		asked := map[string]bool{}
		for _, instance := range t.Instances {
			asked[instance] = true
		}
		each := func(instance string, f func(*Delivery)) error {
			d, err := getDelivery(tx, DeliveryKey{instance, t.Destination})
			if errors.Is(err, ErrNotFound) || err == nil && (d.State != Stored || !asked[instance]) {
				return nil // sent again, or committed by another answer, meanwhile
			}
			if err == nil {
				err = unlist(tx, d)
			}
			if err != nil {
				return err
			}
			f(&d)
			return errors.Join(list(tx, d), putDelivery(tx, &d, now))
		}
		for _, instance := range committed {
			if err := each(instance, func(d *Delivery) { d.State, d.CommittedAt = Committed, now.UTC() }); err != nil {
				return err
			}
		}
		for instance, why := range failed {
			err := each(instance, func(d *Delivery) {
				d.Resent++
				d.State, d.Next, d.LastError = Pending, r.Next.UTC(), why
				if d.Resent > r.Most {
					d.State = Dead
				}
			})
			if err != nil {
				return err
			}
		}
		return b.Delete([]byte(uid))
	})
	return destination, known, err
}

// GiveUpCommitment makes stored deliveries dead letters: their destination does not say that it keeps them.
func (s *Store) GiveUpCommitment(keys []DeliveryKey, why string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		for _, key := range keys {
			d, err := getDelivery(tx, key)
			if err != nil {
				return err
			}
			if d.State != Stored {
				continue
			}
			d.LastError = why
			if err := end(tx, d, Dead, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// WaiveCommitment settles what is stored at a destination that is not to be asked for commitment any more.
func (s *Store) WaiveCommitment(destination string, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		var all []Delivery
		err := scan(tx.Bucket(bucketUncommitted), duePrefix(destination), func(key []byte) error {
			d, err := readDelivery(tx, key)
			all = append(all, d)
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range all {
			if err := unlist(tx, d); err != nil {
				return err
			}
			d.Commitment = false
			if err := errors.Join(list(tx, d), putDelivery(tx, &d, now)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Promise is a request for Storage Commitment that a peer made of us and whose result it has not been told.
type Promise struct {
	Version        int         `json:"version"`
	Peer           string      `json:"peer"` // AE title
	TransactionUID string      `json:"transaction_uid"`
	Objects        [][2]string `json:"objects"` // SOP class, SOP instance
	At             time.Time   `json:"at"`
}

func (p Promise) bytes() []byte { return []byte(p.Peer + "\x00" + p.TransactionUID) }

// AddPromise records a request; the same again replaces it.
func (s *Store) AddPromise(p Promise, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		p.Version, p.At = formatVersion, now.UTC()
		return putJSON(tx.Bucket(bucketPromises), p.bytes(), p)
	})
}

// RemovePromise ends a request: the peer has its result, or will never take it.
func (s *Store) RemovePromise(peer, transactionUID string) error {
	return s.update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketPromises).Delete(Promise{Peer: peer, TransactionUID: transactionUID}.bytes())
	})
}

// Promises returns the requests whose results are to be told.
func (s *Store) Promises() ([]Promise, error) {
	var all []Promise
	err := s.view(func(tx *bolt.Tx) error {
		return scan(tx.Bucket(bucketPromises), nil, func(v []byte) error {
			var p Promise
			if err := json.Unmarshal(v, &p); err != nil {
				return fmt.Errorf("storage commitment of a peer: %w: %w", ErrDamaged, err)
			}
			all = append(all, p)
			return nil
		})
	})
	return all, err
}

func uncommittedKey(d Delivery) []byte {
	k := binary.BigEndian.AppendUint64(duePrefix(d.Destination), sortable(d.Next))
	return binary.BigEndian.AppendUint64(k, d.Number)
}
