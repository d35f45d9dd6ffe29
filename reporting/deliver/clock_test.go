package deliver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/state"
)

// TestWallClock sets the clock by a day and by ten years, both ways, while an object waits for its next try, and while
// one comes in: each is tried at its time, and none is given up before its time.
func TestWallClock(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, years, -years} {
		t.Run(jump.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := &node{refuse: always(errReset)}
				r := newRig(t, map[string]*node{"A": n})
				offset := time.Duration(0)
				r.opts.Now = func() time.Time { return time.Now().Add(offset) }
				r.add("1.1", "1")
				r.run()
				sleep(10 * time.Second)
				r.stop()
				offset = jump
				r.run()
				r.add("1.2", "2")
				sleep(10 * time.Minute)
				if d := r.delivery("1", "A"); d.State != state.Pending || len(n.look().dials) < 10 {
					t.Errorf("%s after %d associations: %s", d.State, len(n.look().dials), d.LastError)
				}
				r.stop() // and it is right again after a restart
				r.store.Close()
				offset = 0
				r.open()
				n.tell(func(n *node) { n.refuse = nil })
				r.run()
				sleep(2 * time.Minute)
				if got := len(n.have()); got != 2 {
					t.Errorf("%d of 2 delivered: %+v", got, r.d.Status()[0])
				}
			})
		})
	}
}

// TestAgeAlone: a destination that is down for good makes dead letters of all that waits for it when its time is over, not
// only of what was tried; fresh objects, which are probed first, change nothing.
func TestAgeAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := &node{refuse: always(errReset)}
		r := newRig(t, map[string]*node{"A": n})
		given := 0
		r.opts.Events = func(e Event) {
			if e.Outcome == Dead {
				given++
			}
		}
		r.run()
		for c := range 20 {
			r.add(fmt.Sprint("1.", c), fmt.Sprint(c, ".1"), fmt.Sprint(c, ".2"))
			sleep(time.Minute)
		}
		sleep(r.opts.MaxAge - 15*time.Minute)
		for _, tt := range []struct {
			uid  string
			want state.DeliveryState
		}{{"0.1", state.Dead}, {"0.2", state.Dead}, {"19.1", state.Pending}, {"19.2", state.Pending}} {
			if d := r.delivery(tt.uid, "A"); d.State != tt.want {
				t.Errorf("%s is %s after %d tries", tt.uid, d.State, d.Tries)
			}
		}
		sleep(40 * time.Minute)
		letters, err := r.store.DeadLetters()
		if err != nil || len(letters) != 40 || given != 40 {
			t.Fatalf("%d dead letters, %d told, %v", len(letters), given, err)
		}
		for _, l := range letters {
			if l.Cause != state.Unreachable || !strings.HasPrefix(l.LastError, "not delivered within 1h40m0s") {
				t.Errorf("%+v", l)
			}
		}
	})
}
