package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"ichor/pipeline/assembly"
)

// TestSenders: what is learnt of senders is there after a restart, and bounded.
func TestSenders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	seen := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ct := assembly.Sender{AETitle: "CT", Studies: 2, Late: 1, Last: seen.Add(time.Hour),
		Pauses: []assembly.Pause{{Longest: time.Second}, {Longest: 8 * time.Second, Late: true}}}
	for _, x := range []assembly.Sender{{AETitle: "CT"}, {AETitle: "OLD", Last: seen}, ct} {
		if err := s.PutSender(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	got, err := s.Senders()
	if want := []assembly.Sender{ct, {AETitle: "OLD", Last: seen}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, error %v; want %+v", got, err, want)
	}
	err = s.update(func(tx *bolt.Tx) (err error) {
		for i := range mostSenders - 2 {
			err = errors.Join(err, putJSON(tx.Bucket(bucketSenders), []byte(fmt.Sprint(i)), assembly.Sender{AETitle: fmt.Sprint(i), Last: seen.Add(2 * time.Hour)}))
		}
		return err
	})
	if err := errors.Join(err, s.PutSender(assembly.Sender{AETitle: "0+", Last: seen.Add(2 * time.Hour)})); err != nil {
		t.Fatal(err)
	}
	got, err = s.Senders()
	if err != nil || len(got) != mostSenders || !reflect.DeepEqual(got[len(got)-1], ct) {
		t.Errorf("%d senders, error %v; want %d with CT, without OLD", len(got), err, mostSenders)
	}
}
