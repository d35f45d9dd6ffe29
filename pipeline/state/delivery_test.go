package state

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

func results(uid string, destinations ...string) []Delivery {
	var list []Delivery
	for _, dest := range destinations {
		for _, kind := range []string{"SEG", "SC", "SR"} {
			list = append(list, Delivery{DeliveryKey: DeliveryKey{uid + "." + kind, dest}, Kind: kind, SOPClassUID: "1.2", Path: "/x", Size: 9})
		}
	}
	return list
}

// finished makes an analysed case with deliveries.
func finished(t *testing.T, s *Store, uid string, at time.Time, destinations ...string) CaseID {
	t.Helper()
	run(s, at)
	must(s.Queue(uid, 5, "quiet 5s", at))(t)
	id := IDOf(uid)
	if err := s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: results(uid, destinations...)}, at); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFinishIsIdempotent(t *testing.T) {
	s := open(t, "")
	id := finished(t, s, study, t0, "A", "B")
	key := DeliveryKey{study + ".SC", "A"}
	if err := s.MarkStored(key, "", t0); err != nil {
		t.Fatal(err)
	}
	before := must(s.Deliveries(id))(t)
	if err := s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: results(study, "A", "B")}, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	must(s.Requeue(id, t0))(t)
	if err := s.Finish(id, 2, Conclusion{Finding: analyzed, Deliveries: results(study, "A", "B")}, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after := must(s.Deliveries(id))(t); !reflect.DeepEqual(before, after) {
		t.Errorf("deliveries changed:\n%+v\n%+v", before, after)
	}
	must(s.Requeue(id, t0))(t)
	if err := s.Finish(id, 3, Conclusion{Finding: analyzed, Deliveries: results(study, "A", "B", "C")}, t0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after := must(s.Deliveries(id))(t); len(after) != 9 || !reflect.DeepEqual(before, after[:6]) {
		t.Errorf("with a further destination:\n%+v", after)
	}
}

func TestFinishIsAllOrNothing(t *testing.T) {
	s := open(t, "")
	must(s.Queue(study, 5, "quiet 5s", t0))(t)
	bad := append(results(study, "A"), Delivery{DeliveryKey: DeliveryKey{"", "A"}})
	if err := s.Finish(IDOf(study), 1, Conclusion{Finding: analyzed, Deliveries: bad}, t0); err == nil {
		t.Error("delivery without UID accepted")
	}
	if c := must(s.Case(IDOf(study)))(t); c.Phase != Queued || c.Finding != nil || len(must(s.Deliveries(c.ID))(t)) != 0 {
		t.Errorf("half finished: %+v", c)
	}
}

func TestDueIsInOrder(t *testing.T) {
	s := open(t, "")
	finished(t, s, "1.2.1", t0, "A", "AB")
	finished(t, s, "1.2.2", t0.Add(time.Minute), "AB", "A")
	order := func(destination string, now time.Time, n int) (list []string) {
		t.Helper()
		run(s, now)
		for _, d := range must(s.Due(destination, n))(t) {
			if d.Destination != destination || d.State != Pending {
				t.Errorf("due for %s: %+v", destination, d)
			}
			list = append(list, d.SOPInstanceUID)
		}
		return list
	}
	for _, tt := range []struct {
		destination string
		after       time.Duration
		n           int
		want        []string
	}{
		{"A", time.Minute, 9, []string{"1.2.2.SEG", "1.2.2.SC", "1.2.2.SR", "1.2.1.SEG", "1.2.1.SC", "1.2.1.SR"}},
		{"A", time.Minute, 2, []string{"1.2.2.SEG", "1.2.2.SC"}},
		{"AB", time.Hour, 9, []string{"1.2.2.SEG", "1.2.2.SC", "1.2.2.SR", "1.2.1.SEG", "1.2.1.SC", "1.2.1.SR"}},
		{"B", time.Hour, 9, nil},
		{"", time.Hour, 9, nil},
	} {
		if got := order(tt.destination, t0.Add(tt.after), tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("%s after %v: %v, want %v", tt.destination, tt.after, got, tt.want)
		}
	}
	if wait, ok, err := s.NextDue("AB"); wait != 0 || !ok || err != nil {
		t.Errorf("next due %v %v %v", wait, ok, err)
	}
	if _, ok, err := s.NextDue("B"); ok || err != nil {
		t.Errorf("next due for nobody: %v %v", ok, err)
	}
	err := s.MarkFailed([]Failure{{Key: DeliveryKey{"1.2.1.SEG", "A"}, Wait: 2 * time.Minute, Err: "busy"}}, t0)
	if err != nil {
		t.Fatal(err)
	}
	if got := order("A", t0.Add(time.Hour+time.Minute), 9); slices.Contains(got, "1.2.1.SEG") {
		t.Errorf("due before its wait is over: %v", got)
	}
	if got, want := order("A", t0.Add(time.Hour+2*time.Minute), 9), []string{"1.2.2.SEG", "1.2.2.SC", "1.2.2.SR", "1.2.1.SC", "1.2.1.SR", "1.2.1.SEG"}; !slices.Equal(got, want) {
		t.Errorf("after a failure %v, want %v", got, want)
	}
}

// TestDeliveryTransitions does every operation in every state.
func TestDeliveryTransitions(t *testing.T) {
	key := DeliveryKey{study + ".SEG", "A"}
	fail := func(dead, refused bool) func(*Store) error {
		return func(s *Store) error {
			return s.MarkFailed([]Failure{{Key: key, Wait: time.Minute, Err: "no", Dead: dead, Refused: refused}}, t0)
		}
	}
	store := func(s *Store) error { return s.MarkStored(key, "", t0) }
	replay := func(s *Store) error { return s.Replay(key, t0.Add(time.Hour)) }
	for _, tt := range []struct {
		name           string
		before         func(*Store) error // brings it into its state
		do             func(*Store) error
		state          DeliveryState
		tries, refused int
		err            error
	}{
		{"pending stored", nil, store, Stored, 1, 0, nil},
		{"pending failed", nil, fail(false, false), Pending, 1, 0, nil},
		{"pending refused", nil, fail(false, true), Pending, 1, 1, nil},
		{"pending dead", nil, fail(true, true), Dead, 1, 1, nil},
		{"pending replayed", nil, replay, Pending, 0, 0, ErrTransition},
		{"stored stored", store, store, Stored, 1, 0, nil},
		{"stored failed", store, fail(false, false), Stored, 1, 0, nil},
		{"stored dead", store, fail(true, false), Stored, 1, 0, nil},
		{"stored replayed", store, replay, Stored, 1, 0, ErrTransition},
		{"dead stored", fail(true, true), store, Stored, 2, 1, nil},
		{"dead failed", fail(true, true), fail(false, true), Dead, 1, 1, nil},
		{"dead replayed", fail(true, true), replay, Pending, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, "")
			finished(t, s, study, t0, "A")
			if tt.before != nil {
				if err := tt.before(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.do(s); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			d := must(s.Delivery(key))(t)
			if d.State != tt.state || d.Tries != tt.tries || d.Refused != tt.refused {
				t.Errorf("%+v", d)
			}
			if dead := must(s.DeadLetters())(t); (len(dead) == 1) != (tt.state == Dead) {
				t.Errorf("%d dead letters", len(dead))
			}
			counts := must(s.Counts())(t).Deliveries["A"]
			if counts[Pending]+counts[Stored]+counts[Dead] != 3 || counts[tt.state] == 0 {
				t.Errorf("counts %+v", counts)
			}
		})
	}
	s := open(t, "")
	for name, do := range map[string]func(*Store) error{"stored": store, "failed": fail(true, true), "replayed": replay} {
		if err := do(s); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
}

func TestMarkFailedIsAllOrNothing(t *testing.T) {
	s := open(t, "")
	finished(t, s, study, t0, "A")
	err := s.MarkFailed([]Failure{{Key: DeliveryKey{study + ".SEG", "A"}, Err: "no"}, {Key: DeliveryKey{"1.9", "A"}, Err: "no"}}, t0)
	if !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if d := must(s.Delivery(DeliveryKey{study + ".SEG", "A"}))(t); d.Tries != 0 || d.LastError != "" {
		t.Errorf("%+v", d)
	}
}

// TestReopened closes and opens the file between any two steps.
func TestReopened(t *testing.T) {
	path := t.TempDir() + "/state.db"
	step := func(do func(s *Store) error) {
		t.Helper()
		s := open(t, path)
		defer s.Close()
		if err := do(s); err != nil {
			t.Fatal(err)
		}
		check(t, s)
	}
	id := IDOf(study)
	step(func(s *Store) error { _, err := s.Receive(study, t0); return err })
	step(func(s *Store) error { _, err := s.Queue(study, 5, "limit 10m", t0); return err })
	step(func(s *Store) error { _, err := s.Begin(id, 1, t0); return err })
	step(func(s *Store) error {
		return s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: results(study, "A")}, t0)
	})
	for n := range 3 {
		step(func(s *Store) error {
			due, err := s.Due("A", 1)
			if err != nil || len(due) != 1 {
				return fmt.Errorf("step %d: %d due, %w", n, len(due), err)
			}
			return s.MarkStored(due[0].DeliveryKey, "", t0)
		})
	}
	step(func(s *Store) error {
		run(s, t0.Add(time.Hour))
		if due := must(s.Due("A", 9))(t); len(due) != 0 {
			return fmt.Errorf("still due: %+v", due)
		}
		next, c, err := s.Resume(study, 5)
		if next != Nothing || c.Begun != 1 || c.Complete != "limit 10m" {
			return fmt.Errorf("%s %+v", next, c)
		}
		return err
	})
}
