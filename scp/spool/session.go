package spool

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"ichor/scp/dcm"
)

// Session writes the objects of one association into its own segment. It is used by one goroutine.
type Session struct {
	spool  *Spool
	seg    *segment // nil until the first object, and after a failure
	writer *Writer
	buf    []byte // of the writers, one after the other
	closed bool
}

// segment is an open segment file.
type segment struct {
	number uint64
	file   *os.File
	nonce  [16]byte
	end    int64 // of the last committed record
	listed bool  // the folder was synced after the file was made
	index  []Object
}

// sealObjects is the number of objects at which a new segment is begun: a seal is read as a whole.
const sealObjects = 4096

// Session is the writing side for one association.
func (s *Spool) Session() *Session { return &Session{spool: s} }

// newSegment makes an empty segment file.
func (s *Spool) newSegment() (*segment, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	n := s.next
	s.next++
	s.segments[n] = &usage{open: true}
	s.mu.Unlock()
	g := &segment{number: n, end: segmentHeaderLen}
	rand.Read(g.nonce[:])
	f, err := os.OpenFile(s.path(n), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		if err = s.disk.write(f, encodeSegmentHeader(g.nonce), 0); err != nil {
			f.Close()
			os.Remove(s.path(n))
		}
	}
	if err != nil {
		s.mu.Lock()
		delete(s.segments, n)
		s.mu.Unlock()
		return nil, s.failed("new segment", err)
	}
	g.file = f
	return g, nil
}

// makeDurable syncs what was written to g, and its folder the first time.
func (s *Spool) makeDurable(g *segment) error {
	if err := s.disk.sync(g.file); err != nil {
		return err
	}
	if !g.listed {
		if err := s.disk.list(s.dir); err != nil {
			return err
		}
		g.listed = true
	}
	return nil
}

// Create begins an object as C-STORE announces it. ErrNoSpace: below the reserve. ErrUnwritable: the file system takes
// nothing. ErrIdentity: UIDs that no object can have. An unfinished writer of this session is aborted.
func (s *Session) Create(sopClass, sopInstance, transferSyntax, callingAE string) (*Writer, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if s.writer != nil {
		s.writer.Abort()
	}
	for _, uid := range []string{sopClass, sopInstance, transferSyntax} {
		if !dcm.PlausibleUID(uid) {
			return nil, fmt.Errorf("UID %q in the command: %w", uid, ErrIdentity)
		}
	}
	if err := s.spool.Ready(); err != nil {
		return nil, err
	}
	if s.seg != nil && (s.seg.end >= s.spool.opts.SegmentBytes || len(s.seg.index) >= sealObjects) {
		s.leave(false)
	}
	if s.seg == nil {
		g, err := s.spool.newSegment()
		if err != nil {
			return nil, err
		}
		s.seg = g
	}
	var prefix bytes.Buffer
	meta := dcm.FileMeta{SOPClassUID: sopClass, SOPInstanceUID: sopInstance, TransferSyntaxUID: transferSyntax,
		SourceAETitle: printable(callingAE)}
	if err := dcm.WriteMeta(&prefix, meta); err != nil {
		return nil, err
	}
	w := &Writer{session: s, prefix: prefix.Bytes(), digest: sha256.New(), at: s.seg.end, buf: s.buf[:0]}
	w.meta.SOPClassUID, w.meta.SOPInstanceUID = sopClass, sopInstance
	w.meta.TransferSyntaxUID, w.meta.CallingAE = transferSyntax, callingAE
	w.buf = append(w.buf, header{nonce: s.seg.nonce, kind: objectRecord}.encode()...)
	w.buf = append(w.buf, w.prefix...)
	s.writer = w
	return w, nil
}

// printable makes an AE title that a file may hold (PS3.5 §6.2, AE).
func printable(ae string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, strings.TrimSpace(ae))
	return clean[:min(len(clean), 16)]
}

// leave gives up the segment: nothing more is appended to it. A failed one is cut back to what was committed.
func (s *Session) leave(failed bool) error {
	g := s.seg
	s.seg = nil
	if g == nil {
		return nil
	}
	if failed {
		g.file.Truncate(g.end) // if this fails too, Open will find the record without a good trailer
	} else if len(g.index) > 0 {
		s.spool.writeSeal(g.file, g.nonce, g.end, g.index, nil)
	}
	err := g.file.Close()
	s.spool.mu.Lock()
	defer s.spool.mu.Unlock()
	u := s.spool.segments[g.number]
	u.open = false
	if u.live == 0 {
		delete(s.spool.segments, g.number)
		err = errors.Join(err, os.Remove(s.spool.path(g.number)))
	}
	return err
}

// Close ends the session; an unfinished writer is aborted.
func (s *Session) Close() error {
	if s.closed {
		return nil
	}
	if s.writer != nil {
		s.writer.Abort()
	}
	s.closed = true
	return s.leave(false)
}
