package queue

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ichor/scp/scptest"
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

// slow returns the address of a server whose answers come after a delay, which may change.
func slow(t *testing.T, url string, delay *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type chunk struct {
		raw []byte
		at  time.Time
	}
	var ends sync.WaitGroup
	var mu sync.Mutex
	conns, ended := []io.Closer{l}, make(chan struct{})
	ends.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			conns = append(conns, client, server)
			mu.Unlock()
			answers := make(chan chunk, 1000)
			ends.Go(func() { _, _ = io.Copy(server, client) }) // ends with the connections
			ends.Go(func() {
				defer close(answers)
				for {
					raw := make([]byte, 64<<10)
					n, err := server.Read(raw)
					if err != nil {
						return
					}
					answers <- chunk{raw[:n], time.Now().Add(time.Duration(delay.Load()))}
				}
			})
			ends.Go(func() {
				for c := range answers {
					select {
					case <-time.After(time.Until(c.at)):
						_, _ = client.Write(c.raw)
					case <-ended:
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		close(ended)
		ends.Wait()
	})
	return "nats://" + l.Addr().String()
}

// TestLeaseOfASlowServer: answers that take a quarter of the lease do not cost it, nor does one that takes more than half. When
// none comes any more, the holder sees the end of its lease before the other node takes it.
func TestLeaseOfASlowServer(t *testing.T) {
	t.Parallel()
	const lease = 3 * time.Second
	var delay atomic.Int64
	url := external(t)
	a, _ := pairOf(t, start(t, Options{URL: slow(t, url, &delay), Node: "a"}), PairOptions{Lease: lease})
	eventually(t, "a holds", holds(a))
	b, _ := pairOf(t, start(t, Options{URL: url, Node: "b"}), PairOptions{Lease: lease})
	eventually(t, "b sees a", func() bool { return b.Standing().Holder == "a" })
	for _, tt := range []struct {
		delay, length time.Duration
		kept          bool
	}{{lease / 4, lease * 3 / 2, true}, {0, lease / 2, true}, {lease * 11 / 20, lease / 5, true}, {0, lease, true}, {time.Minute, lease * 3 / 2, false}} {
		delay.Store(int64(tt.delay))
		kept := true
		for end := time.Now().Add(tt.length); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			held, other := a.Standing().Held, b.Standing().Held
			if kept = kept && held; held && other {
				t.Fatal("both hold the lease")
			}
		}
		if kept != tt.kept {
			t.Errorf("answers after %v: the lease was kept: %t", tt.delay, kept)
		}
	}
	if !b.Standing().Held {
		t.Error("nobody took the lease")
	}
}

// behind is a bucket whose server answers Get with what it is told, and accepts updates of the last revision.
type behind struct {
	jetstream.KeyValue
	holder         string
	revision, last uint64
}

func (b *behind) Get(context.Context, string) (jetstream.KeyValueEntry, error) {
	return holderEntry{value: b.holder, revision: b.revision}, nil
}

func (b *behind) Update(_ context.Context, _ string, _ []byte, revision uint64) (uint64, error) {
	if revision != b.last {
		return 0, &jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}
	}
	b.last++
	return b.last, nil
}

type holderEntry struct {
	jetstream.KeyValueEntry
	value    string
	revision uint64
}

func (e holderEntry) Value() []byte    { return []byte(e.value) }
func (e holderEntry) Revision() uint64 { return e.revision }

// TestLeaseOfAServerThatIsBehind: a node that reads an old entry of its own does not take the lease from the other node, and does
// not lose its lease.
func TestLeaseOfAServerThatIsBehind(t *testing.T) {
	p, err := start(t, Options{URL: external(t), Node: "a"}).NewPair(PairOptions{Name: "ct", Lease: time.Minute, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name           string
		holder         string // as the server says
		revision, last uint64 // of the entry that it answers with, and of the newest one
		unsure         bool   // an answer did not come before
		held, ok       bool
	}{
		{"first", "a", 10, 10, false, true, true},
		{"renewed without reading", "b", 12, 11, false, true, true},
		{"old entry of this node", "a", 10, 12, true, true, true},
		{"the other has it", "b", 14, 14, true, false, true},
		{"the other has it, old entry of this node", "a", 10, 14, false, false, false},
		{"this node has it", "a", 15, 15, false, true, true},
	} {
		p.unsure = tt.unsure
		err := p.extend(t.Context(), &behind{holder: tt.holder, revision: tt.revision, last: tt.last})
		if held := p.Standing().Held; held != tt.held || (err == nil) != tt.ok {
			t.Errorf("%s: held %t, %v", tt.name, held, err)
		}
	}
}

// TestTellTooMuch: a note that the server never accepts is dropped with a line and does not stop others. What comes while too
// much waits is dropped with one line and counted until all is stored.
func TestTellTooMuch(t *testing.T) {
	t.Parallel()
	var log scptest.Log
	q := start(t, Options{URL: external(t), Node: "a", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p, err := q.NewPair(PairOptions{Name: "ct", Lease: time.Minute, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p.Tell("large", make([]byte, 2<<20))
	for i := range 31 {
		p.Tell(fmt.Sprintf("small.%d", i), make([]byte, 1_000_000))
	}
	p.Tell("small.0", make([]byte, 1_000_000)) // takes no more room
	if s := p.Standing(); s.Untold != 32 || s.Dropped != 0 {
		t.Errorf("%d untold, %d dropped", s.Untold, s.Dropped)
	}
	p.Tell("one", make([]byte, 1_000_000))
	p.Tell("two", make([]byte, 1_000_000))
	if s := p.Standing(); s.Untold != 32 || s.Dropped != 2 || strings.Count(log.String(), "what comes is dropped") != 1 {
		t.Errorf("%d untold, %d dropped; %s", s.Untold, s.Dropped, &log)
	}
	if err := p.tellNow(t.Context()); err != nil {
		t.Error(err)
	}
	if s := p.Standing(); s.Untold != 0 || s.Dropped != 0 || p.untold.bytes != 0 || strings.Count(log.String(), "larger than the NATS server accepts") != 1 {
		t.Errorf("%d untold, %d dropped, %d bytes; %s", s.Untold, s.Dropped, p.untold.bytes, &log)
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
		a.untold.add(fmt.Sprintf("sent.%d", i), []byte("x"))
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
