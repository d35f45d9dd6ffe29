// Package deliver sends result objects to their destinations, by C-STORE (PS3.4 §B) or STOW-RS (PS3.18 §10.5). It retries until
// the destination has stored them and, if configured, committed to them (PS3.4 §J), or until it gives up.
//
// The deliveries and their progress are in state; deliver has nothing that must survive a restart. Every destination has its own
// line, so a dead or slow one never delays another. A line sends due objects in the order of state.Due, several on one
// association, over up to Destination.Associations at a time. There are four kinds of failure:
//
//	destination  unreachable, breaks the association, or is out of resources: the line pauses, with growing waits, and
//	             makes one attempt at a time. After openAfter consecutive failures the circuit is open: each attempt is
//	             a probe with a single object, until one succeeds
//	rejected     the destination permanently rejects the association, or the credentials: the same, and it counts against
//	             the objects of the attempt; after Options.RejectedTries they become dead letters
//	refused      the destination refuses this object, or no presentation context matches: the object waits, with growing
//	             waits and in another transfer syntax if possible, while others continue; after Options.RefusedTries
//	             refusals, or a permanent one, it becomes a dead letter
//	age          an object that could not be delivered within Options.MaxAge becomes a dead letter, whatever the reason
//	             and even if it was never tried; so does one to which its destination does not commit
//
// Waits and ages use the running time of the state, never the wall clock. The digest of an object is verified while it is sent:
// one that changed on disk never arrives.
//
// A dead letter keeps its cause and the text from the destination, and waits for state.Replay; Remedy says what to do. An object
// is sent again only if no answer came, the answer could not be recorded, or the destination did not commit to it. Its SOP
// Instance UID never changes, so a destination can recognise a duplicate.
package deliver

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ichor/pipeline/state"
	"ichor/scp/dimse"
)

// Destination is a node that receives results.
type Destination struct {
	Name      string // in state, logs and status; unique
	Address   string // host:port
	CalledAE  string
	CallingAE string
	URL       string // of a STOW-RS service; then Address and AE title are not used

	Associations int // simultaneous, default 1
	// Commitment requests Storage Commitment for stored objects. The result may come on the same association within
	// ReportWait, default 2 s, or later through Deliverer.Result. Without a result it is requested again after CommitWait,
	// default 1 h.
	Commitment bool
	ReportWait time.Duration
	CommitWait time.Duration

	Deflate bool // also offer segmentations in Deflated Explicit VR Little Endian, and prefer it

	ConnectTimeout  time.Duration // 0: the default of dimse
	ResponseTimeout time.Duration // 0: the default of dimse
}

// Store has the methods of *state.Store that deliver needs.
type Store interface {
	Due(destination string, n int) ([]state.Delivery, error)
	NextDue(destination string) (wait time.Duration, ok bool, err error)
	MarkStored(key state.DeliveryKey, note string, now time.Time) error
	MarkPresent(key state.DeliveryKey, note string, now time.Time) error
	MarkFailed(failures []state.Failure, now time.Time) error
	GiveUp(destination string, age time.Duration, cause state.Cause, why string, now time.Time) ([]state.Delivery, error)
	Delivery(key state.DeliveryKey) (state.Delivery, error)

	Uncommitted(destination string, n int) ([]state.Delivery, error)
	NextUncommitted(destination string) (wait time.Duration, ok bool, err error)
	AskCommitment(t state.Transaction, wait time.Duration, now time.Time) error
	Postpone(t state.Transaction, wait time.Duration, now time.Time) error
	AnswerCommitment(uid string, committed []string, failed map[string]string, r state.Resend, now time.Time) (destination string, known bool, err error)
	GiveUpCommitment(destination string, age time.Duration, why string, now time.Time) ([]state.Delivery, error)
}

// Peer has the methods that deliver needs. *dimse.SCU and *stow.Client implement it.
type Peer interface {
	Accepted(sopClass string) []string
	Store(ctx context.Context, r dimse.StoreRequest) (dimse.Status, error)
	Release(ctx context.Context) error
	Abort()
}

// committer is a Peer that supports Storage Commitment.
type committer interface {
	Action(ctx context.Context, n dimse.Notice) (dimse.Status, error)
	Await(ctx context.Context, d time.Duration) (bool, error)
}

// Options configure a Deliverer.
type Options struct {
	Destinations []Destination
	State        Store

	FirstRetry   time.Duration // wait after the first failure, doubled after each further one; default 5 s
	MaxRetry     time.Duration // longest wait; default 10 min
	MaxAge       time.Duration // default 7 days
	RefusedTries int           // default 3
	// RejectedTries is how often a destination may reject us permanently before the objects of the attempt become dead letters.
	// With the default waits, the default of 10 gives an operator about 40 minutes to configure the destination.
	RejectedTries int
	Batch         int           // objects per association; default and maximum 32
	DrainTime     time.Duration // time for the current object to finish after Run's context is done; default 30 s

	Backoff func(failures int) time.Duration // default: from FirstRetry and MaxRetry, with jitter
	Now     func() time.Time                 // time for records, default time.Now; no decision depends on it
	// Dial opens an association with a destination, default dimse.Connect with o. It must add what o does not have, such as
	// TLS, and connect to a URL.
	Dial func(ctx context.Context, d Destination, o dimse.ConnectOptions) (Peer, error)
	Open func(d state.Delivery, transferSyntax string) (io.ReadCloser, error) // default: the file, compared with its digest
	// May reports whether an object may be sent now, and commitment to it be requested. An object that may not waits: May is
	// asked again at least every second, and just before the object is sent. It must not block. nil: every object may.
	May func(d state.Delivery) bool
	// Delivered is called when a destination has stored objects of a case and none of it is due: usually once for each case. May be nil.
	Delivered func(destination string, id state.CaseID, objects int)
	Events    func(Event) // called for every attempt, from many goroutines; must not block; may be nil
	Logger    *slog.Logger
}

// Outcome of an attempt.
type Outcome string

const (
	Stored Outcome = "stored"
	Retry  Outcome = "retry"
	Dead   Outcome = "dead"

	Committed    Outcome = "committed"
	NotCommitted Outcome = "not committed"
)

// Event is one attempt to send one object, or what a destination says of Storage Commitment of one object.
type Event struct {
	Delivery state.Delivery // before the attempt; of a commitment the key only
	Outcome  Outcome
	Err      error         // nil if stored
	Took     time.Duration // of the C-STORE; 0 if none was sent
}

// Status is the current status of a destination.
type Status struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Down      bool      `json:"down"`
	Since     time.Time `json:"since,omitzero"` // of the first of these failures
	Failures  int       `json:"failures"`       // consecutive failed attempts
	LastError string    `json:"last_error,omitempty"`
	NextTry   time.Time `json:"next_try,omitzero"` // while down
	Sending   int       `json:"sending"`           // objects of the attempt in progress
}

// openAfter is the number of consecutive failures that opens the circuit.
const openAfter = 3

// maxBatch keeps the presentation contexts of a batch, up to three for each SOP class, below the 128 of an association
// (PS3.8 §9.3.2.2).
const maxBatch = 32

// Deliverer sends result objects while Run runs.
type Deliverer struct {
	opts  Options
	lines []*line
}

// New returns a Deliverer for the destinations of opts.
func New(opts Options) *Deliverer {
	setDefault(&opts.FirstRetry, 5*time.Second)
	setDefault(&opts.MaxRetry, 10*time.Minute)
	setDefault(&opts.MaxAge, 7*24*time.Hour)
	setDefault(&opts.RefusedTries, 3)
	setDefault(&opts.RejectedTries, 10)
	setDefault(&opts.Batch, maxBatch)
	setDefault(&opts.DrainTime, 30*time.Second)
	opts.Batch = min(opts.Batch, maxBatch)
	if opts.Backoff == nil {
		opts.Backoff = func(failures int) time.Duration { return backoff(opts.FirstRetry, opts.MaxRetry, failures) }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context, _ Destination, o dimse.ConnectOptions) (Peer, error) {
			scu, err := dimse.Connect(ctx, o)
			if err != nil {
				return nil, err
			}
			return scu, nil
		}
	}
	if opts.Open == nil {
		opts.Open = openObject
	}
	if opts.Delivered == nil {
		opts.Delivered = func(string, state.CaseID, int) {}
	}
	if opts.Events == nil {
		opts.Events = func(Event) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Deliverer{opts: opts}
	for _, dest := range opts.Destinations {
		setDefault(&dest.Associations, 1)
		setDefault(&dest.ReportWait, 2*time.Second)
		setDefault(&dest.CommitWait, time.Hour)
		d.lines = append(d.lines, &line{
			opts:    &d.opts,
			dest:    dest,
			log:     opts.Logger.With("dest", dest.Name),
			wake:    make(chan struct{}, 1),
			flights: map[state.DeliveryKey]bool{},
			done:    map[state.CaseID]progress{},
		})
	}
	return d
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// backoff doubles from first to most, plus or minus up to a fifth, so that lines that failed together do not retry together.
func backoff(first, most time.Duration, failures int) time.Duration {
	d := most
	if n := max(failures-1, 0); n < 30 && first<<n>>n == first {
		d = min(first<<n, most)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// Run sends until ctx is done. Then it starts no further object, and waits up to Options.DrainTime for answers. It returns when
// every line has ended.
func (d *Deliverer) Run(ctx context.Context) error {
	var lines sync.WaitGroup
	for _, l := range d.lines {
		lines.Go(func() { l.run(ctx) })
	}
	lines.Wait()
	return nil
}

// Wake signals that there may be new or replayed deliveries. It does not shorten the wait for a destination that is down.
func (d *Deliverer) Wake() {
	for _, l := range d.lines {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Status returns the status of each destination, in the order of the options.
func (d *Deliverer) Status() []Status {
	list := make([]Status, 0, len(d.lines))
	for _, l := range d.lines {
		list = append(list, l.status())
	}
	return list
}
