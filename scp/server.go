// Package scp is DICOM in: it accepts associations from configured peers, answers C-ECHO, and streams
// what C-STORE brings to the spool. Success is answered only when the object is durable.
//
//	server.go      accept, limits, shutdown
//	session.go     one association: admission, negotiation, messages
//	contexts.go    what is accepted, as a table
//	echo.go        Verification
//	store.go       Storage
//	event.go       what happened, for audit and metrics
package scp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"ichor/scp/spool"
	"ichor/scp/ul"
)

// Peer is a node that may call.
type Peer struct {
	AETitle  string
	Prefixes []netip.Prefix // where it calls from; empty: anywhere
}

// Sink is told of every object. Its methods are called by the goroutine of the association, in this
// order, and must not block: the peer waits.
type Sink interface {
	Opened(assoc uint64)
	// Received is called when o is durable and before success is answered. fresh is false if the same
	// object was there before.
	Received(assoc uint64, o spool.Object, fresh bool)
	Closed(assoc uint64)
}

// Options of a server. AETitle, Spool and Sink are required; zero values take the defaults named.
type Options struct {
	AETitle       string
	Peers         []Peer
	AnyPeer       bool // accept every calling AE title
	CheckCalledAE bool // reject what calls another title than AETitle

	MaxAssociations int    // 32
	MaxPDU          uint32 // announced to peers; 131072

	ARTIM        time.Duration // from connection to association request; 30 s
	Idle         time.Duration // between messages; 5 min
	Read         time.Duration // for every 16 KiB of a message; 60 s
	Write        time.Duration // for a response to leave; 60 s
	DrainTimeout time.Duration // for associations to end at shutdown, then they are aborted; 10 s

	Spool  *spool.Spool
	Sink   Sink
	Logger *slog.Logger // none: silent
	Events func(Event)  // called by many goroutines, must not block; may be nil
}

// Server accepts associations.
type Server struct {
	o  Options
	wg sync.WaitGroup

	mu     sync.Mutex
	last   uint64 // association number
	active map[uint64]*ul.Association
	conns  map[uint64]net.Conn
}

// killGrace is what associations get from A-ABORT at shutdown to the closing of their connections.
const killGrace = 3 * time.Second

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
	for _, p := range o.Peers {
		if p.AETitle == "" || len(p.AETitle) > 16 {
			return nil, fmt.Errorf("peer AE title %q: give 1 to 16 characters", p.AETitle)
		}
	}
	if o.MaxAssociations <= 0 {
		o.MaxAssociations = 32
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
	return &Server{o: o, active: map[uint64]*ul.Association{}, conns: map[uint64]net.Conn{}}, nil
}

// Serve accepts associations on ln until ctx is done; then it takes no new ones, lets the others end
// for DrainTimeout, aborts the rest, and returns nil when every goroutine has ended. ln is closed on
// return. A Server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer ln.Close()
	err := s.accept(ctx, ln)
	s.drain()
	if ctx.Err() != nil {
		return nil
	}
	return err
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

// start runs one connection in its own goroutine. Above MaxAssociations a connection is heard and
// rejected, for a PACS takes a rejection for a reason to come again; above twice that it is closed.
func (s *Server) start(conn net.Conn) {
	s.mu.Lock()
	n := len(s.active)
	if n >= 2*s.o.MaxAssociations {
		s.mu.Unlock()
		s.o.Logger.Warn("connection closed, far too many associations", "peer", conn.RemoteAddr().String())
		_ = conn.Close()
		return
	}
	s.last++
	id := s.last
	a := ul.NewAcceptor(conn, ul.Options{
		ARTIM: s.o.ARTIM, Idle: s.o.Idle, Read: s.o.Read, Write: s.o.Write, MaxPDU: s.o.MaxPDU,
	})
	s.active[id], s.conns[id] = a, conn
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer func() {
			a.Close()
			s.mu.Lock()
			delete(s.active, id)
			delete(s.conns, id)
			s.mu.Unlock()
		}()
		newSession(s, id, a, conn.RemoteAddr(), n >= s.o.MaxAssociations).run()
	}()
}

// drain awaits the associations, with growing firmness.
func (s *Server) drain() {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(s.o.DrainTimeout):
	}
	s.each(func(id uint64) { s.active[id].Abort(errShutdown) })
	select {
	case <-done:
		return
	case <-time.After(killGrace):
	}
	s.each(func(id uint64) { _ = s.conns[id].Close() })
	<-done
}

var errShutdown = errors.New("node shuts down")

func (s *Server) each(f func(id uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.active {
		f(id)
	}
}
