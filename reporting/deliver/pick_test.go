package deliver

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"ichor/pipeline/state"
)

// TestMay: an object that may not be sent waits and holds up no other one, even behind a crowd of them. A line that waits in this
// way looks about once a second. What may be sent later is sent then.
func TestMay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := &node{}
		r := newRig(t, map[string]*node{"A": a})
		var all atomic.Bool
		r.opts.May = func(d state.Delivery) bool { return all.Load() || d.SOPInstanceUID == "mine" }
		var looks atomic.Int32
		r.opts.State = countingStore{r.store, &looks}
		r.add("1.1", "mine")
		crowd := make([]string, 100)
		for i := range crowd {
			crowd[i] = "other " + string(rune('a'+i/10)) + string(rune('a'+i%10))
		}
		r.add("1.2", crowd...) // newer, so they come first
		r.run()
		sleep(time.Minute)
		if got := a.have(); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("sent %v", got)
		}
		if n := looks.Load(); n > 300 {
			t.Errorf("%d looks in a minute", n)
		}
		all.Store(true)
		sleep(10 * time.Second)
		if got := a.have(); len(got) != 1+len(crowd) {
			t.Errorf("%d sent after all may", len(got))
		}
	})
}

// TestMayCommit: commitment is requested only of objects that may be sent.
func TestMayCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := &archive{offers: true, mode: "same"}
		r := newCommitRig(t, a)
		var may atomic.Bool
		r.opts.May = func(state.Delivery) bool { return may.Load() }
		r.addCommitted("1.2", "1")
		if known, err := r.store.StoredElsewhere(state.DeliveryKey{SOPInstanceUID: "1", Destination: "A"}, false, "", time.Now()); err != nil || !known {
			t.Fatal(known, err)
		}
		r.run()
		sleep(time.Minute)
		if got := r.states("1"); got[0] != state.Stored {
			t.Errorf("%v while it may not be requested", got)
		}
		may.Store(true)
		sleep(time.Minute)
		if got := r.states("1"); got[0] != state.Committed {
			t.Errorf("%v after it may", got)
		}
	})
}
