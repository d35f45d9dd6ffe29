package state

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// check holds everything that must be true of the file between any two transactions: indexes, counts and history
// agree with the cases and deliveries, both ways.
func check(t *testing.T, s *Store) {
	t.Helper()
	err := s.db.View(func(tx *bolt.Tx) error {
		counts, ever := map[string]int64{}, map[string]int64{}
		want := map[string]map[string]string{"newest": {}, "results": {}, "due": {}, "dead": {}, "uncommitted": {}}
		each := func(bucket []byte, f func(k, v []byte)) {
			if err := tx.Bucket(bucket).ForEach(func(k, v []byte) error { f(k, v); return nil }); err != nil {
				t.Error(err)
			}
		}
		each(bucketCases, func(k, v []byte) {
			var c Case
			if err := json.Unmarshal(v, &c); err != nil || string(c.ID) != string(k) || c.ID != IDOf(c.StudyInstanceUID) || c.Version != formatVersion {
				t.Errorf("case %s: %s, error %v", k, v, err)
			}
			counts[string(countCases(c.Phase))]++
			want["newest"][string(timeKey(c.Created, k))] = ""
			last := Event{}
			err := scan(tx.Bucket(bucketHistory), k, func(v []byte) error {
				var e Event
				if err := json.Unmarshal(v, &e); err != nil {
					return err
				}
				if e.From != last.To || !e.From.mayBecome(e.To) || e.Revision < last.Revision {
					t.Errorf("case %s: %+v after %+v", k, e, last)
				}
				last = e
				ever[string(countEver(e.To))]++
				return nil
			})
			if err != nil || last.To != c.Phase || last.Revision != c.Revision {
				t.Errorf("case %+v ends in %+v, error %v", c, last, err)
			}
			if ended := c.Phase == Analyzed || c.Phase == Refused; ended && c.Finding == nil {
				t.Errorf("case %+v without a finding", c)
			}
		})
		each(bucketDeliveries, func(k, v []byte) {
			var d Delivery
			if err := json.Unmarshal(v, &d); err != nil || string(d.bytes()) != string(k) {
				t.Errorf("delivery %q: %s, error %v", k, v, err)
			}
			counts[string(countDeliveries(d.Destination, d.State))]++
			want["results"][string(numberKey([]byte(d.Case), d.Number))] = string(k)
			switch d.State {
			case Pending:
				want["due"][string(dueKey(d))] = string(k)
			case Dead:
				want["dead"][string(numberKey(nil, d.Number))] = string(k)
			case Stored, Committed:
				if d.StoredAt.IsZero() || d.State == Committed && d.CommittedAt.IsZero() {
					t.Errorf("delivery %q %s at no time", k, d.State)
				}
				if d.State == Stored && d.Commitment {
					want["uncommitted"][string(uncommittedKey(d))] = string(k)
				}
			case Replaced:
				if d.StoredAt.IsZero() {
					t.Errorf("delivery %q replaced at a destination that never had it", k)
				}
				if d.Note != "" {
					if note, err := getDelivery(tx, DeliveryKey{d.Note, d.Destination}); err != nil || !slices.Contains(note.Rejects, d.SOPInstanceUID) {
						t.Errorf("delivery %q is named by %+v, %v", k, note, err)
					}
				}
			case Superseded, Discarded:
			default:
				t.Errorf("delivery %q is %q", k, d.State)
			}
		})
		each(bucketRemoved, func(k, _ []byte) {
			if c, err := getCase(tx, CaseID(k[8:])); err != nil || string(removedKey(c)) != string(k) {
				t.Errorf("removed %q: %+v, %v", k, c, err)
			}
		})
		awaited := map[string]bool{}
		each(bucketAwaited, func(k, v []byte) { awaited[string(v)+string(k[8:])] = true })
		for _, b := range [][]byte{bucketTransactions, bucketPromises} {
			each(b, func(k, _ []byte) {
				if !awaited[string(b)+string(k)] {
					t.Errorf("%s %q would never expire", b, k)
				}
			})
		}
		for name, entries := range want {
			got := map[string]string{}
			each([]byte(name), func(k, v []byte) { got[string(k)] = string(v) })
			if !reflect.DeepEqual(got, entries) {
				t.Errorf("index %s: %q, want %q", name, got, entries)
			}
		}
		each(bucketCounts, func(k, _ []byte) {
			n := readCount(tx, k)
			switch kind, _, _ := bytes.Cut(k, []byte{0}); string(kind) {
			case "ever": // with the history that was forgotten
				if n < ever[string(k)] {
					t.Errorf("count %q is %d, and the history has %d", k, n, ever[string(k)])
				}
			case "refusal", "stored": // of nothing that must still be there
			default:
				if n != counts[string(k)] {
					t.Errorf("count %q is %d, want %d", k, n, counts[string(k)])
				}
			}
			delete(counts, string(k))
		})
		if len(counts) > 0 {
			t.Errorf("not counted: %v", counts)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// open opens a store in path, or in a new folder, that is checked at the end of the test.
func open(t *testing.T, path string) *Store {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "state.db")
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	run(s, t0)
	t.Cleanup(func() {
		if s.db.Path() != "" { // not closed by the test
			check(t, s)
			s.Close()
		}
	})
	return s
}

// run sets the running time of a store to what it is at a time of the test.
func run(s *Store, at time.Time) {
	s.base, s.elapsed = 0, func() time.Duration { return at.Sub(t0) + 100*24*time.Hour }
}

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
