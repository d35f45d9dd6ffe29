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

// Times of a worker of another machine.
const (
	pullEvery  = 250 * time.Millisecond // between two looks for jobs
	nodesEvery = 5 * time.Second        // between two looks for nodes
)

// Origin is the node that a job belongs to.
type Origin struct {
	Node   string
	Serves string // URL at which it serves the studies of its jobs
}

// PullOptions configure Pull.
type PullOptions struct {
	// Agree is called for each node with Options.Serves, again and again. Jobs of a node are taken while it returns nil.
	Agree func(ctx context.Context, o Origin) error
	// Analyse runs one job of a node. Failed and PutOff are as in Options; the node's state decides.
	Analyse func(ctx context.Context, o Origin, job Job) error
	Failed  func(ctx context.Context, o Origin, job Job, reason error) (tries int, again bool, err error)
	PutOff  func(ctx context.Context, o Origin, job Job, reason error) error
}

// Puller takes jobs of all nodes that share the server at Options.URL, urgent ones first. The nodes create stream and
// consumers; a Puller only uses them. It must extend the deadlines of jobs by the same AckWait as the nodes.
type Puller struct {
	*Queue
	opts PullOptions

	mu      sync.Mutex
	origins map[string]Origin // by node
	sources []source
	looked  time.Time
	told    map[string]string // why jobs of a node are not taken, by node
}

// source are the consumers of one node.
type source struct {
	origin          Origin
	urgent, routine jetstream.Consumer
}

// Pull connects to the server at o.URL.
func Pull(o Options, p PullOptions) (*Puller, error) {
	if o.URL == "" {
		return nil, errors.New("queue.url is empty: a worker needs the NATS server of its nodes")
	}
	puller := &Puller{opts: p, origins: map[string]Origin{}, told: map[string]string{}}
	o.Failed = func(ctx context.Context, job Job, reason error) (int, bool, error) {
		return p.Failed(ctx, puller.origin(job), job, reason)
	}
	o.PutOff = func(ctx context.Context, job Job, reason error) error {
		return p.PutOff(ctx, puller.origin(job), job, reason)
	}
	o.setDefaults()
	q := &Queue{opts: o, look: make(chan struct{}, 1), running: map[string]bool{}}
	q.take = puller.next
	l, err := q.connect()
	if err != nil {
		return nil, err
	}
	q.link.Store(l)
	puller.Queue = q
	return puller, nil
}

// Work passes jobs to PullOptions.Analyse as Queue.Work does.
func (p *Puller) Work(ctx context.Context, workers int) error {
	return p.Queue.Work(ctx, workers, func(ctx context.Context, job Job) error { return p.opts.Analyse(ctx, p.origin(job), job) })
}

// Refused returns why jobs of nodes are not taken, by node.
func (p *Puller) Refused() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]string{}
	for node, why := range p.told {
		out[node] = why
	}
	return out
}

func (p *Puller) origin(job Job) Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.origins[job.node]
}

// next returns one job, urgent ones of all nodes first; nil after a pause if there was none.
func (p *Puller) next(ctx context.Context) (jetstream.Msg, error) {
	sources, err := p.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, lane := range []func(source) jetstream.Consumer{func(s source) jetstream.Consumer { return s.urgent }, func(s source) jetstream.Consumer { return s.routine }} {
		for _, s := range sources {
			batch, err := lane(s).FetchNoWait(1)
			if err != nil {
				return nil, fmt.Errorf("fetching a job: %w", err)
			}
			if msg := <-batch.Messages(); msg != nil {
				return msg, nil
			}
		}
	}
	select {
	case <-time.After(pullEvery):
	case <-ctx.Done():
	}
	return nil, nil
}

// nodes returns the consumers of all nodes that agree with this worker.
func (p *Puller) nodes(ctx context.Context) ([]source, error) {
	p.mu.Lock()
	sources, fresh := p.sources, time.Since(p.looked) < nodesEvery
	if !fresh {
		p.looked = time.Now() // other workers use the previous list meanwhile
	}
	p.mu.Unlock()
	if fresh {
		return sources, nil
	}
	l := p.link.Load()
	if l == nil {
		return nil, p.closed()
	}
	stream, err := l.js.Stream(ctx, jobsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil // no node has connected yet
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", jobsStream, err)
	}
	sources = nil
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		node, ok := strings.CutPrefix(info.Config.Durable, routineConsumer)
		o := Origin{node, info.Config.Metadata[servesKey]}
		if !ok || o.Serves == "" {
			continue
		}
		if !p.agrees(ctx, o) {
			continue
		}
		s := source{origin: o}
		if s.urgent, err = stream.Consumer(ctx, urgentConsumer+node); err != nil {
			continue // the node has just begun to create them
		}
		if s.routine, err = stream.Consumer(ctx, routineConsumer+node); err != nil {
			continue
		}
		sources = append(sources, s)
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("consumers of stream %s: %w", jobsStream, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = sources
	for _, s := range sources {
		p.origins[s.origin.Node] = s.origin
	}
	return sources, nil
}

// agrees asks whether jobs of a node may be taken, and logs each new answer.
func (p *Puller) agrees(ctx context.Context, o Origin) bool {
	why := ""
	if err := p.opts.Agree(ctx, o); err != nil {
		why = err.Error()
	}
	p.mu.Lock()
	before, known := p.told[o.Node]
	if why == "" {
		delete(p.told, o.Node)
	} else {
		p.told[o.Node] = why
	}
	p.mu.Unlock()
	switch {
	case why != "" && why != before:
		p.Queue.opts.Logger.Warn("jobs of a node are not taken", "peer", o.Serves, "err", why)
	case why == "" && known:
		p.Queue.opts.Logger.Info("jobs of a node are taken again", "peer", o.Serves)
	}
	return why == ""
}
