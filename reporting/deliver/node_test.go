package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/dimse"
)

// node is a destination that does as it is told. The tests run in a bubble of their own time.
type node struct {
	mu    sync.Mutex
	dials []time.Time
	open  int // associations at this moment
	most  int
	got   []string // SOP Instance UIDs in the order of their successful answers

	refuse   func(n int) error                             // the nth association, from 0
	answer   func(uid string, n int) (dimse.Status, error) // the nth C-STORE of an object, from 0
	accepted func(sopClass string) []string
	asked    map[string]int
	delay    time.Duration
}

func (n *node) dial() (Peer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Now())
	if n.refuse != nil {
		if err := n.refuse(len(n.dials) - 1); err != nil {
			return nil, err
		}
	}
	n.open++
	n.most = max(n.most, n.open)
	return &association{n: n}, nil
}

// seen is what a test may look at.
type seen struct {
	dials      []time.Time
	open, most int
}

func (n *node) look() seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	return seen{slices.Clone(n.dials), n.open, n.most}
}

func (n *node) pause() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delay
}

func (n *node) have() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

func (n *node) tell(f func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

type association struct{ n *node }

func (a *association) Accepted(sopClass string) []string {
	if a.n.accepted != nil {
		return a.n.accepted(sopClass)
	}
	return []string{dcm.ImplicitVRLittleEndian, dcm.ExplicitVRLittleEndian}
}

func (a *association) Store(ctx context.Context, r dimse.StoreRequest) (dimse.Status, error) {
	if _, err := io.Copy(io.Discard, r.Data); err != nil {
		return dimse.ProcessingFailure, err
	}
	select {
	case <-time.After(a.n.pause()):
	case <-ctx.Done():
		return dimse.ProcessingFailure, ctx.Err()
	}
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if a.n.asked == nil {
		a.n.asked = map[string]int{}
	}
	a.n.asked[r.SOPInstanceUID]++
	var status dimse.Status
	if a.n.answer != nil {
		var err error
		if status, err = a.n.answer(r.SOPInstanceUID, a.n.asked[r.SOPInstanceUID]-1); err != nil {
			return dimse.ProcessingFailure, err
		}
		if status.Failure() {
			return status, fmt.Errorf("C-STORE: %w", &dimse.StatusError{Status: status, Comment: "says the peer"})
		}
	}
	a.n.got = append(a.n.got, r.SOPInstanceUID)
	return status, nil
}

func (a *association) close() {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.open--
}

func (a *association) Release(context.Context) error { a.close(); return nil }
func (a *association) Abort()                        { a.close() }

// rig is a Deliverer over real state and told nodes.
type rig struct {
	t     *testing.T
	path  string
	store *state.Store
	opts  Options
	log   bytes.Buffer
	nodes map[string]*node
	d     *Deliverer
	start time.Time
	stop  func()

	commitment bool // of what add adds
}

func newRig(t *testing.T, nodes map[string]*node) *rig {
	r := &rig{t: t, nodes: nodes, path: t.TempDir() + "/state.db", start: time.Now(), stop: func() {}}
	r.opts = Options{
		Logger:     slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FirstRetry: time.Second, MaxRetry: time.Minute, MaxAge: 100 * time.Minute, RefusedTries: 4, RejectedTries: 4, DrainTime: 10 * time.Second,
		Backoff: func(n int) time.Duration { return min(time.Second<<min(n-1, 20), time.Minute) },
		Dial: func(_ context.Context, _ Destination, o dimse.ConnectOptions) (Peer, error) {
			return nodes[o.Address].dial()
		},
		Open: func(d state.Delivery, _ string) (io.ReadCloser, error) {
			if d.Path == "gone" {
				return nil, errors.New("no such file")
			}
			return io.NopCloser(strings.NewReader("data set")), nil
		},
	}
	for _, name := range []string{"A", "B"} {
		if nodes[name] != nil {
			r.opts.Destinations = append(r.opts.Destinations, Destination{Name: name, Address: name, CalledAE: name, CallingAE: "ICHOR"})
		}
	}
	r.open()
	t.Cleanup(func() { r.stop(); r.store.Close() })
	return r
}

func (r *rig) open() {
	var err error
	if r.store, err = state.Open(r.path); err != nil {
		r.t.Fatal(err)
	}
	r.opts.State = r.store
}

// run starts a Deliverer; stop ends it and waits.
func (r *rig) run() {
	r.d = New(r.opts)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.d.Run(ctx); close(ended) }()
	r.stop = sync.OnceFunc(func() { cancel(); <-ended })
}

// add finishes a case whose objects are named by uids, for every destination.
func (r *rig) add(study string, uids ...string) {
	r.t.Helper()
	c, err := r.store.Queue(study, 1, "quiet 5s", time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	var list []state.Delivery
	for _, uid := range uids {
		for _, dest := range r.opts.Destinations {
			d := state.Delivery{DeliveryKey: state.DeliveryKey{SOPInstanceUID: uid, Destination: dest.Name},
				SOPClassUID: dcm.SecondaryCaptureImageStorage, TransferSyntaxUID: dcm.ExplicitVRLittleEndian, Path: "x", Commitment: r.commitment}
			if uid == "gone" {
				d.Path = "gone"
			}
			list = append(list, d)
		}
	}
	if err := r.store.Finish(c.ID, c.Revision, state.Conclusion{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: list}, time.Now()); err != nil {
		r.t.Fatal(err)
	}
	if r.d != nil {
		r.d.Wake()
	}
}

func (r *rig) delivery(uid, destination string) state.Delivery {
	r.t.Helper()
	d, err := r.store.Delivery(state.DeliveryKey{SOPInstanceUID: uid, Destination: destination})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }
