package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pairOf runs a node in a pair until the returned function is called.
func pairOf(t *testing.T, q *Queue, o PairOptions) (p *Pair, leave func()) {
	t.Helper()
	o.Name, o.Keep = "ct", time.Hour
	if o.Lease == 0 {
		o.Lease = time.Second
	}
	p, err := q.NewPair(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { p.Run(ctx); close(ended) }()
	leave = sync.OnceFunc(func() { stop(); <-ended })
	t.Cleanup(leave)
	return p, leave
}

func holds(p *Pair) func() bool { return func() bool { return p.Standing().Held } }

// TestLease: one of two nodes has the lease. The other one has it at once when the first stops in order.
func TestLease(t *testing.T) {
	t.Parallel()
	url := external(t)
	qa, qb := start(t, Options{URL: url, Node: "a"}), start(t, Options{URL: url, Node: "b"})
	a, leaveA := pairOf(t, qa, PairOptions{About: "A", Lease: 20 * time.Second})
	eventually(t, "a holds", holds(a))
	b, _ := pairOf(t, qb, PairOptions{About: "B", Lease: 20 * time.Second})
	eventually(t, "b sees a", func() bool {
		s := b.Standing()
		return s.Holder == "a" && len(s.Others) == 1 && s.Others[0] == "A" && !s.Held && s.Caught && !s.Alone
	})
	begun := time.Now()
	leaveA()
	eventually(t, "b holds", holds(b))
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("a lease that was given back was taken after %v", took)
	}
}

// TestLeaseOfALostNode: when the connection of the holder breaks, it sees and tells the end of its lease before the other node
// takes it. A node that comes back does not take it back.
func TestLeaseOfALostNode(t *testing.T) {
	t.Parallel()
	url := external(t)
	qa, qb := start(t, Options{URL: url, Node: "a"}), start(t, Options{URL: url, Node: "b"})
	var changes atomic.Int64
	a, _ := pairOf(t, qa, PairOptions{Changed: func() { changes.Add(1) }})
	eventually(t, "a holds", holds(a))
	b, _ := pairOf(t, qb, PairOptions{})
	eventually(t, "b sees a", func() bool { return b.Standing().Holder == "a" })
	before := changes.Load()
	qa.link.Load().conn.Close()
	eventually(t, "b holds", func() bool {
		both := a.Standing().Held && b.Standing().Held
		if both {
			t.Error("both hold the lease")
		}
		return both || b.Standing().Held
	})
	eventually(t, "a knows that it is alone", func() bool { return a.Standing().Alone })
	eventually(t, "a has told that it is alone", func() bool { return changes.Load() > before })
	if s := a.Standing(); s.Holder != "" {
		t.Errorf("a still takes %q for the holder", s.Holder)
	}
	a, _ = pairOf(t, start(t, Options{URL: url, Node: "a"}), PairOptions{})
	eventually(t, "a is back", func() bool { return a.Standing().Holder == "b" && a.Standing().Caught })
	if a.Standing().Held || !b.Standing().Held {
		t.Error("a node that came back took the lease")
	}
}

// TestTell: what a node tells reaches the other one, also what was told before it came.
func TestTell(t *testing.T) {
	t.Parallel()
	url := external(t)
	var mu sync.Mutex
	heard := map[string]string{}
	a, _ := pairOf(t, start(t, Options{URL: url, Node: "a"}), PairOptions{})
	a.Tell("sent.1", []byte("x"))
	a.Tell("sent.1", []byte("y")) // the newer one counts
	eventually(t, "told", func() bool { return a.Standing().Untold == 0 })
	b, _ := pairOf(t, start(t, Options{URL: url, Node: "b"}), PairOptions{Heard: func(key string, value []byte, told time.Time) {
		if time.Since(told).Abs() > time.Minute {
			t.Errorf("told at %v", told)
		}
		mu.Lock()
		defer mu.Unlock()
		heard[key] = string(value)
	}})
	eventually(t, "caught up", func() bool { return b.Standing().Caught })
	a.Tell("sent.2", []byte("z"))
	eventually(t, "heard", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(heard) == "map[sent.1:y sent.2:z]"
	})
}

// TestTellAtTheEnd: what is being stored when a node stops is stored.
func TestTellAtTheEnd(t *testing.T) {
	t.Parallel()
	url := external(t)
	a, leave := pairOf(t, start(t, Options{URL: url, Node: "a"}), PairOptions{Lease: 20 * time.Second}) // it has 5 s to tell what is left
	eventually(t, "a holds", holds(a))
	const told = 300
	a.mu.Lock()
	for i := range told {
		a.untold[fmt.Sprintf("sent.%d", i)] = []byte("x")
	}
	a.mu.Unlock()
	nudge(a.full)
	for a.Standing().Untold > 0 { // it has been taken, and is being stored
		time.Sleep(time.Millisecond)
	}
	leave()
	var heard atomic.Int64
	b, _ := pairOf(t, start(t, Options{URL: url, Node: "b"}), PairOptions{Heard: func(string, []byte, time.Time) { heard.Add(1) }})
	eventually(t, "caught up", func() bool { return b.Standing().Caught })
	if n := heard.Load(); n != told {
		t.Errorf("%d of %d are stored", n, told)
	}
}

// TestVersionFloor: an older server is refused in one line that says what to do.
func TestVersionFloor(t *testing.T) {
	for version, ok := range map[string]bool{"2.14.6": true, "2.15.0": true, "2.15.0-dev": true, "3.0.0": true, "2.14.10": true,
		"2.14.5": false, "2.14.5-RC.1": false, "2.9.25": false, "1.99.99": false, "": false, "x": false} {
		err := checkVersion(version)
		if (err == nil) != ok || err != nil && (!strings.Contains(err.Error(), "2.14.6 or newer") || !strings.Contains(err.Error(), "upgrade it") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v", version, err)
		}
	}
}
