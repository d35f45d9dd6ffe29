package state

import (
	"encoding/json"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/assembly"
)

// mostSenders bounds the stored senders.
const mostSenders = 1000

// PutSender stores what assembly has learnt of a sender. Beyond 1,000 senders, it removes the one not seen for the longest time.
func (s *Store) PutSender(x assembly.Sender) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSenders)
		if b.Get([]byte(x.AETitle)) == nil && b.Stats().KeyN >= mostSenders {
			all, err := senders(tx)
			if err != nil {
				return err
			}
			oldest := slices.MinFunc(all, func(x, y assembly.Sender) int { return x.Last.Compare(y.Last) })
			if err := b.Delete([]byte(oldest.AETitle)); err != nil {
				return err
			}
		}
		return putJSON(b, []byte(x.AETitle), x)
	})
}

// Senders returns what assembly has learnt of each sender.
func (s *Store) Senders() (list []assembly.Sender, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		list, err = senders(tx)
		return err
	})
	return list, err
}

func senders(tx *bolt.Tx) (list []assembly.Sender, err error) {
	err = tx.Bucket(bucketSenders).ForEach(func(title, raw []byte) error {
		var x assembly.Sender
		if err := json.Unmarshal(raw, &x); err != nil {
			return fmt.Errorf("sender %q: %w: %w", title, ErrDamaged, err)
		}
		list = append(list, x)
		return nil
	})
	return list, err
}
