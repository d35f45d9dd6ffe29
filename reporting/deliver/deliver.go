// Package deliver sends result objects to their destinations, by C-STORE (PS3.4 §B) or STOW-RS (PS3.18 §10.5), and keeps
// at it until the destination has them, and where asked for has committed to them (PS3.4 §J), or there is no hope.
//
// What is to be sent, and how far it came, is in state; deliver keeps nothing that must survive a restart. Every
// destination has a line of its own, so one that is dead or slow never holds up another. A line sends what is due in
// the order of state.Due, several objects on one association and up to Destination.Associations at a time. What can go
// wrong is of four kinds:
//
//	destination  it cannot be reached, breaks the association or is out of resources: the line pauses, with growing
//	             waits, and makes one attempt at a time. After openAfter failures in a row its circuit is open: each
//	             attempt is a probe with the one object that is next, until one succeeds
//	rejected     it rejects the association for good, or the credentials: the same, and it counts against the objects
//	             at hand; after Options.RejectedTries they are dead letters
//	refused      it answers that it will not take this object, or no presentation context fits: that object waits,
//	             with growing waits and in another transfer syntax where there is one, while others go on; after
//	             Options.RefusedTries refusals, or one that says that it can never be, it is a dead letter
//	age          whatever the reason, and whether it was tried or not, an object that could not be sent for
//	             Options.MaxAge is a dead letter; so is one that its destination does not commit to
//
// Waits and ages are counted in the running time of the state, never by the wall clock. An object is compared with the
// digest of what was written while it is sent: one that changed on disk never arrives.
//
// A dead letter keeps its cause and the words of the destination, and waits for state.Replay; Remedy says what helps. An object is sent
// again only when no answer came, when the answer could not be recorded, or when the destination does not commit to it;
// its SOP Instance UID is always the same, so a destination that has it already can tell.
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

// Destination is a node that gets results.
type Destination struct {
	Name      string // in state, logs and status; unique
	Address   string // host:port
	CalledAE  string
	CallingAE string
	URL       string // of a STOW-RS service, as studies are posted to; then there is no Address and no AE title

	Associations int // at a time, default 1
	// Commitment asks for Storage Commitment of what was stored. The result may come on the same association within
	// ReportWait, default 2 s, or later through Deliverer.Result; without one it is asked for again after CommitWait,
	// default 1 h.
	Commitment bool
	ReportWait time.Duration
	CommitWait time.Duration

	Deflate bool // segmentations are offered in Deflated Explicit VR Little Endian as well, which is preferred then

	ConnectTimeout  time.Duration // 0: the default of dimse
	ResponseTimeout time.Duration // 0: the default of dimse
}

// Store is what deliver needs of *state.Store.
type Store interface {
	Due(destination string, n int) ([]state.Delivery, error)
	NextDue(destination string) (wait time.Duration, ok bool, err error)
	MarkStored(key state.DeliveryKey, note string, now time.Time) error
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

// Peer is what deliver needs of *dimse.SCU, and *stow.Client has too.
type Peer interface {
	Accepted(sopClass string) []string
	Store(ctx context.Context, r dimse.StoreRequest) (dimse.Status, error)
	Release(ctx context.Context) error
	Abort()
}

// committer is a Peer that may be asked for Storage Commitment.
type committer interface {
	Action(ctx context.Context, n dimse.Notice) (dimse.Status, error)
	Await(ctx context.Context, d time.Duration) (bool, error)
}

// Options say where to, and how patiently.
type Options struct {
	Destinations []Destination
	State        Store

	FirstRetry   time.Duration // after the first failure, doubling from there; default 5 s
	MaxRetry     time.Duration // longest wait; default 10 min
	MaxAge       time.Duration // default 7 days
	RefusedTries int           // default 3
	// RejectedTries is how often a destination may reject us for good before the objects at hand are dead letters; with
	// the waits above the default, 10, is about 40 minutes, in which somebody may set the destination up.
	RejectedTries int
	Batch         int           // objects for one association, at most 32, the default
	DrainTime     time.Duration // an object in flight may go on for so long once Run's context is done; default 30 s

	Backoff func(failures int) time.Duration // default: the above, with jitter
	Now     func() time.Time                 // the wall clock of records, default time.Now; nothing is decided by it
	// Dial opens an association with a destination, default dimse.Connect with o. What o does not say, as TLS and how to
	// reach a URL, is for the caller to add.
	Dial   func(ctx context.Context, d Destination, o dimse.ConnectOptions) (Peer, error)
	Open   func(d state.Delivery, transferSyntax string) (io.ReadCloser, error) // default: the file, compared with its digest
	Events func(Event)                                                          // told of every attempt, by many goroutines; may be nil; must not block
	Logger *slog.Logger
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
	Delivery state.Delivery // as it was before the attempt; of a commitment the key only
	Outcome  Outcome
	Err      error         // nil when stored
	Took     time.Duration // of the C-STORE; 0 when none was sent
}

// Status is how a destination does at this moment.
type Status struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Down      bool      `json:"down"`
	Failures  int       `json:"failures"` // attempts in a row that did not get through
	LastError string    `json:"last_error,omitempty"`
	NextTry   time.Time `json:"next_try,omitzero"` // while down
	Sending   int       `json:"sending"`           // objects of the attempt in progress
}

// openAfter is how many failures in a row open the circuit.
const openAfter = 3

// maxBatch keeps the presentation contexts of a batch, up to three for each SOP class, below the 128 of an association
// (PS3.8 §9.3.2.2).
const maxBatch = 32

// Deliverer sends; Run makes it work.
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
		})
	}
	return d
}

func setDefault[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// backoff doubles from first to most and adds or takes up to a fifth, so that lines that failed together do not try
// together.
func backoff(first, most time.Duration, failures int) time.Duration {
	d := most
	if n := max(failures-1, 0); n < 30 && first<<n>>n == first {
		d = min(first<<n, most)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// Run sends until ctx is done. Then no further object is begun; those in flight may be answered within
// Options.DrainTime. Run returns when every line has ended.
func (d *Deliverer) Run(ctx context.Context) error {
	var lines sync.WaitGroup
	for _, l := range d.lines {
		lines.Go(func() { l.run(ctx) })
	}
	lines.Wait()
	return nil
}

// Wake tells that there may be new deliveries, or replayed ones. It does not hurry a destination that is down.
func (d *Deliverer) Wake() {
	for _, l := range d.lines {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Status returns how each destination does, in the order of the options.
func (d *Deliverer) Status() []Status {
	list := make([]Status, 0, len(d.lines))
	for _, l := range d.lines {
		list = append(list, l.status())
	}
	return list
}
