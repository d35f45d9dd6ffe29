package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// forgotten is what remains of a case: which destination has which result, so that the same study sent again is not
// delivered again. It does not identify patient, study, object or destination.
type forgotten struct {
	Version int      `json:"version"`
	Has     [][]byte `json:"has,omitempty"` // see hasDigest
}

// hasDigest is the digest that records: this destination has all objects of the result with this identity.
func hasDigest(identity, destination string) []byte {
	sum := sha256.Sum256([]byte(identity + "\x00" + destination))
	return sum[:12]
}

// removed records that the study and the results of a case were deleted from disk: it no longer counts as an earlier finding
// of its patient, and Forget deletes it after a time. The caller stores the case. A case that is received again is taken off
// the list.
func removed(tx *bolt.Tx, c *Case) error {
	if c.RemovedAt > 0 {
		return nil
	}
	c.RemovedAt = max(ran(tx), 1)
	return errors.Join(dropExam(tx, c.ID), tx.Bucket(bucketRemoved).Put(removedKey(*c), nil))
}

// removedKey sorts cases by the time of their removal.
func removedKey(c Case) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(c.RemovedAt)), c.ID...)
}

// returned takes a case off the list of cases to forget.
func returned(tx *bolt.Tx, c *Case) error {
	if c.RemovedAt == 0 {
		return nil
	}
	key := removedKey(*c)
	c.RemovedAt = 0
	return tx.Bucket(bucketRemoved).Delete(key)
}

// maxForget is the maximum number of cases deleted in one transaction.
const maxForget = 100

// Forget deletes cases whose studies were removed at least this long ago, in running time, with their deliveries, history and
// results. It returns how many. Of each it keeps the ID and a digest for each destination that has its result. A case with an
// unsettled delivery stays.
func (s *Store) Forget(after time.Duration) (n int, err error) {
	for {
		did := 0
		err := s.update(func(tx *bolt.Tx) error {
			var ids []CaseID
			cur := tx.Bucket(bucketRemoved).Cursor()
			for k, _ := cur.First(); k != nil && len(ids) < maxForget && time.Duration(binary.BigEndian.Uint64(k))+after <= ran(tx); k, _ = cur.Next() {
				ids = append(ids, CaseID(k[8:]))
			}
			for _, id := range ids {
				if err := forget(tx, id); err != nil {
					return err
				}
			}
			did = len(ids)
			return nil
		})
		if err != nil {
			return n, err
		}
		if n += did; did < maxForget {
			return n, nil
		}
	}
}

// ForgetCase removes a case whose study was removed, at once. A digest of its result stays.
func (s *Store) ForgetCase(id CaseID) error {
	return s.update(func(tx *bolt.Tx) error { return forget(tx, id) })
}

func forget(tx *bolt.Tx, id CaseID) error {
	c, err := getCase(tx, id)
	if err != nil {
		return err
	}
	if err := returned(tx, &c); err != nil {
		return err
	}
	left, has, err := known(tx, id)
	if err != nil {
		return err
	}
	all, err := listed(tx, bucketResults, []byte(id))
	if err != nil {
		return err
	}
	for _, d := range all {
		if !d.Settled() { // an operator must act; retention does not remove such a case
			return errors.Join(removed(tx, &c), putCase(tx, &c, c.Updated))
		}
	}
	for _, h := range has {
		if !slices.ContainsFunc(left.Has, func(old []byte) bool { return bytes.Equal(old, h) }) {
			left.Has = append(left.Has, h)
		}
	}
	for _, d := range all {
		err = errors.Join(err,
			unlist(tx, d),
			tx.Bucket(bucketLate).Delete(numberKey(nil, d.Number)),
			tx.Bucket(bucketDeliveries).Delete(d.bytes()))
	}
	for _, b := range [][]byte{bucketResults, bucketHistory, bucketOutcomes} {
		err = errors.Join(err, deleteBelow(tx.Bucket(b), []byte(id)))
	}
	left.Version = formatVersion
	return errors.Join(err,
		dropExam(tx, id),
		count(tx, countCases(c.Phase), -1),
		tx.Bucket(bucketNewest).Delete(timeKey(c.Created, []byte(id))),
		tx.Bucket(bucketCases).Delete([]byte(id)),
		putJSON(tx.Bucket(bucketForgotten), []byte(id), left))
}

// known returns what was kept of a case forgotten earlier, and the digests of what its destinations have of its current result.
func known(tx *bolt.Tx, id CaseID) (left forgotten, has [][]byte, err error) {
	if raw := tx.Bucket(bucketForgotten).Get([]byte(id)); raw != nil {
		if left, err = decode[forgotten](raw, "digests of forgotten case "+string(id)); err != nil {
			return left, nil, err
		}
	}
	results, err := outcomes(tx, id)
	if err != nil {
		return left, nil, err
	}
	for _, o := range results {
		lacks := map[string]bool{} // by destination: some objects are not stored there
		for _, i := range o.Instances {
			prefix := []byte(i.SOPInstanceUID + "\x00")
			err := scan(tx.Bucket(bucketDeliveries), prefix, func(v []byte) error {
				var d Delivery
				err := json.Unmarshal(v, &d)
				lacks[d.Destination] = lacks[d.Destination] || d.State != Stored && d.State != Committed
				return err
			})
			if err != nil {
				return left, nil, fmt.Errorf("deliveries of case %s: %w: %w", id, ErrDamaged, err)
			}
		}
		for destination, lack := range lacks {
			if !lack && o.Identity != "" {
				has = append(has, hasDigest(o.Identity, destination))
			}
		}
	}
	return left, has, nil
}

// unknown filters out the deliveries to destinations that already had the result with this identity before the case was
// forgotten.
func unknown(tx *bolt.Tx, id CaseID, identity string, all []Delivery) ([]Delivery, error) {
	left, _, err := known(tx, id)
	if err != nil || len(left.Has) == 0 || identity == "" {
		return all, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(d Delivery) bool {
		h := hasDigest(identity, d.Destination)
		return slices.ContainsFunc(left.Has, func(old []byte) bool { return bytes.Equal(old, h) })
	}), nil
}

// deleteBelow deletes all keys that begin with prefix.
func deleteBelow(b *bolt.Bucket, prefix []byte) error {
	var keys [][]byte
	cur := b.Cursor()
	for k, _ := cur.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = cur.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	var err error
	for _, k := range keys {
		err = errors.Join(err, b.Delete(k))
	}
	return err
}
