// Package scp is DICOM in: it accepts associations from configured peers, answers C-ECHO, and streams
// what C-STORE brings to the spool. Success is answered only when the object is durable.
//
//	server.go      accept, shutdown
//	peer.go        who may call: title, address, certificate, user identity
//	admission.go   how many may be there, and who is rejected
//	session.go     one association: negotiation, messages
//	contexts.go    what is accepted, as a table
//	echo.go        Verification
//	store.go       Storage
//	commitment.go  Storage Commitment: requests of peers, results of destinations
//	report.go      results of Storage Commitment on associations of our own
//	event.go       what happened, for audit and metrics
//	metrics.go     what is counted
//	conformance.go what the conformance statement says
package scp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"ichor/scp/spool"
)

// Sink is told of every object. Its methods are called by the goroutine of the association, in this
// order, and must not block: the peer waits.
type Sink interface {
	Opened(assoc uint64)
	// Received is called when o is durable and before success is answered. fresh is false if the same
	// object was there before.
	Received(assoc uint64, o spool.Object, fresh bool)
	// Refused is called when an object was answered A700H, and may come again.
	Refused(assoc uint64)
	Closed(assoc uint64)
}

// Options of a server. AETitle, Spool and Sink are required; zero values take the defaults named.
type Options struct {
	AETitle       string
	Peers         []Peer
	AnyPeer       bool // accept every calling AE title
	CheckCalledAE bool // reject what calls another title than AETitle
	// TransferSyntaxes in which objects are taken, the preferred first: those that whoever analyses them can decode. None:
	// uncompressed little endian and deflated.
	TransferSyntaxes []string
	PrivateClasses   bool // store objects of SOP classes that are not in the standard

	MaxAssociations int    // in all; 32
	MaxPerPeer      int    // of one peer; MaxAssociations
	MaxPDU          uint32 // announced to peers; 131072

	ARTIM        time.Duration // from connection to association request, with a TLS handshake between; 30 s
	Idle         time.Duration // between messages; 5 min
	Read         time.Duration // for every 16 KiB of a message; 60 s
	Write        time.Duration // for a response to leave; 60 s
	DrainTimeout time.Duration // for messages on their way at shutdown; associations without are aborted at once; 10 s

	Spool       *spool.Spool
	Sink        Sink
	Commitments Commitments  // nil: Storage Commitment is not offered
	Logger      *slog.Logger // none: silent
	Events      func(Event)  // called by many goroutines, must not block; may be nil
}

// Server accepts associations.
type Server struct {
	o     Options
	seats seats
	wg    sync.WaitGroup

	mu       sync.Mutex
	last     uint64 // number of the connection
	sessions map[*session]bool
	dropped  time.Time // when the log last told of a connection that had to go
}

const (
	// idleGrace is how long an association must have been silent at shutdown to be aborted: a sender that was just
	// answered may still release it.
	idleGrace = 500 * time.Millisecond
	// killGrace is what associations get from A-ABORT at shutdown to the closing of their connections.
	killGrace = 3 * time.Second
)

// New checks the options.
func New(o Options) (*Server, error) {
	switch {
	case o.AETitle == "" || len(o.AETitle) > 16:
		return nil, fmt.Errorf("AE title %q: give 1 to 16 characters", o.AETitle)
	case o.Spool == nil || o.Sink == nil:
		return nil, errors.New("scp: Spool and Sink are required")
	case len(o.Peers) == 0 && !o.AnyPeer:
		return nil, errors.New("no peers: nobody could send, list the calling AE titles or allow any")
	}
	if o.MaxPDU != 0 && o.MaxPDU < 1024 {
		return nil, fmt.Errorf("maximum PDU of %d bytes: give at least 1024, or 0 for the default", o.MaxPDU)
	}
	for i := range o.Peers {
		if err := o.Peers[i].check(); err != nil {
			return nil, err
		}
	}
	if o.MaxAssociations <= 0 {
		o.MaxAssociations = 32
	}
	if o.MaxPerPeer <= 0 {
		o.MaxPerPeer = o.MaxAssociations
	}
	if len(o.TransferSyntaxes) == 0 {
		o.TransferSyntaxes = transferSyntaxes
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	return &Server{
		o: o, sessions: map[*session]bool{},
		seats: seats{total: o.MaxAssociations, perPeer: o.MaxPerPeer, of: map[string]int{}},
	}, nil
}

// Associations is how many are accepted at this moment.
func (s *Server) Associations() int { return s.seats.associations() }

// Serve accepts associations until ctx is done; then it takes no new ones, lets messages on their way end for
// DrainTimeout, aborts the rest, and returns nil when every goroutine has ended. A listener of crypto/tls brings
// associations over TLS. The listeners are closed on return. A Server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(listeners))
	for i, ln := range listeners {
		context.AfterFunc(accepting, func() { _ = ln.Close() })
		wg.Go(func() {
			errs[i] = s.accept(accepting, ln)
			stop() // one that fails ends them all
		})
	}
	wg.Wait()
	s.drain()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}

func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		case err != nil:
			// Out of descriptors, or a connection that died in the backlog: both pass.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.o.Logger.Warn("connection not accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		s.start(conn)
	}
}

// start runs one connection in its own goroutine. It is always heard: a PACS takes a rejection for a reason to come
// again, and a closed connection for a fault.
func (s *Server) start(conn net.Conn) {
	s.mu.Lock()
	s.last++
	n := newSession(s, s.last, conn)
	s.sessions[n] = true
	s.mu.Unlock()
	if oldest := s.seats.enter(n); oldest != nil {
		oldest.evicted.Store(true)
		_ = oldest.raw.Close()
	}
	s.wg.Go(func() {
		defer func() {
			n.assoc.Close()
			s.seats.leave(n)
			s.mu.Lock()
			delete(s.sessions, n)
			s.mu.Unlock()
		}()
		n.run()
	})
}

// drain awaits the associations, with growing firmness.
func (s *Server) drain() {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	tick := time.NewTicker(idleGrace / 5)
	defer tick.Stop()
	timeout := time.After(s.o.DrainTimeout)
	s.each(func(n *session) { n.abortIf(n.resting(time.Now()) > idleGrace) })
waiting:
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			s.each(func(n *session) { n.abortIf(n.resting(now) > idleGrace) })
		case <-timeout:
			break waiting
		}
	}
	s.each(func(n *session) { n.abortIf(true) })
	select {
	case <-done:
		return
	case <-time.After(killGrace):
	}
	s.each(func(n *session) { _ = n.raw.Close() })
	<-done
}

var errShutdown = errors.New("node shuts down")

func (s *Server) each(f func(*session)) {
	s.mu.Lock()
	list := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, n := range list {
		f(n)
	}
}

// tellDropped reports whether the log is to tell of a connection that had to go: once a second is enough.
func (s *Server) tellDropped(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.dropped) < time.Second {
		return false
	}
	s.dropped = now
	return true
}
