// Package receiver is a small DICOM Storage SCP: the PACS in the demo and in tests. It stores every object as a Part 10 file
// named by its SOP instance UID, and tests can make it misbehave.
package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"ichor/scp/dimse"
	"ichor/scp/ul"
)

// Options configure a Receiver. Dir is required.
type Options struct {
	AETitle string      // accepts only this called title; empty: any
	Address string      // to listen on, default 127.0.0.1:0
	Dir     string      // for files <SOPInstanceUID>.dcm; created if missing
	TLS     *tls.Config // nil: no TLS
	Logger  *slog.Logger

	Stored func(Instance) // called for each object before it is answered, by many goroutines; may be nil
}

// Instance is one received instance, a file of the folder.
type Instance struct {
	SOPClassUID       string
	SOPInstanceUID    string
	TransferSyntaxUID string
	CallingAE         string
	Path              string
	Size              int64 // of the file
	Count             int   // how often it was received with success as the response
}

// Receiver is a running node.
type Receiver struct {
	o  Options
	ln net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	active  map[*ul.Association]net.Conn
	objects []Instance
	index   map[string]int // SOP instance UID -> index in objects
	changed chan struct{}  // closed and replaced with every object
	serial  int            // of temporary files
	faults  faults
}

// faults are the kinds of misbehaviour to show, each with the remaining count.
type faults struct {
	fail, reject, hang, abort int
	status                    dimse.Status
	transient                 bool
}

// Start listens and serves until Close.
func Start(o Options) (*Receiver, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of the receiver: %w", err)
	}
	ln, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	if o.TLS != nil {
		ln = tls.NewListener(ln, o.TLS)
	}
	r := &Receiver{
		o: o, ln: ln, active: map[*ul.Association]net.Conn{},
		index: map[string]int{}, changed: make(chan struct{}),
	}
	r.wg.Add(1)
	go r.accept()
	return r, nil
}

func (r *Receiver) accept() {
	defer r.wg.Done()
	for {
		conn, err := r.ln.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.o.Logger.Error("receiver stopped", "err", err)
			}
			return
		}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			_ = conn.Close()
			return
		}
		a := ul.NewAcceptor(conn, ul.Options{})
		r.active[a] = conn
		r.wg.Add(1)
		r.mu.Unlock()
		go func() {
			defer r.wg.Done()
			if err := r.serve(a); err != nil {
				r.o.Logger.Warn("association ended early", "err", err)
			}
			a.Close()
			r.mu.Lock()
			delete(r.active, a)
			r.mu.Unlock()
		}()
	}
}

// Address returns the listening address, host:port.
func (r *Receiver) Address() string { return r.ln.Addr().String() }

// AETitle returns the accepted called title, "ANY-SCP" if it accepts any.
func (r *Receiver) AETitle() string {
	if r.o.AETitle == "" {
		return "ANY-SCP"
	}
	return r.o.AETitle
}

// Objects returns the received objects, in order of first arrival.
func (r *Receiver) Objects() []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.objects)
}

// Count returns how often the instance was stored.
func (r *Receiver) Count(sopInstanceUID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.index[sopInstanceUID]; ok {
		return r.objects[i].Count
	}
	return 0
}

// Wait returns when at least n different objects have been received, or with the error of ctx.
func (r *Receiver) Wait(ctx context.Context, n int) error {
	for {
		r.mu.Lock()
		have, changed := len(r.objects), r.changed
		r.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d objects received: %w", have, n, ctx.Err())
		case <-changed:
		}
	}
}

// Fail answers the next n C-STOREs with status and stores nothing. n = 0 ends this.
func (r *Receiver) Fail(status dimse.Status, n int) {
	r.order(func(f *faults) { f.status, f.fail = status, n })
}

// Reject answers the next n association requests with A-ASSOCIATE-RJ, transient or permanent.
func (r *Receiver) Reject(n int, transient bool) {
	r.order(func(f *faults) { f.reject, f.transient = n, transient })
}

// Hang reads the next n C-STOREs and never answers them.
func (r *Receiver) Hang(n int) { r.order(func(f *faults) { f.hang = n }) }

// Abort answers the next n C-STOREs with A-ABORT.
func (r *Receiver) Abort(n int) { r.order(func(f *faults) { f.abort = n }) }

func (r *Receiver) order(f func(*faults)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.faults)
}

// take reports whether a fault is due, and decrements its count.
func (r *Receiver) take(n func(*faults) *int) (faults, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := n(&r.faults)
	if *p <= 0 {
		return faults{}, false
	}
	*p--
	return r.faults, true
}

// Close stops listening, aborts the associations and returns when all goroutines have ended.
func (r *Receiver) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	for a := range r.active {
		a.Abort(errClosing)
	}
	r.mu.Unlock()
	err := r.ln.Close()
	r.wg.Wait()
	return err
}

var errClosing = errors.New("receiver is closing")
