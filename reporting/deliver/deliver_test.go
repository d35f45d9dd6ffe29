package deliver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/ul"
)

func always(err error) func(int) error { return func(int) error { return err } }

func answers(list ...any) func(string, int) (dimse.Status, error) {
	return func(_ string, n int) (dimse.Status, error) {
		switch a := list[min(n, len(list)-1)].(type) {
		case error:
			return 0, a
		default:
			return a.(dimse.Status), nil
		}
	}
}

var (
	errReset   = errors.New("connection reset by peer")
	errCalling = &ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonCallingAE}
	errBusy    = &ul.RejectError{Result: ul.RejectedTransient, Source: ul.RejectSourcePresentation, Reason: ul.ReasonCongestion}
)

// TestOutcomes sends one object to a destination that behaves in one way, and looks what became of it.
func TestOutcomes(t *testing.T) {
	ok := dimse.StatusSuccess
	for _, tt := range []struct {
		name    string
		n       *node
		after   time.Duration
		state   state.DeliveryState
		tries   int
		refused int
		says    string
	}{
		{"stored", &node{}, 0, state.Stored, 1, 0, ""},
		{"warning is stored", &node{answer: answers(dimse.CoercedElements)}, 0, state.Stored, 1, 0, "B000H"},
		{"duplicate is stored", &node{answer: answers(errReset, dimse.DuplicateInstance)}, time.Minute, state.Stored, 2, 0, "0111H"},
		{"class not supported, given up at once", &node{answer: answers(dimse.SOPClassNotSupported)}, time.Minute, state.Dead, 1, 1, "0122H SOP class not supported (says the peer)"},
		{"cannot understand, given up", &node{answer: answers(dimse.CannotUnderstand)}, time.Minute, state.Dead, 4, 4, "C000H cannot understand (says the peer)"},
		{"mismatch, given up", &node{answer: answers(dimse.DataSetMismatch)}, time.Minute, state.Dead, 4, 4, "A900H"},
		{"cannot understand twice", &node{answer: answers(dimse.CannotUnderstand, dimse.CannotUnderstand, ok)}, time.Minute, state.Stored, 3, 2, ""},
		{"out of resources for an hour", &node{answer: answers(dimse.OutOfResources)}, time.Hour, state.Pending, 0, 0, "A700H"},
		{"out of resources for good", &node{answer: answers(dimse.OutOfResources)}, 2 * time.Hour, state.Dead, 0, 0, "A700H"},
		{"out of resources, then not", &node{answer: answers(dimse.OutOfResources, dimse.OutOfResources, ok)}, time.Minute, state.Stored, 3, 0, ""},
		{"no answer, then one", &node{answer: answers(errReset, ok)}, time.Minute, state.Stored, 2, 0, ""},
		{"no context", &node{accepted: func(string) []string { return nil }}, time.Minute, state.Dead, 4, 4, "presentation context not accepted"},
		{"only a foreign syntax", &node{accepted: func(string) []string { return []string{"1.2.3"} }}, time.Minute, state.Dead, 4, 4, "presentation context not accepted"},
		{"unknown there", &node{refuse: always(errCalling)}, time.Minute, state.Dead, 4, 0, "calling AE title not recognized"},
		{"busy for an hour", &node{refuse: always(errBusy)}, time.Hour, state.Pending, 0, 0, "congestion"},
		{"cannot be reached for good", &node{refuse: always(errReset)}, 2 * time.Hour, state.Dead, 0, 0, "connection reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := tt.n
				r := newRig(t, map[string]*node{"A": n})
				r.add("1.2", "x")
				r.run()
				sleep(tt.after)
				r.stop()
				d := r.delivery("x", "A")
				if d.State != tt.state || d.Refused != tt.refused || tt.tries > 0 && d.Tries != tt.tries || !strings.Contains(d.LastError, tt.says) || tt.says == "" && d.LastError != "" {
					t.Errorf("%s after %d tries, %d refusals: %q", d.State, d.Tries, d.Refused, d.LastError)
				}
				if counts, err := r.store.Counts(); err != nil || counts.Present["A"] != btoi(tt.says == "0111H") {
					t.Errorf("%v present, %v", counts.Present, err)
				}
				if strings.Contains(r.log.String(), "says the peer") {
					t.Errorf("the log repeats what a destination may say of a patient:\n%s", r.log.String())
				}
				if want := btoi(tt.state == state.Stored && !strings.Contains(tt.name, "duplicate")); len(n.have()) != want || n.look().open != 0 {
					t.Errorf("stored %d times, want %d; %d associations open", len(n.have()), want, n.look().open)
				}
				if tt.after == time.Hour && (len(n.look().dials) < 60 || len(n.look().dials) > 70) { // one a minute at most
					t.Errorf("%d associations in an hour", len(n.look().dials))
				}
			})
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestDeadDestinationHoldsUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		slow := &node{delay: 10 * time.Minute}
		good := &node{}
		r := newRig(t, map[string]*node{"A": slow, "B": good})
		r.run()
		r.add("1.1", "1", "2", "3")
		r.add("1.2", "4", "5")
		sleep(0)
		if !slices.Equal(good.have(), []string{"1", "2", "3", "4", "5"}) || len(slow.have()) != 0 {
			t.Errorf("good has %v, slow %v", good.have(), slow.have())
		}
		slow.tell(func(n *node) { n.delay = 0 })
		sleep(11 * time.Minute)
		if !slices.Equal(slow.have(), good.have()) || len(good.look().dials) > 2 || slow.look().most != 1 {
			t.Errorf("slow has %v, %d associations to good, %d at once", slow.have(), len(good.look().dials), slow.look().most)
		}
	})
}

// TestDownAndUpAgain holds the line of a destination that is down: one attempt at a time, rarer and rarer, no object
// blamed, and all delivered once and in order when it is up. Its circuit opens, and a probe takes one object.
func TestDownAndUpAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{refuse: always(errReset)}
		r := newRig(t, map[string]*node{"A": n})
		r.run()
		var want []string
		for c := range 50 {
			uids := []string{fmt.Sprint(c, ".1"), fmt.Sprint(c, ".2")}
			want = append(uids, want...) // the newest first
			r.add(fmt.Sprint("1.", c), uids...)
			sleep(time.Minute)
		}
		s := r.d.Status()[0]
		if !s.Down || r.delivery("0.1", "A").Tries < openAfter || r.delivery("0.1", "A").Tries > 10 || r.delivery("0.2", "A").Tries > 3 {
			t.Errorf("%+v, probes %+v", s, r.delivery("0.1", "A"))
		}
		if !s.Down || !strings.Contains(s.LastError, "reset") || s.Failures != len(n.look().dials) || len(n.look().dials) > 56 {
			t.Errorf("%+v after %d associations", s, len(n.look().dials))
		}
		n.tell(func(n *node) { n.refuse = nil })
		sleep(time.Minute)
		if !slices.Equal(n.have(), want) || n.look().most != 1 {
			t.Errorf("delivered %v\nwant %v", n.have(), want)
		}
		if s := r.d.Status()[0]; s.Down || s.Failures != 0 || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestPoison holds that an object which breaks every association does not keep the others from going.
func TestPoison(t *testing.T) {
	for name, bad := range map[string]any{"breaks": errReset, "refused": dimse.CannotUnderstand, "too large": dimse.ObjectTooLarge} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := &node{}
				n.answer = func(uid string, k int) (dimse.Status, error) {
					if uid == "bad" {
						return answers(bad)(uid, k)
					}
					return 0, nil
				}
				r := newRig(t, map[string]*node{"A": n})
				r.add("1.2", "1", "bad", "2", "gone", "3")
				r.run()
				sleep(5 * time.Second)
				if !slices.Equal(n.have(), []string{"1", "2", "3"}) {
					t.Errorf("got %v", n.have())
				}
				sleep(time.Minute)
				if d := r.delivery("gone", "A"); d.State != state.Dead || !strings.Contains(d.LastError, "no such file") {
					t.Errorf("%+v", d)
				}
				if n.look().open != 0 {
					t.Errorf("%d associations open", n.look().open)
				}
			})
		})
	}
}

func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{answer: answers(dimse.CannotUnderstand)}
		r := newRig(t, map[string]*node{"A": n})
		var events []Outcome
		r.opts.Events = func(e Event) { events = append(events, e.Outcome) }
		r.add("1.2", "x")
		r.run()
		sleep(time.Hour)
		n.tell(func(n *node) { n.answer = nil })
		if err := r.store.Replay(state.DeliveryKey{SOPInstanceUID: "x", Destination: "A"}, time.Now()); err != nil {
			t.Fatal(err)
		}
		r.d.Wake()
		sleep(0)
		if d := r.delivery("x", "A"); d.State != state.Stored || d.Tries != 1 {
			t.Errorf("%+v", d)
		}
		if want := []Outcome{Retry, Retry, Retry, Dead, Stored}; !slices.Equal(events, want) {
			t.Errorf("events %v, want %v", events, want)
		}
	})
}

// TestRestart stops and starts at every moment of a delivery, and reopens the state each time.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{delay: time.Second}
		r := newRig(t, map[string]*node{"A": n})
		r.add("1.2", "1", "2", "3", "4", "5", "6")
		for range 40 {
			r.run()
			sleep(300 * time.Millisecond)
			r.stop()
			r.store.Close()
			r.open()
		}
		if want := []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(n.have(), want) {
			t.Errorf("got %v", n.have())
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{delay: time.Hour}
		r := newRig(t, map[string]*node{"A": n})
		r.add("1.2", "1", "2")
		r.run()
		sleep(time.Second)
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 10*time.Second || n.look().open != 0 {
			t.Errorf("stopped after %v with %d associations open", took, n.look().open)
		}
		if d := r.delivery("1", "A"); d.State != state.Pending || d.Tries != 1 {
			t.Errorf("%+v", d)
		}
		if d := r.delivery("2", "A"); d.Tries != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// brokenStore cannot write for a while.
type brokenStore struct {
	Store
	until time.Time
}

func (b brokenStore) MarkStored(key state.DeliveryKey, note string, now time.Time) error {
	if time.Now().Before(b.until) {
		return errors.New("disk full")
	}
	return b.Store.MarkStored(key, note, now)
}

func (b brokenStore) MarkFailed(f []state.Failure, now time.Time) error {
	if time.Now().Before(b.until) {
		return errors.New("disk full")
	}
	return b.Store.MarkFailed(f, now)
}

func TestStateThatCannotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{}
		r := newRig(t, map[string]*node{"A": n})
		r.opts.State = brokenStore{r.store, time.Now().Add(time.Hour)}
		r.add("1.2", "1", "2")
		r.run()
		sleep(2 * time.Hour)
		if !slices.Equal(n.have(), []string{"1", "2"}) {
			t.Errorf("got %v", n.have())
		}
	})
	bubble(t, func(t *testing.T) {
		n := &node{answer: answers(dimse.CannotUnderstand)}
		r := newRig(t, map[string]*node{"A": n})
		r.opts.State = brokenStore{r.store, time.Now().Add(time.Hour)}
		r.add("1.2", "1")
		r.run()
		sleep(time.Hour)
		if len(n.look().dials) > 70 {
			t.Errorf("%d associations while failures could not be recorded", len(n.look().dials))
		}
	})
}

func TestContexts(t *testing.T) {
	seg := state.Delivery{SOPClassUID: dcm.SegmentationStorage, TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	sr := state.Delivery{SOPClassUID: dcm.Comprehensive3DSRStorage, TransferSyntaxUID: dcm.ExplicitVRLittleEndian}
	deflated := dcm.SegmentationStorage + " " + dcm.DeflatedExplicitVRLittleEndian
	plain := []string{
		dcm.SegmentationStorage + " " + dcm.ExplicitVRLittleEndian,
		dcm.SegmentationStorage + " " + dcm.ImplicitVRLittleEndian,
		dcm.Comprehensive3DSRStorage + " " + dcm.ExplicitVRLittleEndian,
		dcm.Comprehensive3DSRStorage + " " + dcm.ImplicitVRLittleEndian,
	}
	for _, test := range []struct {
		deflate  bool
		want     []string
		accepted []string
		refused  int
		chosen   string
	}{
		{false, plain, []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian}, 0, dcm.ExplicitVRLittleEndian},
		{true, append([]string{deflated}, plain...), []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian}, 0, dcm.ExplicitVRLittleEndian},
		{true, append([]string{deflated}, plain...), []string{dcm.ExplicitVRLittleEndian, dcm.DeflatedExplicitVRLittleEndian}, 0, dcm.DeflatedExplicitVRLittleEndian},
		{true, append([]string{deflated}, plain...), []string{dcm.ExplicitVRLittleEndian, dcm.DeflatedExplicitVRLittleEndian}, 1, dcm.ExplicitVRLittleEndian},
	} {
		l := &line{dest: Destination{Deflate: test.deflate}}
		var got []string
		for _, c := range l.contexts([]state.Delivery{seg, sr, seg, sr}) {
			if len(c.TransferSyntaxes) != 1 || int(c.ID) != 2*len(got)+1 {
				t.Errorf("%+v", c)
			}
			got = append(got, c.AbstractSyntax+" "+c.TransferSyntaxes[0])
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("deflate %v: %q", test.deflate, got)
		}
		a := &association{n: &node{accepted: func(string) []string { return test.accepted }}}
		d := seg
		d.Refused = test.refused
		if ts, err := l.choose(a, d); ts != test.chosen || err != nil {
			t.Errorf("deflate %v, accepted %q: chose %s, %v", test.deflate, test.accepted, ts, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 4: 40 * time.Second,
		8: 10 * time.Minute, 31: 10 * time.Minute, 64: 10 * time.Minute, 1 << 40: 10 * time.Minute} {
		for range 100 {
			if d := backoff(5*time.Second, 10*time.Minute, n); d < want*8/10 || d > want*12/10 {
				t.Errorf("after %d failures %v, want about %v", n, d, want)
			}
		}
	}
}
