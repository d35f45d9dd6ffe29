package state

import (
	"testing"
	"time"
)

// TestStoredElsewhere: what the other node of a pair has sent is stored here as well, and committed once it says so.
func TestStoredElsewhere(t *testing.T) {
	s := open(t, "")
	must(s.Queue(study, 5, "quiet 5s", t0))(t)
	list := []Delivery{{DeliveryKey: DeliveryKey{"1", "A"}, Commitment: true}, {DeliveryKey: DeliveryKey{"2", "A"}}, {DeliveryKey: DeliveryKey{"3", "A"}}}
	if err := s.Finish(IDOf(study), 1, Conclusion{Finding: analyzed, Deliveries: list}, t0); err != nil {
		t.Fatal(err)
	}
	elsewhere := func(uid string, committed, known bool, want DeliveryState) {
		t.Helper()
		for range 2 { // repeating changes nothing
			if got := must(s.StoredElsewhere(DeliveryKey{uid, "A"}, committed, "by the other", t0))(t); got != known {
				t.Errorf("%s: known %t", uid, got)
			}
		}
		if !known {
			return
		}
		if d := must(s.Delivery(DeliveryKey{uid, "A"}))(t); d.State != want || d.Cause != Elsewhere || d.LastError != "by the other" || d.Tries == 0 {
			t.Errorf("%s: %+v", uid, d)
		}
	}
	elsewhere("9", true, false, "")
	elsewhere("1", false, true, Stored)
	if list := must(s.Uncommitted("A", 9))(t); len(list) != 1 {
		t.Errorf("%d uncommitted", len(list))
	}
	must(0, s.AskCommitment(Transaction{UID: "9.1", Destination: "A", Instances: []string{"1"}}, time.Hour, t0))(t)
	if _, _, err := s.AnswerCommitment("9.1", nil, map[string]string{"1": "lost"}, Resend{Most: 3}, t0); err != nil {
		t.Fatal(err)
	}
	must(s.StoredElsewhere(DeliveryKey{"1", "A"}, false, "by the other", t0))(t) // told before
	if d := must(s.Delivery(DeliveryKey{"1", "A"}))(t); d.State != Pending {
		t.Errorf("an object that the destination lost is %s", d.State)
	}
	if err := s.markStored(DeliveryKey{"1", "A"}, Elsewhere, "by the other", t0); err != nil {
		t.Fatal(err)
	}
	elsewhere("1", true, true, Committed)
	if list := must(s.Uncommitted("A", 9))(t); len(list) != 0 {
		t.Errorf("%d uncommitted", len(list))
	}
	if err := s.MarkFailed([]Failure{{Key: DeliveryKey{"2", "A"}, Dead: true, Err: "no"}}, t0); err != nil {
		t.Fatal(err)
	}
	elsewhere("2", true, true, Stored) // no commitment was asked for
	if n := must(s.Withdraw(IDOf(study), "the other has more", t0))(t); n != 1 {
		t.Errorf("%d withdrawn", n)
	}
	if d := must(s.Delivery(DeliveryKey{"3", "A"}))(t); d.State != Superseded || d.LastError != "the other has more" || !d.Settled() {
		t.Errorf("%+v", d)
	}
	check(t, s)
}
