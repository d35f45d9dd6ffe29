package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/pipeline/volume"
	"ichor/reporting/events"
	"ichor/reporting/web"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/ul"
)

// pairNode starts a node of a pair that delivers to pacs, and returns what stops it in order.
func (c *cluster) pairNode(pacs *receiver.Receiver, dir string, edit func(*config.Config)) (n *Node, stop func()) {
	c.t.Helper()
	k := c.config(time.Minute)
	k.State = dir
	k.Assembly.QuietPeriod = time.Second
	k.Pair.Name, k.Pair.Lease, k.Pair.Wait = "ct", 4*time.Second, time.Minute
	k.Delivery.FirstRetry, k.Delivery.MaxRetry = 50*time.Millisecond, 200*time.Millisecond
	k.Destinations = []config.Destination{{Name: "pacs", Address: pacs.Address(), AETitle: "PACS", Associations: 1}}
	if edit != nil {
		edit(&k)
	}
	if err := k.Validate(); err != nil {
		c.t.Fatal(err)
	}
	e, _, _ := standInEngine(c.t, 0, nil)
	n, err := New(c.t.Context(), Options{Config: k, Version: "1", Engine: e, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(n.Run(ctx), n.Close()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(stop)
	return n, stop
}

func (c *cluster) pacs(stored func(receiver.Instance)) *receiver.Receiver {
	c.t.Helper()
	pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: c.t.TempDir(), Stored: stored})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { pacs.Close() })
	return pacs
}

// pair starts two nodes; the first has the lease.
func (c *cluster) pair(edit func(*config.Config)) (pacs *receiver.Receiver, a, b *Node, stopA, stopB func()) {
	c.t.Helper()
	pacs = c.pacs(nil)
	a, stopA = c.pairNode(pacs, c.t.TempDir(), edit)
	until(c.t, "the first node has the lease", func() bool { return a.pair.Standing().Held && a.pair.Standing().Caught })
	b, stopB = c.pairNode(pacs, c.t.TempDir(), edit)
	until(c.t, "the nodes see each other", func() bool {
		return b.pair.Standing().Caught && len(b.pair.others()) == 1 && len(a.pair.others()) == 1
	})
	return pacs, a, b, stopA, stopB
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 3*time.Minute { // longer than the ack_wait of these nodes, after which a job that was not taken in time comes again
			t.Fatalf("never: %s", what)
		}
	}
}

// headOf makes a small head.
func headOf() (objects []*dcm.DataSet, id state.CaseID) {
	objects, truth := synthetic.Head(synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-30, 10, 5}, RadiusMM: 20}}}).DataSets(synthetic.WriteOptions{})
	return objects, state.IDOf(truth.StudyInstanceUID)
}

// store sends objects to a node.
func store(t *testing.T, n *Node, objects []*dcm.DataSet) {
	t.Helper()
	scu, err := dimse.Connect(t.Context(), dimse.ConnectOptions{Address: n.Addr(), CallingAE: "CT", CalledAE: "ICHOR",
		Contexts: []ul.ProposedContext{{AbstractSyntax: dcm.CTImageStorage, TransferSyntaxes: []string{dcm.ExplicitVRLittleEndian}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range objects {
		if _, err := scu.StoreDataSet(t.Context(), d, dcm.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
	}
	if err := scu.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// allIn reports whether a node has deliveries of a case, and all are in a state.
func allIn(n *Node, id state.CaseID, want state.DeliveryState) bool {
	list, err := n.store.Deliveries(id)
	return err == nil && len(list) > 0 && !slices.ContainsFunc(list, func(d state.Delivery) bool { return d.State != want })
}

// once checks that the PACS has so many objects, and got each of them once.
func once(t *testing.T, pacs *receiver.Receiver, objects int) {
	t.Helper()
	list := pacs.Objects()
	if len(list) != objects {
		t.Errorf("the PACS has %d objects, want %d", len(list), objects)
	}
	for _, o := range list {
		if o.Count != 1 {
			t.Errorf("an object was stored %d times", o.Count)
		}
	}
}

// TestPair: of two nodes that receive the same study, one sends its result, and both know that it is stored. When that node is
// stopped the other one sends, and the first sends nothing twice when it is back.
func TestPair(t *testing.T) {
	c := newCluster(t)
	pacs, a, b, stopA, _ := c.pair(nil)
	first, one := headOf()
	store(t, a, first)
	store(t, b, first)
	until(t, "stored", func() bool { return allIn(a, one, state.Stored) && allIn(b, one, state.Stored) })
	sent, err := a.store.Deliveries(one)
	if err != nil {
		t.Fatal(err)
	}
	n := len(sent)
	once(t, pacs, n)
	for _, d := range sent {
		other, err := b.store.Delivery(d.DeliveryKey)
		if err != nil || other.Cause != state.Elsewhere || d.Cause != "" {
			t.Errorf("%+v on the second node, %v; %+v on the first", other, err, d)
		}
	}
	if p, q := *a.pairing(), *b.pairing(); !p.Holds || q.Holds || !strings.Contains(p.Says(), "this node has the lease and sends results") || !strings.Contains(q.Says(), "this node is ready to take over") {
		t.Errorf("%q, %q", p.Says(), q.Says())
	}
	stopA() // gives the lease back
	until(t, "the second node has the lease", func() bool { return b.pair.Standing().Held })
	second, two := headOf()
	store(t, b, second)
	until(t, "stored by the second node", func() bool { return allIn(b, two, state.Stored) })
	once(t, pacs, 2*n)
	until(t, "alarm", func() bool {
		return slices.ContainsFunc(b.pairAlarms(now()), func(x web.Alarm) bool { return x.Name == "pair" && strings.Contains(x.Text, "nothing takes over") })
	})
	metrics := httptest.NewRecorder()
	b.observer.ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"ichor_pair_lease 1", "ichor_pair_others 0", `ichor_alarm{name="pair",severity="warning",subject=""} 1`} {
		if !strings.Contains(metrics.Body.String(), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}

	a, _ = c.pairNode(pacs, a.config.State, nil)
	store(t, a, second) // its sender kept it while the node was away
	until(t, "the first node knows", func() bool { return allIn(a, two, state.Stored) })
	if !b.pair.Standing().Held {
		t.Error("the node that came back took the lease")
	}
	once(t, pacs, 2*n)
	leases := 0
	if err := events.Read(EventsDir(b.config), 0, func(e events.Event) error {
		if e.Kind == events.Lease && strings.Contains(e.Outcome, "this node has the lease") {
			leases++
		}
		return nil
	}); err != nil || leases != 1 {
		t.Errorf("%d events of a lease, %v", leases, err)
	}
}

// TestPairOneReceives: a study that only the node without the lease has received is sent by it, without waiting for the other.
func TestPairOneReceives(t *testing.T) {
	c := newCluster(t)
	pacs, _, b, _, _ := c.pair(nil)
	objects, id := headOf()
	store(t, b, objects)
	until(t, "stored", func() bool { return allIn(b, id, state.Stored) })
	if b.pair.Standing().Held {
		t.Error("it has the lease")
	}
	once(t, pacs, len(pacs.Objects()))
}

// TestPairParts: a node that received part of a study sends nothing of it when the other one has the whole. When each has another
// part, none is sent, and both say so.
func TestPairParts(t *testing.T) {
	c := newCluster(t)
	pacs, a, b, _, stopB := c.pair(nil)
	objects, id := headOf()
	store(t, b, objects)
	store(t, a, objects[:len(objects)-3]) // after the other one, else it may have sent its result before it hears of the whole
	until(t, "stored by the node without the lease", func() bool { return allIn(b, id, state.Stored) })
	until(t, "withdrawn by the other", func() bool { return allIn(a, id, state.Superseded) })
	n := len(pacs.Objects())
	once(t, pacs, n)
	if s := append(a.pairAlarms(now()), b.pairAlarms(now())...); len(s) > 0 {
		t.Errorf("alarms %+v", s)
	}

	objects, id = headOf()
	store(t, a, objects[:16])
	store(t, b, objects[16:])
	until(t, "both pending", func() bool { return allIn(a, id, state.Pending) && allIn(b, id, state.Pending) })
	stopB()
	until(t, "alarm", func() bool {
		return slices.ContainsFunc(a.pairAlarms(now()), func(x web.Alarm) bool {
			return x.Name == "pair-partial" && strings.Contains(x.Remedy, "send these studies again")
		})
	})
	if allIn(a, id, state.Stored) {
		t.Error("the result of a part was sent")
	}
	once(t, pacs, n)
	store(t, a, objects)      // what the alarm asks for
	var last []state.Delivery // of the whole
	until(t, "the whole is sent", func() bool {
		all, err := a.store.Deliveries(id)
		last = slices.DeleteFunc(all, func(d state.Delivery) bool { return d.Revision < 2 })
		return err == nil && len(last) > 0 && !slices.ContainsFunc(last, func(d state.Delivery) bool { return d.State != state.Stored })
	})
	once(t, pacs, n+len(last))
}

// TestPairWithoutServer: while no node reaches the NATS server, both send what waits. The PACS gets the same instances.
func TestPairWithoutServer(t *testing.T) {
	c := newCluster(t)
	pacs, a, b, _, _ := c.pair(nil)
	pacs.Reject(1<<30, true)
	objects, id := headOf()
	store(t, a, objects)
	store(t, b, objects)
	until(t, "both pending", func() bool { return allIn(a, id, state.Pending) && allIn(b, id, state.Pending) })
	c.stop()
	until(t, "both alone", func() bool { return a.pair.Standing().Alone && b.pair.Standing().Alone })
	pacs.Reject(0, true)
	until(t, "both sent", func() bool { return allIn(a, id, state.Stored) && allIn(b, id, state.Stored) })
	list, err := a.store.Deliveries(id)
	if have := len(pacs.Objects()); err != nil || have != len(list) {
		t.Errorf("the PACS has %d objects, want %d; %v", have, len(list), err)
	}
	if !slices.ContainsFunc(a.pairAlarms(now()), func(x web.Alarm) bool { return strings.Contains(x.Text, "the lease cannot be read") }) {
		t.Errorf("%+v", a.pairAlarms(now()))
	}
}

// TestPairHalfSent: the other node received more of a study and is gone before all of its result is sent. This node has an alarm
// until the rest is sent.
func TestPairHalfSent(t *testing.T) {
	c := newCluster(t)
	var pacs *receiver.Receiver
	down := sync.OnceFunc(func() { pacs.Reject(1<<30, true); pacs.Abort(1 << 30) })
	pacs = c.pacs(func(receiver.Instance) { down() })
	a, _ := c.pairNode(pacs, c.t.TempDir(), nil)
	b, stopB := c.pairNode(pacs, c.t.TempDir(), nil)
	objects, id := headOf()
	store(t, b, objects)
	store(t, a, objects[:len(objects)-3])
	partial := func() bool {
		return slices.ContainsFunc(a.pairAlarms(now()), func(x web.Alarm) bool { return x.Name == "pair-partial" && x.Severity == web.Critical })
	}
	until(t, "withdrawn", func() bool { return allIn(a, id, state.Superseded) })
	stopB()
	until(t, "alarm", partial)
	pacs.Reject(0, true)
	pacs.Abort(0)
	b, _ = c.pairNode(pacs, b.config.State, nil)
	until(t, "stored", func() bool { return allIn(b, id, state.Stored) })
	until(t, "no alarm", func() bool { a.pair.mu.Lock(); defer a.pair.mu.Unlock(); return len(a.pair.partial) == 0 })
	if !allIn(a, id, state.Superseded) || partial() {
		t.Error("the part was sent, or the alarm stays")
	}
}

// TestPairLargeStudy: a study of any size is told in notes that a NATS server accepts, also while it grows.
func TestPairLargeStudy(t *testing.T) {
	hash := func(i int) uint64 {
		sum := sha256.Sum256([]byte(fmt.Sprint("1.2.", i)))
		return binary.BigEndian.Uint64(sum[:])
	}
	there := &paired{self: "b", work: make(chan struct{}, 1), received: map[state.CaseID]map[string]instances{}, unsettled: map[state.CaseID]bool{}}
	stored := map[string][]byte{}
	var order []string
	for _, n := range []int{0, 1, mostInNote, mostInNote + 1, 50000, 200000, 30000, 10} { // at the end, objects were removed
		r := receivedNote{Node: "a", Case: "c"}
		for i := range n {
			r.Instances = append(r.Instances, hash(i))
		}
		slices.Sort(r.Instances)
		parts := r.notes()
		if n <= mostInNote && len(parts) != 1 || n > 0 && len(parts) > 4*n/mostInNote+2 {
			t.Errorf("%d notes for %d instances", len(parts), n)
		}
		for _, part := range parts {
			raw, err := json.Marshal(part)
			if err != nil || len(raw) > 1<<19 {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
			key := part.key()
			there.heard(key, raw, now())
			order = append(slices.DeleteFunc(order, func(k string) bool { return k == key }), key)
			stored[key] = raw
		}
		if !slices.Equal(there.received["c"]["a"].list, r.Instances) {
			t.Errorf("of %d instances the other node knows %d", n, len(there.received["c"]["a"].list))
		}
		late := &paired{self: "b", work: make(chan struct{}, 1), received: map[state.CaseID]map[string]instances{}, unsettled: map[state.CaseID]bool{}}
		for _, key := range order { // a node that starts later reads the newest of each key, in the order in which they were stored
			late.heard(key, stored[key], now())
		}
		if !slices.Equal(late.received["c"]["a"].list, r.Instances) {
			t.Errorf("of %d instances a node that starts later knows %d", n, len(late.received["c"]["a"].list))
		}
	}
	for _, bad := range []receivedNote{{Node: "a", Case: "c", Bits: 64}, {Node: "a", Case: "c", Bits: -1}, {Node: "a", Case: "c", Bits: 2, Part: 4}} {
		if raw, err := json.Marshal(bad); err != nil {
			t.Error(err)
		} else if there.heard("received.x", raw, now()); len(there.received["c"]["a"].list) != 10 {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestPairReceived: what this node told of a study before its start is compared with its spool, and the other node is told of
// what was missing. Objects that were removed after their time count as received.
func TestPairReceived(t *testing.T) {
	p := &paired{self: "a", work: make(chan struct{}, 1), received: map[state.CaseID]map[string]instances{}, unsettled: map[state.CaseID]bool{}}
	hear := func(node string, list ...uint64) {
		t.Helper()
		raw, err := json.Marshal(receivedNote{Node: node, Case: "c", Instances: list})
		if err != nil {
			t.Fatal(err)
		}
		p.heard("received.c."+node, raw, now())
	}
	found := func(list ...uint64) bool { return p.check(receivedNote{Node: "a", Case: "c", Instances: list}, now()) }
	hear("a", 1, 2)
	hear("b", 1, 2, 3)
	if got := p.share("c"); got != lessHere {
		t.Errorf("before the spool was read: %d", got)
	}
	if !found(1, 2, 3) {
		t.Error("the other node is not told what was missing")
	}
	hear("a", 1, 2) // an echo
	if got := p.share("c"); got != same {
		t.Errorf("the spool has the whole study: %d", got)
	}
	if found(1, 2, 3) || found() {
		t.Error("told again")
	}
	if got := p.share("c"); got != same {
		t.Errorf("after the objects were removed: %d", got)
	}
}

// TestPairMay is the table of who may send.
func TestPairMay(t *testing.T) {
	all, part, rest := []uint64{1, 2, 3}, []uint64{1, 2}, []uint64{2, 3}
	at := time.Now()
	for _, tt := range []struct {
		name         string
		mine, theirs []uint64
		standing     queue.Standing
		after        time.Duration
		want         bool
	}{
		{"holder", all, all, queue.Standing{Held: true, Caught: true}, 0, true},
		{"holder that has not read what was told", all, all, queue.Standing{Held: true}, 0, false},
		{"the other holds", all, all, queue.Standing{Caught: true}, 0, false},
		{"the other holds and does not send", all, all, queue.Standing{Caught: true}, 2 * time.Minute, true},
		{"the other holds and has nothing", all, nil, queue.Standing{Caught: true}, 0, true},
		{"the other holds and has a part", all, part, queue.Standing{Caught: true}, 0, true},
		{"holder with a part", part, all, queue.Standing{Held: true, Caught: true}, 0, false},
		{"holder with a part, long", part, all, queue.Standing{Held: true, Caught: true}, time.Hour, false},
		{"each has another part", part, rest, queue.Standing{Held: true, Caught: true}, 0, false},
		{"no server", all, all, queue.Standing{Alone: true}, 0, true},
		{"no server, a part", part, all, queue.Standing{Alone: true}, 0, false},
	} {
		p := &paired{self: "a", wait: time.Minute, work: make(chan struct{}, 1), received: map[state.CaseID]map[string]instances{"c": {"a": {list: tt.mine}, "b": {list: tt.theirs}}},
			sent: map[state.CaseID]map[state.DeliveryKey]sentNote{}, waiting: map[state.CaseID]time.Time{}, partial: map[state.CaseID]time.Time{}, unsettled: map[state.CaseID]bool{}}
		d := state.Delivery{Case: "c", State: state.Pending, DeliveryKey: state.DeliveryKey{SOPInstanceUID: "1", Destination: "pacs"}}
		p.may(d, tt.standing, at)
		if got := p.may(d, tt.standing, at.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
		if tt.want { // what the other has sent is not sent again, unless the destination lost it
			raw, err := json.Marshal(sentNote{Node: "b", Case: "c", Instance: "1", Destination: "pacs"})
			if err != nil {
				t.Fatal(err)
			}
			p.heard("sent.x", raw, at)
			if p.may(d, tt.standing, at.Add(tt.after)) {
				t.Errorf("%s: sent twice", tt.name)
			}
			if d.Resent = 1; !p.may(d, tt.standing, at.Add(tt.after)) {
				t.Errorf("%s: not sent again after the destination did not commit to it", tt.name)
			}
		}
	}
}
