package state

import (
	"errors"
	"testing"
	"time"
)

// TestClaim: a study is claimed only while it stands as it was judged, and a claimed case is neither analysed nor delivered
// again, until it is received once more.
func TestClaim(t *testing.T) {
	id, key := IDOf(study), DeliveryKey{"old", "A"}
	givenUp := func(t *testing.T) (s *Store, since time.Time) {
		s = open(t, "")
		must(s.Queue(study, 5, "quiet 5s", t0))(t)
		if err := errors.Join(s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: to("A", "old")}, t0), s.MarkFailed([]Failure{{Key: key, Dead: true, Err: "no"}}, t0)); err != nil {
			t.Fatal(err)
		}
		_, standing, since, err := s.Judge(id, []string{"A"})
		if standing != GivenUp || err != nil {
			t.Fatal(standing, err)
		}
		return s, since
	}
	t.Run("replayed meanwhile", func(t *testing.T) {
		s, since := givenUp(t)
		if err := s.Replay(key, t0.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := s.Claim(id, []string{"A"}, GivenUp, since); !errors.Is(err, ErrStale) {
			t.Errorf("claimed: %v", err)
		}
	})
	t.Run("claimed", func(t *testing.T) {
		s, since := givenUp(t)
		if err := s.Claim(id, []string{"A"}, GivenUp, since); err != nil {
			t.Fatal(err)
		}
		if err := s.Replay(key, t0); !errors.Is(err, ErrTransition) {
			t.Errorf("replayed: %v", err)
		}
		if _, err := s.Requeue(id, t0); !errors.Is(err, ErrTransition) {
			t.Errorf("queued again: %v", err)
		}
		if err := s.Claim(id, []string{"A"}, GivenUp, since); err != nil {
			t.Errorf("a claim that a crash left cannot be taken up: %v", err)
		}
		if err := s.Release(id, false, t0); err != nil {
			t.Fatal(err)
		}
		if err := s.Replay(key, t0); err != nil {
			t.Errorf("after the claim: %v", err)
		}
	})
	t.Run("removed", func(t *testing.T) {
		s, since := givenUp(t)
		if err := errors.Join(s.Claim(id, []string{"A"}, GivenUp, since), s.Release(id, true, t0)); err != nil {
			t.Fatal(err)
		}
		if d := must(s.Delivery(key))(t); d.State != Discarded {
			t.Errorf("a delivery without its object is %s", d.State)
		}
	})
	t.Run("received again", func(t *testing.T) {
		s, since := givenUp(t)
		if err := s.Claim(id, []string{"A"}, GivenUp, since); err != nil {
			t.Fatal(err)
		}
		if c := must(s.Receive(study, t0))(t); c.Removing {
			t.Error("still claimed")
		}
	})
	t.Run("rejection note not made yet", func(t *testing.T) {
		s := open(t, "")
		must(s.Queue(study, 5, "quiet 5s", t0))(t)
		err := s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: to("A", "way")}, t0)
		must(s.Requeue(id, t0))(t)
		if err := errors.Join(err, s.Finish(id, 2, Conclusion{Finding: analyzed}, t0), s.MarkStored(DeliveryKey{"way", "A"}, "", t0)); err != nil {
			t.Fatal(err)
		}
		if _, standing, _, err := s.Judge(id, []string{"A"}); standing != Unfinished || err != nil {
			t.Errorf("%d, %v", standing, err)
		}
	})
}

// TestFewerObjects: objects that were acknowledged and are gone are damage. They are never taken for further objects, and
// the number of those acknowledged stays.
func TestFewerObjects(t *testing.T) {
	s, id := open(t, ""), IDOf(study)
	next := func(objects int) Next {
		t.Helper()
		n, _, err := s.Resume(study, objects)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	must(s.Queue(study, 32, "quiet 5s", t0))(t)
	if n := next(20); n != Submit {
		t.Errorf("queued: %s", n) // the job tells
	}
	if c := must(s.Stand(id, 1, "20 of 32", t0))(t); c.Phase != Failed || c.Error != "20 of 32" {
		t.Errorf("without a former result: %+v", c)
	}
	must(s.Requeue(id, t0))(t)
	if err := s.Finish(id, 2, Conclusion{Finding: analyzed}, t0); err != nil {
		t.Fatal(err)
	}
	if n := next(31); n != Damaged {
		t.Errorf("analysed: %s", n)
	}
	if n := next(33); n != Assemble {
		t.Errorf("with one more: %s", n)
	}
	must(s.Receive(study, t0))(t)
	if c := must(s.Queue(study, 25, "quiet 5s", t0))(t); c.Objects != 32 {
		t.Errorf("%d objects were acknowledged", c.Objects)
	}
	if c := must(s.Stand(id, 3, "25 of 32", t0))(t); c.Phase != Analyzed || c.Finding == nil {
		t.Errorf("with a former result: %+v", c)
	}
}
