// Package scp receives DICOM: it accepts associations from configured peers, answers C-ECHO, and streams objects from
// C-STORE to the spool. The response is success only when the object is durable.
//
//	server.go      accept, shutdown
//	peer.go        who may connect: title, address, certificate, user identity
//	admission.go   limits and rejections
//	session.go     one association: negotiation, messages
//	contexts.go    accepted SOP classes and transfer syntaxes, as a table
//	echo.go        Verification
//	store.go       Storage
//	commitment.go  Storage Commitment: requests of peers, results of destinations
//	callback.go    Storage Commitment results on associations of our own
//	told.go        how many associations are logged one by one
//	event.go       events for audit and metrics
//	metrics.go     what is counted
//	conformance.go tables for the conformance statement
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
	"sync/atomic"
	"time"

	"ichor/scp/spool"
)

// Sink is notified of every object. Its methods are called by the association's goroutine, in this order. They must not
// block, because the peer is waiting.
type Sink interface {
	Opened(assoc uint64)
	// Received is called when o is durable, before the response. fresh is false if the same
	// object was already stored.
	Received(assoc uint64, o spool.Object, fresh bool)
	// Refused is called when the response is A700H, so that the peer may send the object again.
	Refused(assoc uint64)
	Closed(assoc uint64)
}

// Options configure a Server. AETitle, Spool and Sink are required; zero values take the defaults given.
type Options struct {
	AETitle       string
	Peers         []Peer
	AnyPeer       bool // accept every calling AE title
	CheckCalledAE bool // reject associations that call a different AE title
	// TransferSyntaxes in which objects are accepted, the preferred one first: those that the analysis can decode. Empty:
	// uncompressed little endian and deflated.
	TransferSyntaxes []string
	PrivateClasses   bool // store objects of SOP classes that are not in the standard

	MaxAssociations int    // total; 32
	MaxPerPeer      int    // per peer; default MaxAssociations
	MaxPDU          uint32 // announced to peers; 131072

	ARTIM        time.Duration // from connection to association request, including the TLS handshake; 30 s
	Idle         time.Duration // between messages; 5 min
	Read         time.Duration // for each 16 KiB of a message; 60 s
	Write        time.Duration // for sending a response; 60 s
	DrainTimeout time.Duration // for messages in progress at shutdown; idle associations are aborted immediately; 10 s

	Spool       *spool.Spool
	Sink        Sink
	Commitments Commitments                          // nil: Storage Commitment is not offered
	Name        func(studyInstanceUID string) string // names a study in the log; nil: studies are not named
	Logger      *slog.Logger                         // nil: no logging
	Events      func(Event)                          // called from many goroutines, must not block; may be nil
}

// Server accepts associations; see Serve.
type Server struct {
	o     Options
	seats seats
	made  time.Time // see clock

	admitted atomic.Pointer[admitted]
	accepted told // begins of associations in the log
	failed   told // associations that were rejected or not established
	refusing told // associations with a refused request, beyond those that are logged anyway

	wg sync.WaitGroup

	mu       sync.Mutex
	last     uint64 // number of the last connection
	sessions map[*session]bool
	dropped  time.Time // when a dropped connection was last logged
}

const (
	// idleGrace is how long an association must have been silent before it is aborted at shutdown: a sender that has just
	// received a response may still release it.
	idleGrace = 500 * time.Millisecond
	// killGrace is the time between A-ABORT and the closing of connections at shutdown.
	killGrace = 3 * time.Second
)

// New checks the options and returns a Server.
func New(o Options) (*Server, error) {
	switch {
	case o.AETitle == "" || len(o.AETitle) > 16:
		return nil, fmt.Errorf("AE title %q: must have 1 to 16 characters", o.AETitle)
	case o.Spool == nil || o.Sink == nil:
		return nil, errors.New("scp: Spool and Sink are required")
	}
	if o.MaxPDU != 0 && o.MaxPDU < 1024 {
		return nil, fmt.Errorf("maximum PDU of %d bytes: must be at least 1024, or 0 for the default", o.MaxPDU)
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
	if o.Name == nil {
		o.Name = func(string) string { return "" }
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	s := &Server{
		o: o, made: time.Now(), sessions: map[*session]bool{},
		seats: seats{total: o.MaxAssociations, perPeer: o.MaxPerPeer, of: map[string]int{}},
	}
	if err := s.SetPeers(o.Peers, o.AnyPeer); err != nil {
		return nil, err
	}
	return s, nil
}

// admitted is who may connect.
type admitted struct {
	peers []Peer
	any   bool // every calling AE title
}

// SetPeers replaces Options.Peers and Options.AnyPeer for associations that are requested from now on. On error nothing has
// changed.
func (s *Server) SetPeers(peers []Peer, any bool) error {
	if len(peers) == 0 && !any {
		return errors.New("no peers, so nobody could send: list the calling AE titles, or allow any")
	}
	for i := range peers {
		if err := peers[i].check(); err != nil {
			return err
		}
	}
	s.admitted.Store(&admitted{peers, any})
	return nil
}

// Associations returns the number of open associations.
func (s *Server) Associations() int { return s.seats.associations() }

// Serve accepts associations until ctx is done. Then it accepts no new ones, gives messages in progress DrainTimeout to
// finish, aborts the rest, and returns nil when every goroutine has ended. For DICOM over TLS, pass a listener of
// crypto/tls. The listeners are closed on return. Call Serve only once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(listeners))
	for i, ln := range listeners {
		context.AfterFunc(accepting, func() { _ = ln.Close() })
		wg.Go(func() {
			errs[i] = s.accept(accepting, ln)
			stop() // one failed listener stops all
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
			// Out of descriptors, or the connection closed in the backlog: both are temporary.
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

// start serves one connection in its own goroutine. It always reads the request, even at the limit: after a rejection a
// PACS retries, but it treats a closed connection as a fault.
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

// drain waits for the associations to end, then aborts them, then closes their connections.
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

var errShutdown = errors.New("node is shutting down")

func (s *Server) each(f func(*session)) {
	s.mu.Lock()
	list := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, n := range list {
		f(n)
	}
}

// tellDropped reports whether to log a dropped connection: at most once a second.
func (s *Server) tellDropped(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.dropped) < time.Second {
		return false
	}
	s.dropped = now
	return true
}
