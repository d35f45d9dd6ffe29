package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// PairOptions configure a Pair.
type PairOptions struct {
	Name  string        // of the pair, the same on both nodes
	Lease time.Duration // a holder that is silent for this long has lost the lease
	Keep  time.Duration // how long what Tell stores is kept
	About string        // what the other node learns about this one while both are alive

	// Heard is called for everything that a node of the pair has told, this one included, also before this start. May be nil.
	Heard func(key string, value []byte, told time.Time)
	// Changed is called after the standing of this node has changed. May be nil.
	Changed func()
}

// Pair is the place of a node among the two nodes that take over from each other. A lease in a key-value bucket says which of
// them sends results; what they must know of each other is in a second bucket:
//
//	ICHOR_LEASE_<name>  holder         the node with the lease; the entry is gone after PairOptions.Lease
//	                    alive.<node>   PairOptions.About; gone after PairOptions.Lease
//	ICHOR_PAIR_<name>   see Tell; gone after PairOptions.Keep
//
// A holder counts its lease from before it asked for it, and the server from when it stored it: the holder is the first to
// see it end. Both buckets have as many replicas as Options.Replicas.
type Pair struct {
	q    *Queue
	o    PairOptions
	look chan struct{} // requests a look at the lease
	full chan struct{} // there is something to tell

	mu       sync.Mutex
	holder   string    // node with the lease, as last seen
	until    time.Time // this node has the lease for this long
	revision uint64    // of the lease, while this node has it
	since    time.Time // of holder
	reached  time.Time // when the server last answered about the lease
	caught   bool      // Heard was called for everything that was told before
	others   map[string]other
	untold   map[string][]byte // by key
	open     map[string]jetstream.KeyValue
}

// other is another node of the pair.
type other struct {
	about string
	seen  time.Time
}

// Standing is what a node of a pair may do at the moment.
type Standing struct {
	Held    bool      // this node has the lease
	Holder  string    // node with the lease, as last seen; empty: none is known
	Since   time.Time // when Holder got it, as far as this node has seen
	Alone   bool      // the server was not reached for a whole lease: nobody can say who has it
	Caught  bool      // this node knows all that the other one has told
	Others  []string  // PairOptions.About of the other nodes that are alive
	Untold  int       // what Tell could not store yet
	Checked time.Time // when the server last answered; zero: never
}

// mostUntold bounds what waits for a server that is not reached.
const mostUntold = 10000

// NewPair returns the place of this node in a pair; it works while Run runs. The queue must have an external server.
func (q *Queue) NewPair(o PairOptions) (*Pair, error) {
	if q.opts.URL == "" || !isToken(o.Name) || o.Lease <= 0 || o.Keep <= 0 {
		return nil, fmt.Errorf("pair %q with a lease of %v: a name, times and an external NATS server are needed", o.Name, o.Lease)
	}
	if o.Heard == nil {
		o.Heard = func(string, []byte, time.Time) {}
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Pair{q: q, o: o, look: make(chan struct{}, 1), full: make(chan struct{}, 1), reached: time.Now(), others: map[string]other{}, untold: map[string][]byte{}, open: map[string]jetstream.KeyValue{}}, nil
}

// Standing returns what this node may do now.
func (p *Pair) Standing() Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := Standing{Held: now.Before(p.until), Holder: p.holder, Since: p.since, Alone: now.Sub(p.reached) > p.o.Lease, Caught: p.caught, Untold: len(p.untold), Checked: p.reached}
	if s.Holder == p.q.opts.Node && !s.Held { // it could not be renewed
		s.Holder, s.Since = "", time.Time{}
	}
	for _, o := range p.others {
		if now.Sub(o.seen) < p.o.Lease {
			s.Others = append(s.Others, o.about)
		}
	}
	return s
}

// Tell stores a value under a key for both nodes. It does not block: what cannot be stored is stored later, but not after a
// crash. key has parts of letters and digits with dots between them.
func (p *Pair) Tell(key string, value []byte) {
	p.mu.Lock()
	if _, again := p.untold[key]; again || len(p.untold) < mostUntold {
		p.untold[key] = value
	}
	p.mu.Unlock()
	nudge(p.full)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run keeps the lease, or waits for it, until ctx is done. Then it tells what is left, and gives the lease back.
func (p *Pair) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { p.watch(ctx, p.leases, p.leaseChanged) })
	running.Go(func() { p.watch(ctx, p.records, p.recordHeard) })
	var telling sync.WaitGroup
	telling.Go(func() { p.tellAll(ctx) })
	tick := time.NewTicker(p.o.Lease / 3)
	defer tick.Stop()
	failed, told := false, p.Standing()
	for {
		err := p.renew(ctx)
		if err != nil { // the buckets may be gone, with their server
			p.mu.Lock()
			clear(p.open)
			p.mu.Unlock()
		}
		if ctx.Err() == nil && (err != nil) != failed {
			if failed = err != nil; failed {
				p.q.opts.Logger.Warn("the lease of the pair cannot be read or renewed", "err", err)
			} else {
				p.q.opts.Logger.Info("the lease of the pair can be read again")
			}
		}
		if now := p.Standing(); now.Held != told.Held || now.Holder != told.Holder || now.Alone != told.Alone {
			told = now
			p.o.Changed()
		}
		select {
		case <-ctx.Done():
			telling.Wait() // what it could not store is stored now
			p.leave(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		case <-p.look:
		}
	}
}

// bucket opens a bucket of the pair, and creates it if there is none.
func (p *Pair) bucket(ctx context.Context, name string, keep time.Duration) (kv jetstream.KeyValue, err error) {
	p.mu.Lock()
	kv = p.open[name]
	p.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	defer func() {
		if err == nil {
			p.mu.Lock()
			p.open[name] = kv
			p.mu.Unlock()
		}
	}()
	l := p.q.link.Load()
	if l == nil {
		return nil, p.q.closed()
	}
	kv, err = l.js.KeyValue(ctx, name)
	if err == nil {
		var status jetstream.KeyValueStatus
		if status, err = kv.Status(ctx); err == nil && status.TTL() == keep && status.Config().Replicas >= p.q.opts.Replicas {
			return kv, nil
		}
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	if kv, err = l.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Description: "ichor: pair of nodes", TTL: keep, Replicas: p.q.opts.Replicas}); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return kv, nil
}

func (p *Pair) leases(ctx context.Context) (jetstream.KeyValue, error) {
	return p.bucket(ctx, "ICHOR_LEASE_"+p.o.Name, p.o.Lease)
}

func (p *Pair) records(ctx context.Context) (jetstream.KeyValue, error) {
	return p.bucket(ctx, "ICHOR_PAIR_"+p.o.Name, p.o.Keep)
}

// Keys of the bucket of leases.
const (
	holderKey = "holder"
	aliveKey  = "alive." // and the node
)

// renew says that this node is alive, and takes or extends the lease if no other node has it.
func (p *Pair) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Lease/3)
	defer cancel()
	begun, node := time.Now(), p.q.opts.Node
	kv, err := p.leases(ctx)
	if err != nil {
		return err
	}
	if _, err := kv.PutString(ctx, aliveKey+node, p.o.About); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	holder, revision := node, uint64(0)
	entry, err := kv.Get(ctx, holderKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		revision, err = kv.Create(ctx, holderKey, []byte(node))
		if errors.Is(err, jetstream.ErrKeyExists) { // the other was first; who it is is known at the next look
			holder, err = "", nil
			nudge(p.look)
		}
	case err == nil && string(entry.Value()) == node:
		revision, err = kv.Update(ctx, holderKey, []byte(node), entry.Revision())
		if isWrongSequence(err) {
			return fmt.Errorf("lease changed meanwhile: %w", err)
		}
	case err == nil:
		holder = string(entry.Value())
	}
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached = time.Now()
	if holder != p.holder {
		p.holder, p.since = holder, time.Now().UTC()
	}
	p.until, p.revision = time.Time{}, revision
	if holder == node {
		p.until = begun.Add(p.o.Lease)
	}
	return nil
}

// leave gives the lease back, so that the other node need not wait for its end.
func (p *Pair) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, min(p.o.Lease, 5*time.Second))
	defer cancel()
	err := p.tellNow(ctx)
	p.mu.Lock()
	held, revision := time.Now().Before(p.until), p.revision
	p.until = time.Time{}
	p.mu.Unlock()
	kv, opened := p.leases(ctx)
	if err = errors.Join(err, opened); opened == nil {
		if held {
			err = errors.Join(err, kv.Delete(ctx, holderKey, jetstream.LastRevision(revision)))
		}
		err = errors.Join(err, kv.Delete(ctx, aliveKey+p.q.opts.Node))
	}
	if err != nil {
		p.q.opts.Logger.Warn("the lease of the pair is not given back, the other node waits for its end", "err", err)
	}
}

// watch calls each for every entry of a bucket, the present ones first; nil: all of these have come.
func (p *Pair) watch(ctx context.Context, open func(context.Context) (jetstream.KeyValue, error), each func(jetstream.KeyValueEntry)) {
	for ctx.Err() == nil {
		kv, err := open(ctx)
		var w jetstream.KeyWatcher
		if err == nil {
			w, err = kv.WatchAll(ctx)
		}
		if err == nil {
			for entry := range w.Updates() {
				each(entry)
			}
			err = w.Stop()
		}
		if err != nil {
			p.q.opts.Logger.Debug("pair not watched", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(fetchPause):
		}
	}
}

func (p *Pair) leaseChanged(e jetstream.KeyValueEntry) {
	if e == nil {
		return
	}
	if e.Key() == holderKey {
		if e.Operation() != jetstream.KeyValuePut { // given back
			nudge(p.look)
		}
		return
	}
	node := strings.TrimPrefix(e.Key(), aliveKey)
	if node == p.q.opts.Node {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Operation() == jetstream.KeyValuePut {
		p.others[node] = other{string(e.Value()), time.Now()}
	} else {
		delete(p.others, node)
	}
}

func (p *Pair) recordHeard(e jetstream.KeyValueEntry) {
	if e != nil {
		if e.Operation() == jetstream.KeyValuePut {
			p.o.Heard(e.Key(), e.Value(), e.Created())
		}
		return
	}
	p.mu.Lock()
	first := !p.caught
	p.caught = true
	p.mu.Unlock()
	if first {
		p.o.Changed()
	}
}

// tellAll stores what Tell is given, until ctx is done.
func (p *Pair) tellAll(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.full:
		case <-again:
		}
		again = nil
		if err := p.tellNow(ctx); err != nil {
			again = time.After(fetchPause)
		}
	}
}

func (p *Pair) tellNow(ctx context.Context) error {
	p.mu.Lock()
	untold := p.untold
	p.untold = map[string][]byte{}
	p.mu.Unlock()
	if len(untold) == 0 {
		return nil
	}
	kv, err := p.records(ctx)
	for key, value := range untold {
		if err == nil {
			_, err = kv.Put(ctx, key, value)
		}
		if err == nil {
			delete(untold, key)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, value := range untold {
		if _, newer := p.untold[key]; !newer {
			p.untold[key] = value
		}
	}
	return err
}
