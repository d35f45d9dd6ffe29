// Package audit sends audit messages (PS3.15 section A.5) about the events of a node: to an audit repository by syslog over TLS
// (RFC 5424, RFC 5425, PS3.15 section A.6), or to a local file.
//
// The event log is the spool. A small file beside it keeps the number of the last event that was sent, so messages wait there
// while the repository is away and none is left out. Syslog has no answer: what was under way when a connection breaks may be
// lost or sent twice.
package audit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ichor/reporting/events"
)

// Options configure a Sender. Exactly one of Server and File is set.
type Options struct {
	Events *events.Log
	Dir    string // of the event log
	Server string // host:port
	TLS    func() *tls.Config
	File   string

	SourceID string // Audit Source ID
	AETitle  string // ours
	Process  string // UserID of this process
	Host     string // name of this machine
	Logger   *slog.Logger

	Retry time.Duration // after a failure; 30 s
}

// Sender sends audit messages while Run runs.
type Sender struct {
	o    Options
	conn net.Conn
	from *events.Follower // nil: not begun

	mu    sync.Mutex
	ended chan struct{} // closed when the repository has closed conn
	err   error         // why messages wait
	since time.Time
}

// New returns a Sender.
func New(o Options) *Sender {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Retry <= 0 {
		o.Retry = 30 * time.Second
	}
	return &Sender{o: o}
}

// Waiting returns why messages wait, and since when; nil if they are sent.
func (s *Sender) Waiting() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.err
}

// Run sends until ctx is done.
func (s *Sender) Run(ctx context.Context) error {
	defer s.drop()
	for ctx.Err() == nil {
		changed := s.o.Events.Changed()
		err := s.send(ctx)
		s.note(err)
		var again <-chan time.Time
		if err != nil {
			s.drop()
			changed, again = nil, time.After(s.o.Retry)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
		}
	}
	return nil
}

func (s *Sender) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil && s.err == nil:
		s.since = time.Now().UTC()
		s.o.Logger.Warn("audit messages wait", "err", err)
	case err == nil && s.err != nil:
		s.o.Logger.Info("audit messages are sent again")
	}
	s.err = err
}

func (s *Sender) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
		<-s.over()
		s.conn = nil
	}
}

// over returns a channel that is closed when the repository has closed the connection.
func (s *Sender) over() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *Sender) cursorPath() string { return filepath.Join(s.o.Dir, "audit-sent") }

// send sends all events that were not sent yet.
func (s *Sender) send(ctx context.Context) error {
	if s.from == nil {
		text, err := os.ReadFile(s.cursorPath())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sent, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // not there: from the beginning
		s.from = &events.Follower{Dir: s.o.Dir, After: sent}
	}
	return s.from.Read(func(e events.Event) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text, ok := Message(e, s.o); ok {
			if err := s.put(ctx, e.At, text); err != nil {
				return err
			}
		}
		return os.WriteFile(s.cursorPath(), strconv.AppendUint(nil, e.Number, 10), 0o640)
	})
}

func (s *Sender) put(ctx context.Context, at time.Time, text []byte) error {
	if s.o.File != "" {
		f, err := os.OpenFile(s.o.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return err
		}
		_, err = f.Write(append([]byte(strings.ReplaceAll(string(text), "\n", "")), '\n'))
		return errors.Join(err, f.Close())
	}
	if s.conn != nil {
		select {
		case <-s.over(): // a write would succeed and be lost
			s.drop()
		default:
		}
	}
	if s.conn == nil {
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: s.o.TLS()}
		conn, err := dialer.DialContext(ctx, "tcp", s.o.Server)
		if err != nil {
			return fmt.Errorf("audit repository: %w", err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, conn) // returns when either side closes
		}()
		s.mu.Lock()
		s.ended = ended
		s.mu.Unlock()
		s.conn = conn
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := s.conn.Write(frame(s.o, at, text)); err != nil {
		return fmt.Errorf("audit repository: %w", err)
	}
	return nil
}

// frame wraps a message as syslog does over TLS (RFC 5425 §4.3, RFC 5424 §6). 85 is facility 10, severity 5 (PS3.15 §A.6).
func frame(o Options, at time.Time, text []byte) []byte {
	m := fmt.Sprintf("<85>1 %s %s ichor %d DICOM+RFC3881 - \xEF\xBB\xBF%s", at.UTC().Format("2006-01-02T15:04:05.000Z"), or(o.Host, "-"), os.Getpid(), text)
	return fmt.Appendf(nil, "%d %s", len(m), m)
}
