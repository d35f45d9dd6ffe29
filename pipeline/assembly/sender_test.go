package assembly

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sending is an Assembler with the default periods, and a sender that opens an association for each group of objects.
type sending struct {
	*Assembler
	log    []string // how each study was complete
	mu     sync.Mutex
	ripe   []string // guarded by mu: read while time goes on
	learnt []Sender
	stop   func()
	assoc  uint64
}

func newSending(known ...Sender) *sending {
	s := &sending{}
	s.Assembler = New(Options{Quiet: 30 * time.Second, Limit: 15 * time.Minute, Senders: known,
		Ripe: func(study string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ripe = append(s.ripe, study)
		},
		Complete: func(study, how string) { s.log = append(s.log, study+" "+how) },
		Learnt:   func(x Sender) { s.learnt = append(s.learnt, x) }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = s.Run(ctx); close(ended) }()
	s.stop = func() { cancel(); <-ended }
	return s
}

// study sends objects of a study with these pauses between them, each in an association of its own, and waits until the study
// is complete.
func (s *sending) study(title, study string, pauses ...time.Duration) {
	s.object(title, study)
	for _, p := range pauses {
		time.Sleep(p)
		s.object(title, study)
	}
	time.Sleep(35 * time.Second)
	synctest.Wait()
}

func (s *sending) object(title, study string) {
	s.assoc++
	s.Opened(s.assoc)
	s.received(s.assoc, title, study, true)
	s.Closed(s.assoc)
	synctest.Wait()
}

func (s *sending) of(title string) Sender {
	all := s.Senders()
	i := slices.IndexFunc(all, func(x Sender) bool { return x.AETitle == title })
	if i < 0 {
		return Sender{}
	}
	return all[i]
}

func times(n int, d time.Duration) (list []time.Duration) {
	for range n {
		list = append(list, d)
	}
	return list
}

// TestLearns: the quiet period is that of the sender, from its eighth study on.
func TestLearns(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause time.Duration
		want  string
	}{
		{"a fast sender", 50 * time.Millisecond, "quiet 3s"},
		{"one that pauses for 8 s", 8 * time.Second, "quiet 12s"},
		{"one that pauses for 25 s", 25 * time.Second, "quiet 30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSending()
				defer s.stop()
				for i := range 12 {
					s.study("CT", fmt.Sprint(i), times(4, tt.pause)...)
				}
				want := slices.Concat(slices.Repeat([]string{"quiet 30s"}, learntFrom), slices.Repeat([]string{tt.want}, 12-learntFrom))
				for i := range want {
					want[i] = fmt.Sprint(i) + " " + want[i]
				}
				if !slices.Equal(s.log, want) {
					t.Errorf("got  %q\nwant %q", s.log, want)
				}
				s.log = nil
				s.study("MR", "other", tt.pause)
				if want := []string{"other quiet 30s"}; !slices.Equal(s.log, want) {
					t.Errorf("another sender: %q, want %q", s.log, want)
				}
			})
		})
	}
}

// TestLate: an object that comes after a learnt period, but within the configured one, raises the period at once; one that no
// configured period would have waited for does not.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSending()
		defer s.stop()
		for i := range 10 {
			s.study("CT", fmt.Sprint(i), time.Second)
		}
		if got := s.of("CT").Quiet(3*time.Second, 30*time.Second); got != 3*time.Second {
			t.Fatalf("learnt %v, want 3 s", got)
		}
		s.log = nil
		s.study("CT", "A", 8*time.Second)
		if want := []string{"A quiet 3s", "A quiet 12s"}; !slices.Equal(s.log, want) {
			t.Errorf("got %q, want %q", s.log, want)
		}
		s.log = nil
		for range 3 {
			s.study("CT", "B", 8*time.Second)
		}
		if want := slices.Repeat([]string{"B quiet 12s"}, 3); !slices.Equal(s.log, want) {
			t.Errorf("after it was learnt: %q, want %q", s.log, want)
		}
		late := s.of("CT").Late
		s.study("CT", "C", 10*time.Minute)
		if got := s.of("CT"); got.Late != late || got.Quiet(3*time.Second, 30*time.Second) != 12*time.Second {
			t.Errorf("a series of later: %d late, quiet period %v; want %d, 12 s", got.Late, got.Quiet(3*time.Second, 30*time.Second), late)
		}
	})
}

// TestLearntOverRestarts: what Learnt was given restores the period.
func TestLearntOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSending()
		for i := range 10 {
			s.study("CT", fmt.Sprint(i), 4*time.Second)
		}
		s.stop()
		if len(s.learnt) != 10 {
			t.Fatalf("Learnt called %d times, want 10", len(s.learnt))
		}
		s = newSending(s.learnt[9])
		defer s.stop()
		s.study("CT", "A", 4*time.Second)
		if want := []string{"A quiet 6s"}; !slices.Equal(s.log, want) {
			t.Errorf("got %q, want %q", s.log, want)
		}
	})
}

// TestTeachesNothing: pauses that are not the sender's.
func TestTeachesNothing(t *testing.T) {
	for name, do := range map[string]func(s *sending){
		"of two senders": func(s *sending) {
			s.object("CT", "A")
			time.Sleep(10 * time.Second)
			s.object("MR", "A")
		},
		"while this node refused": func(s *sending) {
			s.object("CT", "A")
			time.Sleep(10 * time.Second)
			s.Refused(s.assoc)
			time.Sleep(10 * time.Second)
			s.object("CT", "A")
		},
		"over a restart": func(s *sending) {
			s.Resume("A", 3)
			time.Sleep(10 * time.Second)
			s.object("CT", "A")
			time.Sleep(time.Second)
			s.object("CT", "A")
		},
		"of one object": func(s *sending) { s.object("CT", "A") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSending()
				defer s.stop()
				do(s)
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(s.learnt) != 0 || len(s.log) != 1 {
					t.Errorf("learnt %+v, complete %q; want nothing, one study", s.learnt, s.log)
				}
			})
		})
	}
}

// TestWindow: pauses of long ago are forgotten, and one long pause in a hundred studies does not count.
func TestWindow(t *testing.T) {
	s := Sender{}
	for range 100 {
		s.add(Pause{Longest: time.Second})
	}
	s.add(Pause{Longest: 20 * time.Second})
	if got := s.Quiet(3*time.Second, 30*time.Second); got != 3*time.Second {
		t.Errorf("one long pause of a hundred: %v, want 3 s", got)
	}
	s.add(Pause{10 * time.Second, true})
	if got := s.Quiet(3*time.Second, 30*time.Second); got != 15*time.Second {
		t.Errorf("a late object: %v, want 15 s", got)
	}
	for range learntMost {
		s.add(Pause{Longest: time.Second})
	}
	if got := s.Quiet(3*time.Second, 30*time.Second); got != 3*time.Second || len(s.Pauses) != learntMost {
		t.Errorf("long ago: %v of %d studies, want 3 s of %d", got, len(s.Pauses), learntMost)
	}
	if got := s.Quiet(time.Minute, 30*time.Second); got != 30*time.Second {
		t.Errorf("not to be learnt: %v, want 30 s", got)
	}
	if got := s.Quiet(3*time.Second, time.Second); got != time.Second {
		t.Errorf("configured 1 s: %v", got)
	}
}

// TestMissingObjects: a peer is known to have more objects, so the learnt period does not end the study.
func TestMissingObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := Sender{AETitle: "CT"}
		for range 20 {
			known.add(Pause{Longest: time.Second})
		}
		var done []string
		a := New(Options{Quiet: 30 * time.Second, Senders: []Sender{known}, Ask: func(string) {}, Objects: func(string) int { return 1 },
			Complete: func(study, how string) { done = append(done, how) }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.received(1, "CT", "A", true)
		a.Expect("A", 5)
		_ = a.Run(ctx)
		if want := []string{"quiet 30s, 1 of 5"}; !slices.Equal(done, want) {
			t.Errorf("got %q, want %q", done, want)
		}
	})
}

// TestManySenders: what is kept is bounded.
func TestManySenders(t *testing.T) {
	a := New(Options{})
	start := time.Now()
	for i := range 2 * mostSenders {
		a.sender(fmt.Sprint(i)).Last = start.Add(time.Duration(i) * time.Second)
	}
	if n := len(a.senders); n != mostSenders || a.senders[fmt.Sprint(2*mostSenders-1)] == nil {
		t.Errorf("%d senders kept, want the latest %d", n, mostSenders)
	}
}

// TestRipe: Ripe is called after the usual pause, again after further objects, and not while an association is open.
func TestRipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSending()
		defer s.stop()
		at := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Equal(s.ripe, want) {
				t.Errorf("ripe %q, want %q", s.ripe, want)
			}
		}
		s.Opened(99)
		s.received(99, "CT", "A", true)
		at(10 * time.Second)
		s.Closed(99)
		at(0, "A")
		s.object("CT", "A")
		at(999*time.Millisecond, "A")
		at(time.Millisecond, "A", "A")
		at(time.Minute, "A", "A")
		s.Resume("B", 3)
		at(time.Minute, "A", "A")
	})
}
