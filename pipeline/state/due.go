package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Deliveries wait in classes. What was never held back for itself comes first, by priority and then the newest first:
// after a night without the archive, the patients of this morning are looked at, those of last evening were. What waits
// for another try comes behind, the longest due first, so that an object that breaks every association gets no turn
// before others had theirs; a part of each batch is kept for that class, so that it has turns at all.
const (
	classUrgent = iota
	classRoutine
	classLow
	classAgain
	classes
)

// againShare is the part of a batch that is kept for what waits for another try.
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

// Due returns up to n pending deliveries to a destination whose time has come, in the order in which to send them: by
// class, objects of one finding in the order they were created.
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

// inClass returns up to n deliveries of a class whose time has come.
func inClass(tx *bolt.Tx, destination string, class byte, now time.Duration, n int) ([]Delivery, error) {
	var due []Delivery
	prefix := append(duePrefix(destination), class)
	cur := tx.Bucket(bucketDue).Cursor()
	for k, v := cur.Seek(prefix); len(due) < n && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if dueTime(class, k[len(prefix):]) > now { // of the last class: the others were due when they were entered
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

// NextDue returns how long it is until the next pending delivery to a destination is due; ok is false when there is none.
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

// NextUncommitted returns how long it is until commitment is next to be asked for at a destination; ok is false when it
// is not.
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

// list enters a delivery into the index and the count of its state.
func list(tx *bolt.Tx, d Delivery) error {
	var err error
	if index, key := indexOf(d); index != nil {
		err = tx.Bucket(index).Put(key, d.bytes())
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), 1))
}

// unlist takes a delivery out of the index and the count of its state.
func unlist(tx *bolt.Tx, d Delivery) error {
	var err error
	if index, key := indexOf(d); index != nil {
		err = tx.Bucket(index).Delete(key)
	}
	return errors.Join(err, count(tx, countDeliveries(d.Destination, d.State), -1))
}

// indexOf is the bucket that lists what is in the state of a delivery, and its key there; nil: none does.
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

// dueKey sorts by class, then time, newest first but in the last class, then number.
func dueKey(d Delivery) []byte {
	class, t := d.class(), uint64(d.Due)
	if class != classAgain {
		t = ^t
	}
	k := binary.BigEndian.AppendUint64(append(duePrefix(d.Destination), class), t)
	return binary.BigEndian.AppendUint64(k, d.Number)
}

// dueTime reads the running time of a key behind its class.
func dueTime(class byte, k []byte) time.Duration {
	t := binary.BigEndian.Uint64(k)
	if class != classAgain {
		t = ^t
	}
	return time.Duration(t)
}
