package state

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

const day = 24 * time.Hour

// remove does to a case what retention does.
func remove(t *testing.T, s *Store, id CaseID) {
	t.Helper()
	_, standing, since, err := s.Judge(id, []string{"A", "B"})
	if err == nil {
		err = s.Claim(id, []string{"A", "B"}, standing, since)
	}
	if err == nil {
		err = s.Release(id, true, t0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestForget deletes what was removed long enough ago, and a study that is sent again afterwards stays quiet at the
// destinations that have its result.
func TestForget(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	result := func(uid, identity string, destinations ...string) Conclusion {
		return Conclusion{Finding: analyzed, Identity: identity, Deliveries: results(uid, destinations...)}
	}
	bring := func(uid string, revision int, r Conclusion) {
		t.Helper()
		must(s.Queue(uid, 5+revision, "quiet 5s", t0))(t)
		if err := s.Finish(IDOf(uid), revision, r, t0); err != nil {
			t.Fatal(err)
		}
	}
	store := func(uid, destination string) {
		t.Helper()
		for _, kind := range []string{"SEG", "SC", "SR"} {
			if err := s.MarkStored(DeliveryKey{uid + "." + kind, destination}, "", t0); err != nil {
				t.Fatal(err)
			}
		}
	}
	ids := func() (list []string) {
		for _, c := range must(s.Cases(99))(t) {
			list = append(list, c.StudyInstanceUID)
		}
		slices.Sort(list)
		return list
	}
	for _, uid := range []string{"1.1", "1.2", "1.3", "1.4"} {
		bring(uid, 1, result(uid, "result of "+uid, "A"))
		store(uid, "A")
	}
	waits := result("1.5", "result of 1.5", "gone") // stored, and to be committed to by a destination that is no more
	for i := range waits.Deliveries {
		waits.Deliveries[i].Commitment = true
	}
	bring("1.5", 1, waits)
	store("1.5", "gone")
	for i, uid := range []string{"1.1", "1.2", "1.3", "1.5"} {
		run(s, t0.Add(time.Duration(i)*day))
		remove(t, s, IDOf(uid))
	}
	must(s.Receive("1.2", t0))(t) // comes back before its time is over
	run(s, t0.Add(9*day))
	if n := must(s.Forget(10 * day))(t); n != 0 {
		t.Errorf("%d forgotten too early", n)
	}
	run(s, t0.Add(13*day))
	must(s.Forget(10 * day))(t)
	check(t, s)
	if got, want := ids(), []string{"1.2", "1.4", "1.5"}; !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if _, err := s.Case(IDOf("1.1")); !errors.Is(err, ErrNotFound) {
		t.Errorf("case: %v", err)
	}
	if d := must(s.Deliveries(IDOf("1.1")))(t); len(d) != 0 {
		t.Errorf("deliveries: %+v", d)
	}
	if c := must(s.Counts())(t); c.Deliveries["A"][Stored] != 6 {
		t.Errorf("counts %+v", c)
	}
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketForgotten).ForEach(func(k, v []byte) error {
			if len(k) != 16 || len(v) > 60 {
				return fmt.Errorf("kept of %s: %s", k, v)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	// Sent again: the destination that has this result is left in peace, another is not, nor is one with another result.
	bring("1.1", 1, result("1.1", "result of 1.1", "A", "B"))
	bring("1.3", 1, result("1.3", "another result", "A"))
	for uid, want := range map[string]int{"1.1": 3, "1.3": 3} {
		d := must(s.Deliveries(IDOf(uid)))(t)
		if len(d) != want || uid == "1.1" && d[0].Destination != "B" {
			t.Errorf("%s: %+v", uid, d)
		}
	}
	// Forgotten again, it is as quiet.
	store("1.1", "B")
	remove(t, s, IDOf("1.1"))
	run(s, t0.Add(30*day))
	must(s.Forget(10 * day))(t)
	bring("1.1", 1, result("1.1", "result of 1.1", "A", "B"))
	if d := must(s.Deliveries(IDOf("1.1")))(t); len(d) != 0 {
		t.Errorf("sent again: %+v", d)
	}
}

// TestForgetMany takes more than one transaction.
func TestForgetMany(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	s.db.NoSync = true
	for n := range maxForget + 20 {
		id := finished(t, s, fmt.Sprint("1.2.", n), t0)
		remove(t, s, id)
	}
	if n := must(s.Forget(0))(t); n != maxForget+20 {
		t.Errorf("%d forgotten", n)
	}
}

// TestGiveUp: age alone makes a dead letter, tried or not.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	finished(t, s, "1.1", t0, "A", "B")
	finished(t, s, "1.2", t0.Add(day), "A")
	err := s.MarkFailed([]Failure{{Key: DeliveryKey{"1.1.SEG", "A"}, Wait: 5 * day, Cause: Busy, Err: "no room"}}, t0)
	if err != nil {
		t.Fatal(err)
	}
	run(s, t0.Add(2*day))
	old := must(s.GiveUp("A", 2*day, "", "not delivered in 2 days", t0))(t)
	if len(old) != 3 || old[0].State != Pending {
		t.Errorf("given up: %+v", old)
	}
	want := map[string]string{"1.1.SEG": "not delivered in 2 days: no room (busy)", "1.1.SC": "not delivered in 2 days (unreachable)", "1.1.SR": "not delivered in 2 days (unreachable)"}
	for _, d := range must(s.DeadLetters())(t) {
		if got := fmt.Sprintf("%s (%s)", d.LastError, d.Cause); got != want[d.SOPInstanceUID] || d.Destination != "A" {
			t.Errorf("%s at %s: %s", d.SOPInstanceUID, d.Destination, got)
		}
		delete(want, d.SOPInstanceUID)
	}
	if len(want) > 0 {
		t.Errorf("not given up: %v", want)
	}
	// Replayed, it has all its time again.
	if err := s.Replay(DeliveryKey{"1.1.SEG", "A"}, t0); err != nil {
		t.Fatal(err)
	}
	if old := must(s.GiveUp("A", 2*day, "", "", t0))(t); len(old) != 0 {
		t.Errorf("given up at once: %+v", old)
	}
	if old := must(s.GiveUp("B", 0, Unconfigured, "gone", t0))(t); len(old) != 3 {
		t.Errorf("%+v", old)
	}
	if d := must(s.Delivery(DeliveryKey{"1.1.SEG", "B"}))(t); d.Cause != Unconfigured || d.LastError != "gone" || d.State != Dead {
		t.Errorf("%+v", d)
	}
}

// TestTries: an analysis ends after its failures, or when it never ends; what is no fault of the study does not count.
func TestTries(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	s.db.NoSync = true
	id := must(s.Queue(study, 5, "quiet 5s", t0))(t).ID
	for n := range 2 * maxBegun {
		must(s.Begin(id, 1, t0))(t)
		if err := s.TryPutOff(id, 1, "no space left on device", t0); err != nil {
			t.Fatalf("put off %d times: %v", n, err)
		}
	}
	for n, want := range []Phase{Queued, Queued, Failed} {
		must(s.Begin(id, 1, t0))(t)
		if c := must(s.TryFailed(id, 1, "boom", 3, t0))(t); c.Phase != want || c.Tries != n+1 || c.Error != "boom" {
			t.Errorf("failure %d: %+v", n+1, c)
		}
	}
	if _, err := s.TryFailed(id, 1, "boom", 3, t0); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if err := s.Dismiss(id, 2, t0); !errors.Is(err, ErrTransition) {
		t.Error(err)
	}
	if err := s.Dismiss(id, 1, t0); err != nil || !must(s.Case(id))(t).Dismissed {
		t.Error(err)
	}
	if c := must(s.Requeue(id, t0))(t); c.Dismissed || c.Tries != 0 || c.Begun != 0 {
		t.Errorf("%+v", c)
	}
	for range maxBegun {
		must(s.Begin(id, 2, t0))(t)
	}
	if _, err := s.Begin(id, 2, t0); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	if c := must(s.Case(id))(t); c.Phase != Failed || c.Begun != maxBegun {
		t.Errorf("%+v", c)
	}
}

// TestFileWrittenAnew: what is known of the file of a delivery follows the file.
func TestFileWrittenAnew(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	id := finished(t, s, study, t0, "A")
	err := s.MarkFailed([]Failure{{Key: DeliveryKey{study + ".SEG", "A"}, Dead: true, Cause: FileLost}}, t0)
	if err != nil {
		t.Fatal(err)
	}
	must(s.Requeue(id, t0))(t)
	list := results(study, "A")
	list[0].Size, list[0].SHA256 = 12, []byte{1, 2}
	if err := s.Finish(id, 2, Conclusion{Finding: analyzed, Deliveries: list}, t0); err != nil {
		t.Fatal(err)
	}
	if d := must(s.Delivery(list[0].DeliveryKey))(t); d.Size != 12 || len(d.SHA256) != 2 || d.State != Dead {
		t.Errorf("%+v", d)
	}
}
