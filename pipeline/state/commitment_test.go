package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// storedWith finishes a case whose objects a destination has taken and is to commit to.
func storedWith(t *testing.T, s *Store, uids ...string) {
	t.Helper()
	must(s.Queue(study, 5, "quiet 5s", t0))(t)
	var list []Delivery
	for _, uid := range uids {
		list = append(list, Delivery{DeliveryKey: DeliveryKey{uid, "A"}, Commitment: true})
	}
	if err := s.Finish(IDOf(study), 1, Conclusion{Finding: analyzed, Deliveries: list}, t0); err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		if err := s.MarkStored(DeliveryKey{uid, "A"}, "", t0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommitment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	storedWith(t, s, "1", "2", "3")
	uncommitted := func(after time.Duration) (list []string) {
		run(s, t0.Add(after))
		for _, d := range must(s.Uncommitted("A", 9))(t) {
			list = append(list, d.SOPInstanceUID)
		}
		return list
	}
	if got := uncommitted(0); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("to be asked for: %v", got)
	}
	if wait, ok, err := s.NextUncommitted("A"); !ok || wait != 0 || err != nil {
		t.Errorf("next due %v %v %v", wait, ok, err)
	}
	ask := Transaction{UID: "1.2.9", Destination: "A", Instances: []string{"1", "2", "3"}}
	if err := s.AskCommitment(ask, time.Hour, t0); err != nil {
		t.Fatal(err)
	}
	if got := uncommitted(time.Minute); got != nil {
		t.Errorf("asked for already: %v", got)
	}
	if got := uncommitted(time.Hour); len(got) != 3 {
		t.Errorf("not answered, to be asked for again: %v", got)
	}
	s.Close()
	s = open(t, path)

	answer := func(uid string, committed []string, failed map[string]string) bool {
		dest, known, err := s.AnswerCommitment(uid, committed, failed, Resend{Wait: time.Hour, Most: 1}, t0.Add(time.Minute))
		if err != nil || known && dest != "A" {
			t.Fatalf("%q %v %v", dest, known, err)
		}
		return known
	}
	if answer("1.2.8", []string{"1"}, nil) {
		t.Error("answer to what nobody asked")
	}
	if !answer("1.2.9", []string{"1", "not ours"}, map[string]string{"2": "0112H", "elsewhere": "0112H"}) || answer("1.2.9", []string{"1"}, nil) {
		t.Error("an answer counts once")
	}
	states := func() (list []DeliveryState) {
		for _, d := range must(s.Deliveries(IDOf(study)))(t) {
			list = append(list, d.State)
		}
		return list
	}
	if got := states(); !slices.Equal(got, []DeliveryState{Committed, Pending, Stored}) {
		t.Errorf("after the answer: %v", got)
	}
	run(s, t0.Add(2*time.Hour))
	if due := must(s.Due("A", 9))(t); len(due) != 1 || due[0].LastError != "0112H" || due[0].Cause != Uncommitted || due[0].Resent != 1 {
		t.Errorf("to be sent again: %+v", due)
	}
	// The second time it is given up; what is not answered for is given up by its age.
	if err := s.MarkStored(DeliveryKey{"2", "A"}, "", t0.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	ask = Transaction{UID: "1.2.10", Destination: "A", Instances: []string{"2"}}
	if err := s.AskCommitment(ask, time.Hour, t0.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	answer("1.2.10", nil, map[string]string{"2": "0112H again"})
	for age, want := range map[time.Duration]int{3 * time.Hour: 0, 2 * time.Hour: 1} {
		if old := must(s.GiveUpCommitment("A", age, "no answer", t0))(t); len(old) != want {
			t.Errorf("%d are older than %v, want %d", len(old), age, want)
		}
	}
	if d := must(s.Delivery(DeliveryKey{"3", "A"}))(t); d.Cause != Uncommitted || d.LastError != "no answer" {
		t.Errorf("%+v", d)
	}
	if got := states(); !slices.Equal(got, []DeliveryState{Committed, Dead, Dead}) {
		t.Errorf("at the end: %v", got)
	}
	if err := s.Replay(DeliveryKey{"2", "A"}, t0); err != nil {
		t.Error(err)
	}
	if err := s.Discard(DeliveryKey{"3", "A"}, t0); err != nil {
		t.Error(err)
	}
	if err := s.Discard(DeliveryKey{"1", "A"}, t0); !errors.Is(err, ErrTransition) {
		t.Errorf("a committed one discarded: %v", err)
	}
	check(t, s)
}

func TestWaiveCommitment(t *testing.T) {
	s := open(t, "")
	storedWith(t, s, "1", "2")
	for _, destination := range []string{"AB", "A"} {
		if err := s.WaiveCommitment(destination, t0); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range must(s.Deliveries(IDOf(study)))(t) {
		if d.State != Stored || !d.Settled() {
			t.Errorf("%+v", d)
		}
	}
	if _, ok, err := s.NextUncommitted("A"); ok || err != nil {
		t.Errorf("still to be asked for: %v %v", ok, err)
	}
}

func TestPostpone(t *testing.T) {
	s := open(t, "")
	storedWith(t, s, "1")
	ask := Transaction{UID: "1.2.9", Destination: "A", Instances: []string{"1"}}
	if err := s.AskCommitment(ask, time.Hour, t0); err != nil {
		t.Fatal(err)
	}
	if err := s.Postpone(ask, time.Minute, t0); err != nil {
		t.Fatal(err)
	}
	run(s, t0.Add(time.Minute))
	if list := must(s.Uncommitted("A", 9))(t); len(list) != 1 {
		t.Errorf("to be asked for: %+v", list)
	}
	if _, known, err := s.AnswerCommitment("1.2.9", []string{"1"}, nil, Resend{}, t0); known || err != nil {
		t.Errorf("known %v, error %v", known, err)
	}
	// Long afterwards a request is forgotten.
	if err := s.AskCommitment(ask, 0, t0); err != nil {
		t.Fatal(err)
	}
	run(s, t0.Add(answerAge+time.Hour))
	if err := s.AskCommitment(Transaction{UID: "1.2.10", Destination: "A", Instances: []string{"1"}}, 0, t0); err != nil {
		t.Fatal(err)
	}
	if _, known, err := s.AnswerCommitment("1.2.9", []string{"1"}, nil, Resend{}, t0); known || err != nil {
		t.Errorf("known %v, error %v", known, err)
	}
}

// promised lists the requests of peers as "peer request age".
func promised(t *testing.T, s *Store) (list []string) {
	t.Helper()
	if err := s.Promises(func(peer, uid string, request []byte, age time.Duration) {
		list = append(list, fmt.Sprintf("%s %s %s %v", peer, uid, request, age.Round(time.Hour)))
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPromises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	add := func(peer string) {
		t.Helper()
		if err := s.AddPromise(peer, "1.2.9", []byte("of "+peer)); err != nil {
			t.Fatal(err)
		}
	}
	for _, peer := range []string{"CT2", "CT2", "CT1"} {
		add(peer)
	}
	s.Close()
	s = open(t, path)
	if all := promised(t, s); !slices.Equal(all, []string{"CT1 1.2.9 of CT1 0s", "CT2 1.2.9 of CT2 0s"}) {
		t.Errorf("%q", all)
	}
	if err := s.RemovePromise("CT1", "1.2.9"); err != nil {
		t.Error(err)
	}
	run(s, t0.Add(5*time.Hour))
	if all := promised(t, s); !slices.Equal(all, []string{"CT2 1.2.9 of CT2 5h0m0s"}) {
		t.Errorf("%q", all)
	}
	// What a peer asked for twice is as old as the second request; what nobody takes is forgotten.
	for _, c := range []struct {
		peer  string
		after time.Duration
		want  int
	}{{"CT3", 0, 2}, {"CT3", answerAge - time.Hour, 2}, {"CT4", answerAge + time.Hour, 2}, {"CT4", 2 * answerAge, 1}} {
		run(s, t0.Add(c.after))
		add(c.peer)
		if all := promised(t, s); len(all) != c.want {
			t.Errorf("after %v: %q", c.after, all)
		}
	}
}

func TestPriority(t *testing.T) {
	s := open(t, "")
	add := func(n int, p Priority) {
		uid := fmt.Sprint("1.2.", n)
		at := t0.Add(time.Duration(n) * time.Minute)
		run(s, at)
		must(s.Queue(uid, 5, "quiet 5s", at))(t)
		list := []Delivery{{DeliveryKey: DeliveryKey{uid + ".SEG", "A"}, Priority: p}, {DeliveryKey: DeliveryKey{uid + ".SR", "A"}, Priority: p}}
		if err := s.Finish(IDOf(uid), 1, Conclusion{Finding: analyzed, Deliveries: list}, at); err != nil {
			t.Fatal(err)
		}
	}
	add(1, Low)
	add(2, Urgent)
	add(3, Routine)
	add(4, Urgent)
	add(5, Routine)
	err := s.MarkFailed([]Failure{{Key: DeliveryKey{"1.2.4.SR", "A"}, Wait: 10 * time.Minute, Err: "broke off"}}, t0.Add(5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	order := func(n int) (list []string) {
		run(s, t0.Add(time.Hour))
		for _, d := range must(s.Due("A", n))(t) {
			list = append(list, d.SOPInstanceUID)
		}
		return list
	}
	want := []string{"1.2.4.SEG", "1.2.2.SEG", "1.2.2.SR", "1.2.5.SEG", "1.2.5.SR", "1.2.3.SEG", "1.2.3.SR", "1.2.1.SEG", "1.2.1.SR", "1.2.4.SR"}
	if got := order(99); !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	// A part of a batch is for what failed before, or it would wait for ever on a busy day.
	if got := order(4); !slices.Equal(got, []string{"1.2.4.SEG", "1.2.2.SEG", "1.2.2.SR", "1.2.4.SR"}) {
		t.Errorf("batch of 4: %v", got)
	}
	if got := order(1); !slices.Equal(got, []string{"1.2.4.SEG"}) {
		t.Errorf("batch of 1: %v", got)
	}
}
