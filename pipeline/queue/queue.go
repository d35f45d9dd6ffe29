// Package queue carries analysis jobs from assembly to the workers over JetStream.
//
//	ICHOR_JOBS  ichor.jobs.<lane>.<node>.<case>.<revision>  work queue: a job stays until it is acknowledged
//
// The stream is files. The embedded server syncs every write (sync_interval: always) before it answers and opens no
// port; with Options.URL the stream lives on a NATS cluster that several nodes share, and each takes its own jobs only.
//
// A job is delivered at least once. It is acknowledged when its handler returned nil, so handlers repeat without harm
// (state.Finish does); while a handler runs its deadline is extended, so no second worker gets the job. What became of an
// analysis, and how often it was tried, is in state only. So an embedded queue is made anew from state whenever it is
// opened: at the start, whatever its files have become, and after it could not write.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ichor/pipeline/state"
)

// ErrVersion is returned by Start when a newer ichor made the stream.
var ErrVersion = errors.New("made by a newer ichor")

const (
	formatVersion = 2 // of subjects and jobs; 1 had no lane and no node
	jobsStream    = "ICHOR_JOBS"
	jobsSubject   = "ichor.jobs."
	laneRoutine   = "routine" // the only lane of this version

	maxJobBytes = 64 << 10    // a job is a few hundred bytes; nothing larger is ours
	reconnect   = time.Second // between attempts to reach an external server
)

// Job asks for the analysis of one revision of a case. It travels through the queue and is never logged.
type Job struct {
	Version          int          `json:"version"` // set by Submit
	CaseID           state.CaseID `json:"case"`
	StudyInstanceUID string       `json:"study_instance_uid"`
	Revision         int          `json:"revision"`
	Complete         string       `json:"complete"`
}

// id names a job in subjects.
func (j Job) id() string { return string(j.CaseID) + "." + strconv.Itoa(j.Revision) }

func (j Job) check() error {
	if !isToken(string(j.CaseID)) || j.Revision < 1 {
		return fmt.Errorf("job of case %q revision %d: not a case and revision", j.CaseID, j.Revision)
	}
	if j.Version > formatVersion {
		return fmt.Errorf("job of format %d: %w", j.Version, ErrVersion)
	}
	return nil
}

// isToken reports whether s can be one part of a subject.
func isToken(s string) bool { return s != "" && !strings.ContainsAny(s, ".*> \t\r\n") }

// Options say where the queue lives and how patient it is.
type Options struct {
	URL      string // of an external NATS server; "" starts the embedded one
	Node     string // name of this node among those that share the server, as state.Store.Node; required
	Dir      string // of the embedded server's files
	MaxBytes int64  // the embedded server may keep on disk; default 1 GiB

	AckWait   time.Duration                 // a worker that is silent for so long has lost its job; default 30 s
	Backoff   func(tries int) time.Duration // before the next try, after so many of them; default 2 s doubling up to 2 min
	DrainTime time.Duration                 // handlers may go on for so long once Work's context is done; default 10 s

	// Failed is told of each job whose handler returned an error or panicked. It returns how often the job failed by now
	// and whether it is to be tried again; if not, the job leaves the queue. If it cannot tell, because of err, the job
	// is tried again. nil: every job is tried again.
	Failed func(ctx context.Context, job Job, reason error) (tries int, again bool, err error)
	// PutOff is told of each job that was begun and goes back though nothing speaks against it: the process ends, and
	// reason is nil, or our own disk took no results. May be nil.
	PutOff func(ctx context.Context, job Job, reason error) error
	// Queued lists the jobs that state calls queued. The embedded server begins with them, whenever it is opened: at the
	// start, and after it could not write. nil: there are none.
	Queued func() ([]Job, error)
	// GivenUp is told by Start of each job that an earlier version gave up and kept here. known says that its case is
	// of this node: then the job leaves the queue. May be nil.
	GivenUp func(ctx context.Context, job Job, reason string) (known bool, err error)

	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.AckWait <= 0 {
		o.AckWait = 30 * time.Second
	}
	if o.Backoff == nil {
		o.Backoff = func(n int) time.Duration { return min(2*time.Second<<min(n-1, 10), 2*time.Minute) }
	}
	if o.DrainTime <= 0 {
		o.DrainTime = 10 * time.Second
	}
	if o.Failed == nil {
		o.Failed = func(context.Context, Job, error) (int, bool, error) { return 1, true, nil }
	}
	if o.PutOff == nil {
		o.PutOff = func(context.Context, Job, error) error { return nil }
	}
	if o.Queued == nil {
		o.Queued = func() ([]Job, error) { return nil, nil }
	}
	if o.GivenUp == nil {
		o.GivenUp = func(context.Context, Job, string) (bool, error) { return true, nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Queue is a connection to the stream, and the embedded server where there is one. While the embedded server cannot
// write, there is no connection: Work opens it again as soon as the disk allows.
type Queue struct {
	opts Options
	link atomic.Pointer[link] // nil while the embedded server is closed
	look chan struct{}        // asks for a look at the health of the embedded server

	mu       sync.Mutex
	running  map[string]bool // jobs whose handler runs in this process
	broken   error           // why the embedded server cannot store, nil when it can
	checked  time.Time       // when broken was found out
	reopened int             // attempts to open it again in a row
}

// Start starts the embedded server, with the jobs of Options.Queued, or connects to the one at Options.URL, and makes the
// stream. With a full or failing disk Start succeeds, and Ready says what is the matter until the queue is there.
func Start(ctx context.Context, opts Options) (*Queue, error) {
	opts.setDefaults()
	if !isToken(opts.Node) {
		return nil, fmt.Errorf("queue of node %q: not a name", opts.Node)
	}
	q := &Queue{opts: opts, look: make(chan struct{}, 1), running: map[string]bool{}}
	l, err := q.open(ctx)
	if err != nil && opts.URL == "" && ctx.Err() == nil {
		err = q.waits(err)
	}
	if err != nil {
		return nil, err
	}
	if q.link.Store(l); l == nil { // Work opens it
		q.lookAgain()
	}
	return q, nil
}

// redact hides passwords and tokens in a list of server URLs.
func redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, server := range list {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil {
			list[i] = "(not a URL)"
			continue
		}
		if u.User != nil {
			u.User = url.User("xxx")
		}
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}

// Submit puts a job onto the queue; it is durable when Submit returns nil. A job that the queue holds already is left
// as it is, so submitting again is without harm; one that it does not hold any more is put onto it again.
func (q *Queue) Submit(ctx context.Context, job Job) error {
	if err := job.check(); err != nil {
		return err
	}
	l := q.link.Load()
	if l == nil {
		return fmt.Errorf("job of case %s: %w", job.CaseID, q.closed())
	}
	err := q.submit(ctx, l, job)
	if err != nil {
		q.lookAgain()
	}
	return err
}

func (q *Queue) submit(ctx context.Context, l *link, job Job) error {
	job.Version = formatVersion
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	subject := jobsSubject + laneRoutine + "." + q.opts.Node + "." + job.id()
	// The subject is the name of the job: the stream refuses a second one while the first waits or is worked on. A
	// message ID would also refuse, for a time, one that is gone.
	_, err = l.js.Publish(ctx, subject, raw, jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil && !isWrongSequence(err) {
		return fmt.Errorf("job of case %s: %w", job.CaseID, err)
	}
	return nil
}

// isWrongSequence tells that a message with the subject is in the stream already.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Stats are the numbers of this node's jobs that an operator watches.
type Stats struct {
	Waiting int `json:"waiting"` // to be handed out, now or after a backoff
	Working int `json:"working"` // handed out and not acknowledged
}

// Stats asks the server for its numbers.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	l := q.link.Load()
	if l == nil {
		return Stats{}, q.closed()
	}
	consumer, err := l.consumer.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("queue: %w", err)
	}
	q.mu.Lock()
	working := len(q.running)
	q.mu.Unlock()
	if l.srv == nil { // workers elsewhere
		working = consumer.NumAckPending
	}
	return Stats{Waiting: max(int(consumer.NumPending)+consumer.NumAckPending-working, 0), Working: working}, nil
}

// Close ends the connection and the embedded server, after Work has returned.
func (q *Queue) Close() error {
	if l := q.link.Swap(nil); l != nil {
		l.close()
	}
	return nil
}
