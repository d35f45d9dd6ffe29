package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"ichor/config"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/events"
	"ichor/scp/spool"
)

// paired is the other node of a pair, as this node knows it. Each node tells which instances of a study it has received, and
// which results a destination has stored. The node with the lease sends; the other one sends
//
//   - what the first one has not sent, when it is gone or has not done so for pair.wait
//   - results of studies that the first one did not receive, or received in part
//
// A node that received less of a study than the other one sends nothing of it: part of a head would be reported as if it were
// the whole. While no node reaches the NATS server, both send; a destination then gets the same instances twice.
type paired struct {
	*queue.Pair
	self string // this node
	wait time.Duration

	work chan struct{} // noted or unsettled is not empty

	mu        sync.Mutex
	received  map[state.CaseID]map[string]instances           // by node
	sent      map[state.CaseID]map[state.DeliveryKey]sentNote // by other nodes
	waiting   map[state.CaseID]time.Time                      // since when results wait for the other node
	partial   map[state.CaseID]time.Time                      // since when this node knows that it has only part of the study
	noted     map[string]bool                                 // studies to tell about
	unsettled map[state.CaseID]bool                           // cases whose deliveries must be compared with sent
}

// sentNote is what a node tells of an object that a destination has stored.
type sentNote struct {
	Node        string       `json:"node"`
	Case        state.CaseID `json:"case"`
	Instance    string       `json:"instance"`
	Destination string       `json:"destination"`
	Committed   bool         `json:"committed,omitempty"`
	Left        int          `json:"left,omitempty"` // objects of the case that the node still had to send
	told        time.Time
}

// aboutNode is what a node tells of itself.
type aboutNode struct {
	Node         string   `json:"node"`
	Host         string   `json:"host"`
	Lease        string   `json:"lease"`
	Destinations []string `json:"destinations"`
	identity
}

// tellEvery is the shortest time between two notes about the same study while it is received.
const tellEvery = 300 * time.Millisecond

func (n *Node) aboutMe() aboutNode {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return aboutNode{n.store.Node(), host, n.config.Pair.Lease.String(), destinationNames(n.config), n.engine.identity(n.version)}
}

// openPair takes the place of this node in its pair.
func (n *Node) openPair() error {
	c := n.config.Pair
	if c.Name == "" {
		return nil
	}
	about, err := json.Marshal(n.aboutMe())
	if err != nil {
		return err
	}
	p := &paired{self: n.store.Node(), wait: c.Wait, work: make(chan struct{}, 1), received: map[state.CaseID]map[string]instances{},
		sent: map[state.CaseID]map[state.DeliveryKey]sentNote{}, waiting: map[state.CaseID]time.Time{}, partial: map[state.CaseID]time.Time{},
		noted: map[string]bool{}, unsettled: map[state.CaseID]bool{}}
	p.Pair, err = n.queue.NewPair(queue.PairOptions{Name: c.Name, Lease: c.Lease, Keep: n.config.Delivery.MaxAge + 24*time.Hour, About: string(about),
		Heard: p.heard, Changed: n.standingChanged})
	n.pair = p
	return err
}

// runPair works until ctx is done and the last result is sent.
func (n *Node) runPair(ctx context.Context) error {
	if n.pair == nil {
		return n.deliverer.Run(ctx)
	}
	paired, leave := context.WithCancel(context.WithoutCancel(ctx))
	settling, settled := context.WithCancel(paired)
	var pair, settle sync.WaitGroup
	pair.Go(func() { n.pair.Run(paired) })
	settle.Go(func() { n.settleAll(settling) })
	err := n.deliverer.Run(ctx)
	settled()
	settle.Wait() // so that the pair is given the last notes before it ends
	leave()
	pair.Wait()
	return err
}

func (n *Node) standingChanged() {
	s := n.pair.Standing()
	what := "the other node has the lease"
	switch {
	case s.Alone:
		what = "the NATS server is not reached; this node sends without a lease"
	case s.Held:
		what = "this node has the lease and sends results"
	case s.Holder == "":
		what = "no node is known to have the lease"
	}
	n.log.Info("pair", "name", n.config.Pair.Name, "standing", what)
	n.events.Append(events.Event{Kind: events.Lease, Outcome: what, Detail: "pair " + n.config.Pair.Name})
	n.deliverer.Wake()
	n.happened()
}

// note tells the other node about a study, soon.
func (p *paired) note(o spool.Object) {
	if p == nil || o.CallingAE == config.CanaryTitle {
		return
	}
	p.mu.Lock()
	p.noted[o.StudyInstanceUID] = true
	p.mu.Unlock()
	p.wake()
}

// settle compares the deliveries of a case with what other nodes have sent, soon.
func (p *paired) settle(id state.CaseID) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.unsettled[id] = true
	p.mu.Unlock()
	p.wake()
}

func (p *paired) wake() {
	select {
	case p.work <- struct{}{}:
	default:
	}
}

// settleAll does what note and settle asked for, until ctx is done.
func (n *Node) settleAll(ctx context.Context) {
	p := n.pair
	prune := time.NewTicker(time.Hour)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			n.tellStudies()
			return
		case <-prune.C:
			p.forget(now().Add(-n.config.Delivery.MaxAge - 24*time.Hour))
			continue
		case <-p.work:
		}
		n.tellStudies()
		p.mu.Lock()
		cases := p.unsettled
		p.unsettled = map[state.CaseID]bool{}
		p.mu.Unlock()
		for id := range cases {
			if err := n.settleCase(id); err != nil {
				n.log.Error("not recorded what the other node of the pair has sent, will be retried", "case", id, "err", err)
				p.settle(id)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(tellEvery):
		}
	}
}

// pairSent tells the other node what a destination has stored or committed to.
func (n *Node) pairSent(e deliver.Event) {
	if n.pair == nil || e.Outcome != deliver.Stored && e.Outcome != deliver.Committed || e.Delivery.Destination == n.canary.destination() {
		return
	}
	d, err := n.store.Delivery(e.Delivery.DeliveryKey)
	if err != nil {
		return // removed meanwhile
	}
	all, err := n.store.Deliveries(d.Case)
	if err != nil {
		n.log.Error("the other node of the pair is not told of an object that was sent", "case", d.Case, "err", err)
		return
	}
	left := 0
	for _, other := range all {
		if other.State == state.Pending || other.State == state.Dead {
			left++
		}
	}
	raw, err := json.Marshal(sentNote{Node: n.pair.self, Case: d.Case, Instance: d.SOPInstanceUID, Destination: d.Destination, Committed: e.Outcome == deliver.Committed, Left: left})
	if err != nil {
		return
	}
	sum := sha256.Sum256([]byte(d.Destination + "\x00" + d.SOPInstanceUID))
	n.pair.Tell("sent."+hex.EncodeToString(sum[:16]), raw)
}

// heard learns what a node has told.
func (p *paired) heard(key string, value []byte, told time.Time) {
	if strings.HasPrefix(key, "received.") {
		var note receivedNote
		if json.Unmarshal(value, &note) == nil {
			p.keep(note, told)
			p.settle(note.Case)
		}
		return
	}
	var note sentNote
	if json.Unmarshal(value, &note) != nil || note.Node == p.self {
		return
	}
	note.told = told
	p.mu.Lock()
	if p.sent[note.Case] == nil {
		p.sent[note.Case] = map[state.DeliveryKey]sentNote{}
	}
	p.sent[note.Case][state.DeliveryKey{SOPInstanceUID: note.Instance, Destination: note.Destination}] = note
	p.mu.Unlock()
	p.settle(note.Case)
}

// forget drops what was told before a time.
func (p *paired) forget(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, nodes := range p.received {
		for node, i := range nodes {
			if i.told.Before(before) {
				delete(nodes, node)
			}
		}
		if len(nodes) == 0 {
			delete(p.received, id)
			delete(p.waiting, id)
			delete(p.partial, id)
		}
	}
	for id, notes := range p.sent {
		for key, s := range notes {
			if s.told.Before(before) {
				delete(notes, key)
			}
		}
		if len(notes) == 0 {
			delete(p.sent, id)
		}
	}
}
