package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Standing says whether the study of a case may be removed.
type Standing int

const (
	Unfinished Standing = iota // still needed
	Finished                   // analysed, and every result is at its destination
	GivenUp                    // its analysis failed, a result is a dead letter, or its destination was removed
)

// Judge returns the standing of a case, and since when it has it. destinations are the configured ones: a delivery to any
// other can never succeed.
func (s *Store) Judge(id CaseID, destinations []string) (c Case, standing Standing, since time.Time, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c, standing, since, err = judge(tx, id, destinations)
		return err
	})
	return c, standing, since, err
}

func judge(tx *bolt.Tx, id CaseID, destinations []string) (Case, Standing, time.Time, error) {
	c, err := getCase(tx, id)
	if err != nil {
		return c, Unfinished, time.Time{}, err
	}
	standing, since := Finished, c.Updated
	switch c.Phase {
	case Analyzed, Refused:
	case Failed:
		standing = GivenUp
	default:
		return c, Unfinished, since, nil
	}
	late := map[string]bool{} // keys of objects that still need a rejection note
	err = scan(tx.Bucket(bucketLate), nil, func(key []byte) error {
		late[string(key)] = true
		return nil
	})
	if err != nil {
		return c, Unfinished, since, err
	}
	waits := false
	err = scan(tx.Bucket(bucketResults), []byte(id), func(key []byte) error {
		d, err := readDelivery(tx, key)
		if err != nil {
			return err
		}
		if d.Updated.After(since) {
			since = d.Updated
		}
		switch {
		case late[string(key)]:
			waits = true
		case d.Settled():
		case d.State == Dead || !slices.Contains(destinations, d.Destination):
			standing = GivenUp
		default:
			waits = true
		}
		return nil
	})
	if waits && !c.Removing {
		standing = Unfinished
	}
	return c, standing, since, err
}

// Claim marks a case whose study is about to be removed. If its standing has changed since it was judged, it returns ErrStale.
// Requeue and Replay refuse a claimed case. A claim ends with Release, or when the study is received again. After a crash, a
// claimed case can be claimed again.
func (s *Store) Claim(id CaseID, destinations []string, judged Standing, since time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, standing, at, err := judge(tx, id, destinations)
		if err != nil {
			return err
		}
		if standing == Unfinished || standing != judged || !at.Equal(since) {
			return fmt.Errorf("removal of case %s: %w", id, ErrStale)
		}
		c.Removing = true
		return putCase(tx, &c, c.Updated)
	})
}

// Release ends a claim. gone: the study and its results were removed. Release then deletes the record of the patient and
// discards open deliveries; later Forget deletes the case.
func (s *Store) Release(id CaseID, gone bool, now time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		c, err := getCase(tx, id)
		if err != nil || !c.Removing {
			return err
		}
		c.Removing = false
		if gone {
			var all []Delivery
			all, err = listed(tx, bucketResults, []byte(id))
			for _, d := range all {
				if d.Settled() || d.State == Stored { // a stored one is waiting for commitment
					continue
				}
				d.LastError = strings.TrimSuffix("its study was removed by retention: "+d.LastError, ": ")
				err = errors.Join(err, end(tx, d, Discarded, now))
			}
			err = errors.Join(err, removed(tx, &c))
		}
		return errors.Join(err, putCase(tx, &c, c.Updated))
	})
}

func removingError(id CaseID) error {
	return fmt.Errorf("case %s is being removed by retention; send the study again: %w", id, ErrTransition)
}
