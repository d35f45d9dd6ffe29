package spool

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ichor/scp/dcm"
)

// Intake writes the objects of one association into a segment that no other uses meanwhile. One goroutine uses it.
type Intake struct {
	spool  *Spool
	seg    *segment // nil until the first object, and after a failure
	writer *Writer
	buf    []byte // reused by each writer
	closed bool
}

// segment is an open segment file.
type segment struct {
	number   uint64
	file     *os.File
	nonce    [16]byte
	end      int64 // of the last committed record
	prepared int64 // blocks are preallocated up to here; 0 if the file is appended to
	listed   bool  // the folder was synced after the file was created
	index    []Object
}

const (
	// sealObjects is the maximum number of objects in a segment, because a seal is read as a whole.
	sealObjects = 4096
	// shareBytes is the maximum length of a segment that the next association appends to. Sharing avoids one file per object
	// for peers that open an association for each; the limit lets the space of a removed study be freed soon.
	shareBytes = 32 << 20
	// maxResting bounds the files kept open for the next associations.
	maxResting = 8
)

// Intake is the writing side for one association.
func (s *Spool) Intake() *Intake { return &Intake{spool: s} }

// segment finds a segment for an intake: one that rests and has room prepared, a new one from a spare, another that
// rests, or a new one.
func (s *Spool) segment() (*segment, error) {
	s.mu.Lock()
	best := -1
	for i, g := range s.resting {
		if g.end < g.prepared || len(s.spares) == 0 {
			best = i
		}
		if g.end < g.prepared {
			break
		}
	}
	if best >= 0 {
		g := s.resting[best]
		s.resting = slices.Delete(s.resting, best, best+1)
		s.mu.Unlock()
		return g, nil
	}
	s.mu.Unlock()
	return s.newSegment(true)
}

// rest keeps a segment for the next intake, and reports whether it does.
func (s *Spool) rest(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	unused := s.segments[g.number].live == 0
	if s.closed || s.trouble.err != nil || len(s.resting) >= maxResting || g.end >= min(shareBytes, s.opts.SegmentBytes) || len(g.index) >= sealObjects/2 ||
		unused && (g.end > segmentHeaderLen || g.prepared == 0) {
		return false
	}
	s.resting = append(s.resting, g)
	return true
}

// retire closes a segment: nothing more is appended to it. A failed one is truncated to the committed records.
func (s *Spool) retire(g *segment, failed bool) error {
	var err error
	if failed || g.prepared > g.end {
		err = g.file.Truncate(g.end) // if this fails, Open finds a record without valid trailer, or zeros
	}
	if !failed && err == nil && len(g.index) > 0 {
		s.writeSeal(g.file, g.nonce, g.end, g.index, nil)
	}
	if failed {
		err = nil
	}
	err = errors.Join(err, g.file.Close())
	s.mu.Lock()
	u := s.segments[g.number]
	empty := u.live == 0 // and stays empty; it stays open until the file is deleted, so that unlink skips it
	u.open = empty
	s.mu.Unlock()
	if empty {
		if gone := s.deleteSegment(g.number); gone != nil {
			s.mu.Lock()
			u.open = false // for unlink
			s.mu.Unlock()
			err = errors.Join(err, gone)
		}
	}
	return err
}

// newSegment creates an empty segment file, from a spare if wanted and available.
func (s *Spool) newSegment(spare bool) (*segment, error) {
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
	var err error
	if spare {
		g.file, g.prepared = s.fromSpare(n)
	}
	if g.file == nil {
		g.file, err = os.OpenFile(s.path(n), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	if err == nil {
		if err = s.disk.write(g.file, encodeSegmentHeader(g.nonce), 0); err != nil {
			g.file.Close()
			os.Remove(s.path(n))
		}
	}
	if err != nil {
		s.mu.Lock()
		delete(s.segments, n)
		s.mu.Unlock()
		return nil, s.failed("new segment", err)
	}
	return g, nil
}

// makeDurable syncs g, and the first time also its folder.
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
// nothing. ErrIdentity: UIDs that no object can have. An unfinished writer of this intake is aborted.
func (s *Intake) Create(sopClass, sopInstance, transferSyntax, callingAE string) (*Writer, error) {
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
	s.spool.used.Store(time.Now().UnixNano())
	if s.seg != nil && s.spool.full(s.seg) {
		s.leave(false)
	}
	if s.seg == nil {
		g, err := s.spool.segment()
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
	w := &Writer{intake: s, prefix: prefix.Bytes(), digest: sha256.New(), at: s.seg.end, buf: s.buf[:0]}
	w.meta.SOPClassUID, w.meta.SOPInstanceUID = sopClass, sopInstance
	w.meta.TransferSyntaxUID, w.meta.CallingAE = transferSyntax, callingAE
	w.buf = append(w.buf, header{nonce: s.seg.nonce, kind: objectRecord}.encode()...)
	w.buf = append(w.buf, w.prefix...)
	w.hashed = len(w.buf)
	s.writer = w
	return w, nil
}

// printable turns ae into a valid AE title for a file (PS3.5 §6.2, AE).
func printable(ae string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, strings.TrimSpace(ae))
	return clean[:min(len(clean), 16)]
}

// full reports whether to start a new segment: if a spare exists, as soon as the preallocated space of g is used.
func (s *Spool) full(g *segment) bool {
	if g.end >= s.opts.SegmentBytes || len(g.index) >= sealObjects {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.end >= max(g.prepared, shareBytes) && len(s.spares) > 0
}

// leave gives the segment back, or retires it if it failed.
func (s *Intake) leave(failed bool) error {
	g := s.seg
	s.seg = nil
	if g == nil || !failed && s.spool.rest(g) {
		return nil
	}
	return s.spool.retire(g, failed)
}

// Close ends the intake; an unfinished writer is aborted.
func (s *Intake) Close() error {
	if s.closed {
		return nil
	}
	if s.writer != nil {
		s.writer.Abort()
	}
	s.closed = true
	return s.leave(false)
}
