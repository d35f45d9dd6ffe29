package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// notes makes a note for each destination but "deaf", as cmd/ichor does.
func notes(former []Delivery) ([]Delivery, error) {
	var list []Delivery
	for _, d := range former {
		if d.Destination == "deaf" {
			continue
		}
		at := slices.IndexFunc(list, func(n Delivery) bool { return n.Destination == d.Destination })
		if at < 0 {
			at = len(list)
			list = append(list, Delivery{DeliveryKey: DeliveryKey{"note on " + d.SOPInstanceUID, d.Destination}, Kind: "KO", Priority: Urgent})
		}
		list[at].Rejects = append(list[at].Rejects, d.SOPInstanceUID)
	}
	return list, nil
}

// finishNoted ends a revision with the notes that make gives; nil: none are made.
func finishNoted(s *Store, id CaseID, revision int, r Conclusion, make func([]Delivery) ([]Delivery, error)) error {
	if make != nil {
		former, err := s.Former(id, revision, r.Deliveries)
		if err != nil {
			return err
		}
		list, err := make(former)
		if err != nil {
			return err
		}
		r.Notes = &Notes{Former: former, Deliveries: list}
	}
	return s.Finish(id, revision, r, t0)
}

func to(destination string, uids ...string) (list []Delivery) {
	for _, uid := range uids {
		list = append(list, Delivery{DeliveryKey: DeliveryKey{uid, destination}, Kind: "SR", Commitment: uid == "committed"})
	}
	return list
}

// TestSupersede finishes a case twice. Of what the first revision gave: what was not sent is not sent, what a destination
// has is replaced and named in one note, what both have is left alone.
func TestSupersede(t *testing.T) {
	id := IDOf(study)
	store := func(uid string) func(*Store) error {
		return func(s *Store) error { return s.MarkStored(DeliveryKey{uid, "A"}, "", t0) }
	}
	for _, c := range []struct {
		name          string
		before        func(*Store) error // between the two revisions
		first, second []Delivery
		reject        func([]Delivery) ([]Delivery, error)
		want          string // state of each delivery, in order of its UID
		due           string // at A, in order
	}{
		{"nothing sent", nil, to("A", "old"), to("A", "new"), notes, "new:pending old:superseded", "new"},
		{"sent", store("old"), to("A", "old"), to("A", "new"), notes, "new:pending note on old:pending old:replaced", "note on old, new"},
		{"one of two sent", store("old"), to("A", "old", "other"), to("A", "new"), notes,
			"new:pending note on old:pending old:replaced other:superseded", "note on old, new"},
		{"two sent", func(s *Store) error { return errors.Join(store("x")(s), store("y")(s)) }, to("A", "x", "y"), to("A", "new"), notes,
			"new:pending note on x:pending x:replaced y:replaced", "note on x, new"},
		{"both have it", store("both"), to("A", "both"), to("A", "both"), notes, "both:stored", ""},
		{"one more", store("both"), to("A", "both"), to("A", "both", "new"), notes, "both:stored new:pending", "new"},
		{"nothing new", store("old"), to("A", "old"), nil, notes, "note on old:pending old:replaced", "note on old"},
		{"no notes", store("old"), to("A", "old"), to("A", "new"), nil, "new:pending old:replaced", "new"},
		{"a destination that wants none", func(s *Store) error { return s.MarkStored(DeliveryKey{"old", "deaf"}, "", t0) },
			to("deaf", "old"), to("A", "new"), notes, "new:pending old:replaced", "new"},
		{"committed", func(s *Store) error {
			_, _, err := s.AnswerCommitment("t", []string{"committed"}, nil, Resend{}, t0)
			return errors.Join(store("committed")(s), s.AskCommitment(Transaction{UID: "t", Destination: "A", Instances: []string{"committed"}}, 0, t0), err,
				func() error {
					_, _, err := s.AnswerCommitment("t", []string{"committed"}, nil, Resend{}, t0)
					return err
				}())
		}, to("A", "committed"), to("A", "new"), notes, "committed:replaced new:pending note on committed:pending", "note on committed, new"},
		{"to be sent again, for it was not committed to", func(s *Store) error {
			return errors.Join(store("committed")(s), s.AskCommitment(Transaction{UID: "t", Destination: "A", Instances: []string{"committed"}}, 0, t0),
				func() error {
					_, _, err := s.AnswerCommitment("t", nil, map[string]string{"committed": "no"}, Resend{Most: 1}, t0)
					return err
				}())
		}, to("A", "committed"), to("A", "new"), notes, "committed:replaced new:pending note on committed:pending", "note on committed, new"},
		{"dead", func(s *Store) error {
			return s.MarkFailed([]Failure{{Key: DeliveryKey{"old", "A"}, Dead: true, Err: "no"}}, t0)
		}, to("A", "old"), to("A", "new"), notes, "new:pending old:superseded", "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, "")
			must(s.Queue(study, 5, "quiet 5s", t0))(t)
			if err := finishNoted(s, id, 1, Conclusion{Finding: analyzed, Deliveries: c.first}, notes); err != nil {
				t.Fatal(err)
			}
			if c.before != nil {
				if err := c.before(s); err != nil {
					t.Fatal(err)
				}
			}
			must(s.Queue(study, 6, "quiet 5s", t0))(t)
			for range 2 { // repeating it changes nothing
				if err := finishNoted(s, id, 2, Conclusion{Finding: analyzed, Deliveries: c.second}, c.reject); err != nil {
					t.Fatal(err)
				}
			}
			if got := standing(t, s); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := due(t, s); got != c.due {
				t.Errorf("due  %s\nwant %s", got, c.due)
			}
		})
	}
}

func standing(t *testing.T, s *Store) string {
	var list []string
	for _, d := range must(s.Deliveries(IDOf(study)))(t) {
		list = append(list, d.SOPInstanceUID+":"+string(d.State))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func due(t *testing.T, s *Store) string {
	var list []string
	for _, d := range must(s.Due("A", 9))(t) {
		list = append(list, d.SOPInstanceUID)
	}
	return strings.Join(list, ", ")
}

// TestSupersedeOnItsWay finishes a revision while an object of the former is on its way: its destination gets it all the
// same, and then a note of its own. What was superseded and never sent can be wanted again; what was replaced cannot. A
// note that waits is never superseded.
func TestSupersedeOnItsWay(t *testing.T) {
	s, id := open(t, ""), IDOf(study)
	end := func(revision int, uids ...string) error {
		t.Helper()
		if revision > 1 {
			must(s.Requeue(id, t0))(t)
		}
		return finishNoted(s, id, revision, Conclusion{Finding: analyzed, Deliveries: to("A", uids...)}, notes)
	}
	must(s.Queue(study, 5, "quiet 5s", t0))(t)
	if err := errors.Join(end(1, "way", "kept"), end(2, "new")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.MarkStored(DeliveryKey{"way", "A"}, "", t0), s.MarkStored(DeliveryKey{"way", "A"}, "", t0)); err != nil {
		t.Fatal(err)
	}
	if got, want := standing(t, s), "kept:superseded new:pending way:replaced"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	late := must(s.Late())(t)
	if len(late) != 1 || late[0].SOPInstanceUID != "way" {
		t.Fatalf("late %+v", late)
	}
	for range 2 { // repeating it changes nothing
		list, err := notes(late)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.RejectLate(late, list, t0); err != nil {
			t.Fatal(err)
		}
	}
	if left := must(s.Late())(t); len(left) > 0 {
		t.Errorf("still late: %+v", left)
	}
	if err := end(3, "kept"); err != nil {
		t.Fatal(err)
	}
	if got, want := standing(t, s), "kept:pending new:superseded note on way:pending way:replaced"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := end(4, "way"); !errors.Is(err, ErrTransition) {
		t.Errorf("what was rejected is sent again: %v", err)
	}
	if got, want := standing(t, s), "kept:pending new:superseded note on way:pending way:replaced"; got != want {
		t.Errorf("half of a transaction:\ngot  %s\nwant %s", got, want)
	}
}

// TestSupersedeChanged: a destination stores an object of the former result while the notes are made. Finish then changes
// nothing, and with notes made again it takes the object in.
func TestSupersedeChanged(t *testing.T) {
	s, id := open(t, ""), IDOf(study)
	must(s.Queue(study, 5, "quiet 5s", t0))(t)
	if err := s.Finish(id, 1, Conclusion{Finding: analyzed, Deliveries: to("A", "old", "waits")}, t0); err != nil {
		t.Fatal(err)
	}
	must(s.Queue(study, 6, "quiet 5s", t0))(t)
	wanted := to("A", "new")
	former := must(s.Former(id, 2, wanted))(t)
	if err := s.MarkStored(DeliveryKey{"old", "A"}, "", t0); err != nil {
		t.Fatal(err)
	}
	err := s.Finish(id, 2, Conclusion{Finding: analyzed, Deliveries: wanted, Notes: &Notes{Former: former}}, t0)
	if got, want := standing(t, s), "old:stored waits:pending"; !errors.Is(err, ErrChanged) || got != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	if err := finishNoted(s, id, 2, Conclusion{Finding: analyzed, Deliveries: wanted}, notes); err != nil {
		t.Fatal(err)
	}
	if got, want := standing(t, s), "new:pending note on old:pending old:replaced waits:superseded"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOutcomes(t *testing.T) {
	s, id := open(t, ""), IDOf(study)
	end := func(revision, objects int, identity string, r Conclusion) {
		t.Helper()
		must(s.Queue(study, objects, "quiet 5s", t0))(t)
		r.Identity = identity
		if err := s.Finish(id, revision, r, t0.Add(time.Duration(revision)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	end(1, 20, "a", Conclusion{Finding: analyzed, Deliveries: slices.Concat(to("A", "one"), to("B", "one"))})
	end(2, 28, "b", Conclusion{Finding: refused})
	must(s.Requeue(id, t0))(t)
	end(3, 28, "b", Conclusion{Finding: refused})
	var got []string
	for _, o := range must(s.Outcomes(id))(t) {
		got = append(got, fmt.Sprintf("%d: %s, %d objects, %d made, then %d: %s", o.Revision, o.Status, o.Objects, len(o.Instances), o.ReplacedBy, o.Why))
	}
	want := []string{
		"1: analyzed, 20 objects, 1 made, then 2: was based on 20 objects; there are 28 now",
		"2: refused, 28 objects, 0 made, then 3: analysed again, same objects",
		"3: refused, 28 objects, 0 made, then 0: ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
