package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Next says what to do after a restart with a study in the spool.
type Next string

const (
	Nothing  Next = "nothing"  // its last analysis included every object
	Assemble Next = "assemble" // objects may still arrive, or arrived after the last analysis: Receive, then assembly.Resume
	Submit   Next = "submit"   // complete: submit its job; the queue ignores it if it already has it
	Damaged  Next = "damaged"  // has a result, but some of its objects were lost since: only the sender can help
)

// Resume returns what to do after a restart with a study that has this number of objects in the spool. The case is the zero
// Case if the study is unknown.
func (s *Store) Resume(studyInstanceUID string, objects int) (Next, Case, error) {
	c, err := s.Case(IDOf(studyInstanceUID))
	switch {
	case errors.Is(err, ErrNotFound):
		return Assemble, Case{}, nil
	case err != nil:
		return "", Case{}, err
	case c.Phase == Receiving || objects > c.Objects:
		return Assemble, c, nil
	case c.Phase == Queued:
		return Submit, c, nil
	case objects < c.Objects && !c.Removing:
		return Damaged, c, nil
	}
	return Nothing, c, nil
}

// Case returns one case, or ErrNotFound.
func (s *Store) Case(id CaseID) (Case, error) {
	var c Case
	err := s.view(func(tx *bolt.Tx) (err error) {
		c, err = getCase(tx, id)
		return err
	})
	return c, err
}

// Cases returns up to limit cases, the newest first.
func (s *Store) Cases(limit int) ([]Case, error) {
	var cases []Case
	err := s.view(func(tx *bolt.Tx) error {
		cur := tx.Bucket(bucketNewest).Cursor()
		for k, _ := cur.Last(); k != nil && len(cases) < limit; k, _ = cur.Prev() {
			c, err := getCase(tx, CaseID(k[8:]))
			if err != nil {
				return err
			}
			cases = append(cases, c)
		}
		return nil
	})
	return cases, err
}

// InPhase returns every case in a phase, the oldest first.
func (s *Store) InPhase(phase Phase) ([]Case, error) {
	var cases []Case
	err := s.view(func(tx *bolt.Tx) error {
		left := readCount(tx, countCases(phase))
		cur := tx.Bucket(bucketNewest).Cursor()
		for k, _ := cur.Last(); k != nil && left > 0; k, _ = cur.Prev() { // those that are not at an end are among the newest
			c, err := getCase(tx, CaseID(k[8:]))
			if err != nil {
				return err
			}
			if c.Phase == phase {
				cases = append(cases, c)
				left--
			}
		}
		slices.Reverse(cases)
		return nil
	})
	return cases, err
}

// History returns the events of a case, the oldest first.
func (s *Store) History(id CaseID) (events []Event, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		events, err = decodeAll[Event](tx.Bucket(bucketHistory), []byte(id), "history of case "+string(id))
		return err
	})
	return events, err
}

// Deliveries returns the deliveries of a case in the order they were created.
func (s *Store) Deliveries(id CaseID) ([]Delivery, error) {
	return s.deliveries(bucketResults, []byte(id))
}

// DeadLetters returns the deliveries that were given up, in the order they were created.
func (s *Store) DeadLetters() ([]Delivery, error) { return s.deliveries(bucketDead, nil) }

// Delivery returns one delivery, or ErrNotFound.
func (s *Store) Delivery(key DeliveryKey) (Delivery, error) {
	var d Delivery
	err := s.view(func(tx *bolt.Tx) (err error) {
		d, err = getDelivery(tx, key)
		return err
	})
	return d, err
}

func (s *Store) deliveries(index, prefix []byte) ([]Delivery, error) {
	var all []Delivery
	err := s.view(func(tx *bolt.Tx) (err error) {
		all, err = listed(tx, index, prefix)
		return err
	})
	return all, err
}

// listed reads the deliveries of an index whose keys begin with prefix.
func listed(tx *bolt.Tx, index, prefix []byte) (all []Delivery, err error) {
	err = scan(tx.Bucket(index), prefix, func(key []byte) error {
		d, err := readDelivery(tx, key)
		all = append(all, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// decode decodes a stored value. what names it in the error.
func decode[T any](raw []byte, what string) (v T, err error) {
	if err = json.Unmarshal(raw, &v); err != nil {
		err = fmt.Errorf("%s: %w: %w", what, ErrDamaged, err)
	}
	return v, err
}

// decodeAll decodes the values whose keys begin with prefix.
func decodeAll[T any](b *bolt.Bucket, prefix []byte, what string) (all []T, err error) {
	err = scan(b, prefix, func(raw []byte) error {
		v, err := decode[T](raw, what)
		all = append(all, v)
		return err
	})
	return all, err
}

func scan(b *bolt.Bucket, prefix []byte, each func(value []byte) error) error {
	cur := b.Cursor()
	for k, v := cur.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if err := each(v); err != nil {
			return err
		}
	}
	return nil
}

// Counts are numbers for operators. Reading them takes the same time for any number of cases.
type Counts struct {
	Cases      map[Phase]int                    `json:"cases"`
	Deliveries map[string]map[DeliveryState]int `json:"deliveries"` // by destination

	// These never fall, whatever is removed or forgotten.
	Ever       map[Phase]int    `json:"ever"`        // how often cases came to each phase
	Refusals   map[string]int   `json:"refusals"`    // refused studies by code
	LastStored map[string]int64 `json:"last_stored"` // by destination: when it last stored an object, in Unix time
	Present    map[string]int   `json:"present"`     // by destination: objects that it said to have already (0111H)
}

// Counts returns how many cases are in each phase and how many deliveries in each state.
func (s *Store) Counts() (Counts, error) {
	c := Counts{Cases: map[Phase]int{}, Deliveries: map[string]map[DeliveryState]int{}, Ever: map[Phase]int{}, Refusals: map[string]int{}, LastStored: map[string]int64{}, Present: map[string]int{}}
	for _, p := range Phases {
		c.Cases[p], c.Ever[p] = 0, 0
	}
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketCounts).ForEach(func(k, _ []byte) error {
			n := int(readCount(tx, k))
			kind, rest, _ := strings.Cut(string(k), "\x00")
			switch kind {
			case "case":
				c.Cases[Phase(rest)] = n
			case "ever":
				c.Ever[Phase(rest)] = n
			case "refusal":
				c.Refusals[rest] = n
			case "stored":
				c.LastStored[rest] = int64(n)
			case "present":
				c.Present[rest] = n
			case "delivery":
				state, destination, _ := strings.Cut(rest, "\x00")
				if c.Deliveries[destination] == nil {
					c.Deliveries[destination] = map[DeliveryState]int{}
				}
				c.Deliveries[destination][DeliveryState(state)] = n
			}
			return nil
		})
	})
	return c, err
}

func countCases(p Phase) []byte { return []byte("case\x00" + string(p)) }

func countEver(p Phase) []byte { return []byte("ever\x00" + string(p)) }

func countRefusals(code string) []byte { return []byte("refusal\x00" + code) }

func lastStored(destination string) []byte { return []byte("stored\x00" + destination) }

func countPresent(destination string) []byte { return []byte("present\x00" + destination) }

func countDeliveries(destination string, state DeliveryState) []byte {
	return []byte("delivery\x00" + string(state) + "\x00" + destination)
}

func count(tx *bolt.Tx, key []byte, by int64) error {
	return putJSON(tx.Bucket(bucketCounts), key, readCount(tx, key)+by)
}

func readCount(tx *bolt.Tx, key []byte) int64 {
	var n int64
	if raw := tx.Bucket(bucketCounts).Get(key); raw != nil && json.Unmarshal(raw, &n) != nil {
		return 0
	}
	return n
}
