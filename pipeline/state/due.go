package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Deliveries wait in classes. Those that have not failed themselves come first, by priority and then newest first: after a
// night without the archive, this morning's patients are more urgent than last evening's. Deliveries waiting for a retry come
// last, the longest due first, so that an object that breaks every association does not delay others. Part of each batch is
// reserved for them, so that they are sent at all.
const (
	classUrgent = iota
	classRoutine
	classLow
	classAgain
	classes
)

// againShare: one in this many objects of a batch is reserved for retries.
const againShare = 4

func (d Delivery) class() byte {
	switch {
	case d.Due > d.From:
		return classAgain
	case d.Priority > Routine:
		return classUrgent
	case d.Priority < Routine:
		return classLow
	}
	return classRoutine
}

// Due returns up to n due deliveries to a destination in sending order: by class, and the objects of one finding in the
// order they were created.
func (s *Store) Due(destination string, n int) ([]Delivery, error) {
	var due []Delivery
	now := s.running()
	err := s.view(func(tx *bolt.Tx) error {
		again, err := inClass(tx, destination, classAgain, now, n)
		if err != nil {
			return err
		}
		room := n - min(len(again), n/againShare)
		for class := byte(classUrgent); class < classAgain && len(due) < room; class++ {
			list, err := inClass(tx, destination, class, now, room-len(due))
			if err != nil {
				return err
			}
			due = append(due, list...)
		}
		due = append(due, again[:min(len(again), n-len(due))]...)
		return nil
	})
	return due, err
}

// inClass returns up to n due deliveries of a class.
func inClass(tx *bolt.Tx, destination string, class byte, now time.Duration, n int) ([]Delivery, error) {
	var due []Delivery
	prefix := append(duePrefix(destination), class)
	cur := tx.Bucket(bucketDue).Cursor()
	for k, v := cur.Seek(prefix); len(due) < n && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if dueTime(class, k[len(prefix):]) > now { // only in the last class: the others were due when added
			break
		}
		d, err := readDelivery(tx, v)
		if err != nil {
			return nil, err
		}
		due = append(due, d)
	}
	return due, nil
}

// NextDue returns the time until the next pending delivery to a destination is due; ok is false if there is none.
func (s *Store) NextDue(destination string) (wait time.Duration, ok bool, err error) {
	now := s.running()
	err = s.view(func(tx *bolt.Tx) error {
		for class := byte(0); class < classes; class++ {
			prefix := append(duePrefix(destination), class)
			if k, _ := tx.Bucket(bucketDue).Cursor().Seek(prefix); bytes.HasPrefix(k, prefix) {
				if next := max(dueTime(class, k[len(prefix):])-now, 0); !ok || next < wait {
					wait, ok = next, true
				}
			}
		}
		return nil
	})
	return wait, ok, err
}

// NextUncommitted returns the time until commitment must next be requested from a destination; ok is false if there is
// nothing to request.
func (s *Store) NextUncommitted(destination string) (wait time.Duration, ok bool, err error) {
	now := s.running()
	err = s.view(func(tx *bolt.Tx) error {
		prefix := duePrefix(destination)
		if k, _ := tx.Bucket(bucketUncommitted).Cursor().Seek(prefix); bytes.HasPrefix(k, prefix) {
			wait, ok = max(time.Duration(binary.BigEndian.Uint64(k[len(prefix):]))-now, 0), true
		}
		return nil
	})
	return wait, ok, err
}

// Oldest returns the age of the oldest pending delivery to a destination, in running time, 0 when there is none.
func (s *Store) Oldest(destination string) (age time.Duration, err error) {
	now := s.running()
	err = s.view(func(tx *bolt.Tx) error {
		prefix := duePrefix(destination)
		cur := tx.Bucket(bucketDue).Cursor()
		for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
			class := k[len(prefix)]
			from := dueTime(class, k[len(prefix)+1:])
			if class == classAgain { // only there an object is due later than its age begins
				d, err := readDelivery(tx, v)
				if err != nil {
					return err
				}
				from = d.From
			}
			age = max(age, now-from)
		}
		return nil
	})
	return age, err
}

// list adds a delivery to the index and the count of its state.
func list(tx *bolt.Tx, d Delivery) error {
	var err error
	if index, key := indexOf(d); index != nil {
		err = tx.Bucket(index).Put(key, d.bytes())
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), 1))
}

// unlist removes a delivery from the index and the count of its state.
func unlist(tx *bolt.Tx, d Delivery) error {
	var err error
	if index, key := indexOf(d); index != nil {
		err = tx.Bucket(index).Delete(key)
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), -1))
}

// indexOf returns the index bucket for the state of a delivery, and its key there; nil if the state has no index.
func indexOf(d Delivery) (bucket, key []byte) {
	switch {
	case d.State == Pending:
		return bucketDue, dueKey(d)
	case d.State == Dead:
		return bucketDead, numberKey(nil, d.Number)
	case d.State == Stored && d.Commitment:
		return bucketUncommitted, uncommittedKey(d)
	}
	return nil, nil
}

func duePrefix(destination string) []byte { return append([]byte(destination), 0) }

// dueKey sorts by class, then time (newest first, except in the last class), then number.
func dueKey(d Delivery) []byte {
	class, t := d.class(), uint64(d.Due)
	if class != classAgain {
		t = ^t
	}
	k := binary.BigEndian.AppendUint64(append(duePrefix(d.Destination), class), t)
	return binary.BigEndian.AppendUint64(k, d.Number)
}

// dueTime decodes the running time in a key, after its class.
func dueTime(class byte, k []byte) time.Duration {
	t := binary.BigEndian.Uint64(k)
	if class != classAgain {
		t = ^t
	}
	return time.Duration(t)
}
