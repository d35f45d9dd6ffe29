package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Transaction is a Storage Commitment request that we sent to a destination (PS3.4 §J.3).
type Transaction struct {
	Version     int           `json:"version"`
	UID         string        `json:"uid"`
	Destination string        `json:"destination"`
	Instances   []string      `json:"instances"`
	At          time.Time     `json:"at"`
	From        time.Duration `json:"from"` // in running time
}

// answerAge is how long, in running time, a Storage Commitment request is kept without an answer: one to a destination
// (commitment was requested again by then), and one from a peer.
const answerAge = 30 * 24 * time.Hour

// Uncommitted returns up to n stored deliveries to a destination for which to request commitment now.
func (s *Store) Uncommitted(destination string, n int) ([]Delivery, error) {
	var list []Delivery
	now := s.running()
	prefix := duePrefix(destination)
	err := s.view(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketUncommitted).Cursor()
		for k, v := cur.Seek(prefix); len(list) < n && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
			if time.Duration(binary.BigEndian.Uint64(k[len(prefix):])) > now {
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

// AskCommitment records a request that is about to be sent. Commitment of its objects is requested again after wait, unless an
// answer comes first. It also deletes requests that are too old to be answered.
func (s *Store) AskCommitment(t Transaction, wait time.Duration, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		if err := postpone(tx, t, wait, now); err != nil {
			return err
		}
		t.Version, t.At, t.From = formatVersion, now.UTC(), ran(tx)
		return errors.Join(
			expire(tx),
			await(tx, bucketTransactions, []byte(t.UID)),
			putJSON(tx.Bucket(bucketTransactions), []byte(t.UID), t))
	})
}

// await adds a request in bucket to the index of requests waiting for an answer. The index can contain requests that were
// answered or replaced; expire skips them.
func await(tx *bolt.Tx, bucket, key []byte) error {
	return tx.Bucket(bucketAwaited).Put(append(binary.BigEndian.AppendUint64(nil, uint64(ran(tx))), key...), bucket)
}

// expire deletes the requests that are too old. It reads no others.
func expire(tx *bolt.Tx) error {
	var old [][]byte
	cur := tx.Bucket(bucketAwaited).Cursor()
	for k, _ := cur.First(); k != nil && time.Duration(binary.BigEndian.Uint64(k))+answerAge < ran(tx); k, _ = cur.Next() {
		old = append(old, bytes.Clone(k))
	}
	var err error
	for _, k := range old {
		b := tx.Bucket(bytes.Clone(tx.Bucket(bucketAwaited).Get(k)))
		err = errors.Join(err, tx.Bucket(bucketAwaited).Delete(k))
		var r struct{ From time.Duration }
		if raw := b.Get(k[8:]); raw != nil && json.Unmarshal(raw, &r) == nil && r.From <= time.Duration(binary.BigEndian.Uint64(k)) {
			err = errors.Join(err, b.Delete(k[8:]))
		}
	}
	return err
}

// postpone requests commitment of the objects of a transaction again after wait.
func postpone(tx *bolt.Tx, t Transaction, wait time.Duration, now time.Time) error {
	for _, uid := range t.Instances {
		d, err := getDelivery(tx, DeliveryKey{uid, t.Destination})
		if err != nil {
			return err
		}
		if d.State != Stored || !d.Commitment {
			continue
		}
		if err := change(tx, d, now, func(d *Delivery) { d.Due = ran(tx) + wait }); err != nil {
			return err
		}
	}
	return nil
}

// Postpone requests commitment again after wait, because a request could not be sent. The number of tries of its objects does
// not change: they are stored.
func (s *Store) Postpone(t Transaction, wait time.Duration, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		return errors.Join(postpone(tx, t, wait, now), tx.Bucket(bucketTransactions).Delete([]byte(t.UID)))
	})
}

// Resend says how to treat an object that a destination did not commit to: send it again after Wait, and give it up after
// Most times.
type Resend struct {
	Wait time.Duration
	Most int
}

// AnswerCommitment records the answer to a transaction: committed objects by SOP Instance UID, failed ones with the reason. It returns
// the destination of the transaction. known is false if there is no such request, or its answer was recorded before.
func (s *Store) AnswerCommitment(uid string, committed []string, failed map[string]string, r Resend, now time.Time) (destination string, known bool, err error) {
	err = s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTransactions)
		raw := b.Get([]byte(uid))
		if raw == nil {
			return nil
		}
		t, err := decode[Transaction](raw, "storage commitment transaction")
		if err != nil {
			return err
		}
		destination, known = t.Destination, true
		asked := map[string]bool{}
		for _, instance := range t.Instances {
			asked[instance] = true
		}
		each := func(instance string, f func(*Delivery)) error {
			d, err := getDelivery(tx, DeliveryKey{instance, t.Destination})
			if errors.Is(err, ErrNotFound) || err == nil && (d.State != Stored || !asked[instance]) {
				return nil // meanwhile sent again, or committed by another answer
			}
			if err != nil {
				return err
			}
			return change(tx, d, now, f)
		}
		for _, instance := range committed {
			if err := each(instance, func(d *Delivery) { d.State, d.CommittedAt = Committed, now.UTC() }); err != nil {
				return err
			}
		}
		for instance, why := range failed {
			err := each(instance, func(d *Delivery) {
				d.Resent++
				d.State, d.Due, d.Cause, d.LastError = Pending, ran(tx)+r.Wait, Uncommitted, why
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

// WaiveCommitment ends stored deliveries to a destination for which commitment is no longer configured. If there are none, it
// writes nothing.
func (s *Store) WaiveCommitment(destination string, now time.Time) error {
	if _, waits, err := s.NextUncommitted(destination); err != nil || !waits {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		all, err := listed(tx, bucketUncommitted, duePrefix(destination))
		if err != nil {
			return err
		}
		for _, d := range all {
			if err := change(tx, d, now, func(d *Delivery) { d.Commitment = false }); err != nil {
				return err
			}
		}
		return nil
	})
}

// promise is a Storage Commitment request from a peer whose result has not been reported yet.
type promise struct {
	Version        int           `json:"version"`
	Peer           string        `json:"peer"` // AE title
	TransactionUID string        `json:"transaction_uid"`
	Request        []byte        `json:"request"` // encoded by the caller
	From           time.Duration `json:"from"`    // in running time
}

func promiseKey(peer, transactionUID string) []byte { return []byte(peer + "\x00" + transactionUID) }

// AddPromise records a peer's request, which the caller has encoded; the same transaction again replaces it. A request is
// forgotten if its peer could not be told the result for 30 days.
func (s *Store) AddPromise(peer, transactionUID string, request []byte) error {
	key := promiseKey(peer, transactionUID)
	return s.update(func(tx *bolt.Tx) error {
		return errors.Join(
			expire(tx),
			await(tx, bucketPromises, key),
			putJSON(tx.Bucket(bucketPromises), key, promise{formatVersion, peer, transactionUID, request, ran(tx)}))
	})
}

// RemovePromise deletes a request: the peer has its result or will never accept it.
func (s *Store) RemovePromise(peer, transactionUID string) error {
	return s.update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketPromises).Delete(promiseKey(peer, transactionUID))
	})
}

// Promises calls each with every request whose result has not been reported, and with its age in running time.
func (s *Store) Promises(each func(peer, transactionUID string, request []byte, age time.Duration)) error {
	var all []promise
	now := s.running()
	err := s.view(func(tx *bolt.Tx) (err error) {
		all, err = decodeAll[promise](tx.Bucket(bucketPromises), nil, "storage commitment of a peer")
		return err
	})
	for _, p := range all {
		each(p.Peer, p.TransactionUID, p.Request, now-p.From)
	}
	return err
}

func uncommittedKey(d Delivery) []byte {
	k := binary.BigEndian.AppendUint64(duePrefix(d.Destination), uint64(d.Due))
	return binary.BigEndian.AppendUint64(k, d.Number)
}
