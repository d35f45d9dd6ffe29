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
	revision uint64    // of the lease, the newest that this node has stored; 0: another node has it
	unsure   bool      // a newer revision may have been stored
	since    time.Time // of holder
	reached  time.Time // when the server last answered about the lease
	caught   bool      // Heard was called for everything that was told before
	others   map[string]other
	untold   untold
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
	Dropped int       // what Tell did not keep since Untold was last 0, see mostUntold
	Checked time.Time // when the server last answered; zero: never
}

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
	return &Pair{q: q, o: o, look: make(chan struct{}, 1), full: make(chan struct{}, 1), reached: time.Now(), others: map[string]other{}, untold: untold{notes: map[string][]byte{}}, open: map[string]jetstream.KeyValue{}}, nil
}

// Standing returns what this node may do now.
func (p *Pair) Standing() Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := Standing{Held: now.Before(p.until), Holder: p.holder, Since: p.since, Alone: now.Sub(p.reached) > p.o.Lease, Caught: p.caught, Untold: len(p.untold.notes), Dropped: p.untold.dropped, Checked: p.reached}
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
		if err != nil && (failed || !errors.Is(err, context.DeadlineExceeded)) { // the buckets may be gone, with their server
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

// renew says that this node is alive, and takes or extends the lease if no other node has it. A request may take half of the
// lease: the first of two that is lost or late does not cost the lease.
func (p *Pair) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Lease/2)
	defer cancel()
	kv, err := p.leases(ctx)
	if err != nil {
		return err
	}
	alive := make(chan error, 1)
	go func() { // beside the lease, which must not wait for it
		_, err := kv.PutString(ctx, aliveKey+p.q.opts.Node, p.o.About)
		alive <- err
	}()
	err = p.extend(ctx, kv)
	if err = errors.Join(err, <-alive); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// extend takes or extends the lease. While this node has it, that is one request.
func (p *Pair) extend(ctx context.Context, kv jetstream.KeyValue) error {
	node := p.q.opts.Node
	p.mu.Lock()
	known, read := p.revision, p.holder != node || p.unsure
	p.unsure = true // until an answer comes
	p.mu.Unlock()
	for {
		if read {
			entry, err := kv.Get(ctx, holderKey)
			switch {
			case errors.Is(err, jetstream.ErrKeyNotFound):
				known = 0
			case err != nil:
				return err
			case string(entry.Value()) != node:
				p.answered(string(entry.Value()), 0, time.Time{})
				return nil
			default:
				known = max(known, entry.Revision()) // a server that is behind may answer with an old one
			}
		}
		revision, begun, err := uint64(0), time.Now(), error(nil)
		if known == 0 {
			revision, err = kv.Create(ctx, holderKey, []byte(node))
		} else {
			revision, err = kv.Update(ctx, holderKey, []byte(node), known)
		}
		switch refused := errors.Is(err, jetstream.ErrKeyExists) || isWrongSequence(err); {
		case err == nil:
			p.answered(node, revision, begun)
			return nil
		case refused && read && known == 0: // the other was first; who it is is known at the next look
			nudge(p.look)
			return nil
		case read || !refused:
			return err // it may have been stored all the same
		}
		read = true // the last request was stored and not answered, or the lease has ended
	}
}

// answered notes who has the lease. begun is when this node asked for it, if this node has it.
func (p *Pair) answered(holder string, revision uint64, begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reached, p.revision, p.unsure = time.Now(), revision, false
	if holder != p.holder {
		p.holder, p.since = holder, time.Now().UTC()
	}
	p.until = time.Time{}
	if holder == p.q.opts.Node {
		p.until = begun.Add(p.o.Lease)
	}
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
