// Package queue carries analysis jobs from assembly to the workers over JetStream.
//
//	ICHOR_JOBS  ichor.jobs.<lane>.<node>.<case>.<revision>  work queue: a job stays until it is acknowledged
//
// The stream is stored in files. The embedded server syncs every write (sync_interval: always) before it answers, and opens no
// port. With Options.URL the stream is on a NATS cluster that several nodes can share; each takes only its own jobs.
//
// A job is delivered at least once. It is acknowledged when its handler has returned nil, so a handler must be repeatable
// (state.Finish is). While a handler runs, its deadline is extended, so that no second worker gets the job. Only state has the
// outcome of an analysis and its number of tries. An embedded queue is therefore rebuilt from state whenever it is opened: at
// the start, even if its files are damaged, and after it could not write.
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

// ErrVersion is returned by Start if a newer ichor created the stream.
var ErrVersion = errors.New("created by a newer ichor")

const (
	formatVersion = 2 // format of subjects and jobs; format 1 had no lane and no node
	jobsStream    = "ICHOR_JOBS"
	jobsSubject   = "ichor.jobs."
	laneUrgent    = "urgent" // taken before the other
	laneRoutine   = "routine"

	maxJobBytes = 64 << 10    // a job has a few hundred bytes
	reconnect   = time.Second // between attempts to reach an external server
)

// Job requests the analysis of one revision of a case. It is never logged, because it contains the study UID.
type Job struct {
	Version          int          `json:"version"` // set by Submit
	CaseID           state.CaseID `json:"case"`
	StudyInstanceUID string       `json:"study_instance_uid"`
	Revision         int          `json:"revision"`
	Complete         string       `json:"complete"`
	Urgent           bool         `json:"urgent,omitempty"`

	node string // whose job it is, if not of this node; set when it is taken
}

// id returns the ID of a job in subjects.
func (j Job) id() string { return string(j.CaseID) + "." + strconv.Itoa(j.Revision) }

func (j Job) check() error {
	if !isToken(string(j.CaseID)) || j.Revision < 1 {
		return fmt.Errorf("job of case %q revision %d: invalid case or revision", j.CaseID, j.Revision)
	}
	if j.Version > formatVersion {
		return fmt.Errorf("job with format %d: %w", j.Version, ErrVersion)
	}
	return nil
}

// isToken reports whether s can be one part of a subject.
func isToken(s string) bool { return s != "" && !strings.ContainsAny(s, ".*> \t\r\n") }

// Options configure a Queue.
type Options struct {
	URL      string // of an external NATS server; empty: start the embedded one
	Node     string // name of this node among those that share the server, see state.Store.Node; required
	Dir      string // folder for the files of the embedded server
	Serves   string // URL at which workers of other machines get the studies of this node; empty: none do
	MaxBytes int64  // disk space for the embedded server; default 1 GiB

	Replicas    int    // servers of the external cluster that keep each job; default 1
	CA          string // PEM file with the authorities of the external servers; set: TLS is required
	Certificate string // PEM files of our certificate and key for them; may be empty
	Key         string
	Credentials string // file with user JWT and NKey for them; may be empty

	AckWait   time.Duration                 // a worker that is silent for this long loses its job; default 30 s
	Backoff   func(tries int) time.Duration // wait before the next try, given the number of tries; default 2 s, doubling up to 2 min
	DrainTime time.Duration                 // handlers may continue for this long after Work's context is done; default 10 s

	// Failed is called for each job whose handler returned an error or panicked. It returns how often the job has failed and
	// whether to retry it; otherwise the job is removed from the queue. If it returns an error, the job is retried. nil: retry
	// every job.
	Failed func(ctx context.Context, job Job, reason error) (tries int, again bool, err error)
	// PutOff is called for each job that goes back to the queue without having failed: because the process ends (reason is
	// nil), or because our own disk could not store the results. May be nil.
	PutOff func(ctx context.Context, job Job, reason error) error
	// Queued returns the queued jobs from state. The embedded server starts with them whenever it is opened: at the start, and
	// after it could not write. nil: none.
	Queued func() ([]Job, error)
	// GivenUp is called by Start for each job that an earlier version gave up and kept in the queue. known: the case belongs
	// to this node, and the job is removed. May be nil.
	GivenUp func(ctx context.Context, job Job, reason string) (known bool, err error)

	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Replicas <= 0 {
		o.Replicas = 1
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

// Queue is a connection to the stream, and the embedded server if used. While the embedded server cannot write, there is no
// connection: Work reopens it as soon as the disk can be written.
type Queue struct {
	opts Options
	link atomic.Pointer[link] // nil while the embedded server is closed
	look chan struct{}        // requests a health check of the embedded server

	take func(ctx context.Context) (jetstream.Msg, error) // the next job

	made time.Time // for the times of hands

	mu       sync.Mutex
	hands    []*hand         // of the workers
	running  map[string]bool // jobs whose handler runs in this process
	broken   error           // why the embedded server cannot store, nil when it can
	checked  time.Time       // when broken was last checked
	reopened int             // consecutive attempts to reopen it
}

// Start starts the embedded server with the jobs from Options.Queued, or connects to the server at Options.URL, and creates the
// stream. With a full or failing disk Start succeeds, and Ready returns the problem until the queue is open.
func Start(ctx context.Context, opts Options) (*Queue, error) {
	opts.setDefaults()
	if !isToken(opts.Node) {
		return nil, fmt.Errorf("queue of node %q: invalid node name", opts.Node)
	}
	q := &Queue{opts: opts, look: make(chan struct{}, 1), made: time.Now(), running: map[string]bool{}}
	q.take = q.fetch
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

// Submit adds a job to the queue; it is durable when Submit returns nil. If the queue already has the job, Submit does nothing,
// so submitting twice is harmless. A job that has left the queue is added again.
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
	lane := laneRoutine
	if job.Urgent {
		lane = laneUrgent
	}
	subject := jobsSubject + lane + "." + q.opts.Node + "." + job.id()
	// The subject identifies the job: the stream rejects a second one while the first is waiting or running. A message ID
	// would for a time also reject a job that has left the queue.
	_, err = l.js.Publish(ctx, subject, raw, jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil && !isWrongSequence(err) {
		return fmt.Errorf("job of case %s: %w", job.CaseID, err)
	}
	return nil
}

// isWrongSequence reports whether err means that the stream already has a message with this subject.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Stats are the numbers of this node's jobs.
type Stats struct {
	Waiting int `json:"waiting"` // waiting for a worker, also after a backoff
	Working int `json:"working"` // delivered and not acknowledged
}

// Stats asks the server for the numbers of jobs.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	l := q.link.Load()
	if l == nil {
		return Stats{}, q.closed()
	}
	pending, delivered := 0, 0
	for _, c := range l.lanes {
		info, err := c.Info(ctx)
		if err != nil {
			return Stats{}, fmt.Errorf("queue: %w", err)
		}
		pending, delivered = pending+int(info.NumPending), delivered+info.NumAckPending
	}
	q.mu.Lock()
	working := len(q.running)
	q.mu.Unlock()
	if l.srv == nil { // external server
		working = delivered
	}
	return Stats{Waiting: max(pending+delivered-working, 0), Working: working}, nil
}

// Close closes the connection and stops the embedded server. Call it after Work has returned.
func (q *Queue) Close() error {
	if l := q.link.Swap(nil); l != nil {
		l.close()
	}
	return nil
}
