package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A spare is a file of zeros that becomes a segment when renamed. Overwriting existing blocks changes no metadata, so
// fdatasync need not wait for the journal of the file system: less than half the time of an append. Spares are written
// while nothing is being received, and deleted when disk space is low.
const (
	defaultSpareSize = 64 << 20
	// sparePiece is the size of one write; a pause follows each, so that the disk is not kept busy with zeros.
	sparePiece = 1 << 20
	sparePause = 5 * time.Millisecond
	// spareIdle is how long nothing must have been received before spares are written.
	spareIdle = 500 * time.Millisecond

	sparePrefix = "spare-"
	sparePart   = ".part" // an unfinished one
)

// Prepare keeps Options.SpareBytes preallocated until ctx is done.
func (s *Spool) Prepare(ctx context.Context) error {
	wait := time.Second
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = time.Second
		if !s.wantsSpare() {
			continue
		}
		if err := s.prepare(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Debug("no spare segment written, objects are appended", "err", err)
			wait = time.Minute
		}
	}
}

// wantsSpare reports whether another spare is wanted and there is room for it in addition to the reserve.
func (s *Spool) wantsSpare() bool {
	s.mu.Lock()
	full := s.closed || int64(len(s.spares)+1)*s.spareSize > s.opts.SpareBytes
	s.mu.Unlock()
	if full || !s.quiet() {
		return false
	}
	free, err := s.disk.free(s.opts.Dir)
	return err == nil && free > 2*uint64(max(s.opts.ReserveBytes, s.spareSize))+2*uint64(s.spareSize)
}

// quiet reports whether nothing is being received.
func (s *Spool) quiet() bool { return time.Now().UnixNano()-s.used.Load() > int64(spareIdle) }

// prepare writes one spare. The file gets its name when all of it is on disk.
func (s *Spool) prepare(ctx context.Context) (err error) {
	s.mu.Lock()
	s.next++
	name := filepath.Join(s.dir, fmt.Sprintf("%s%012d", sparePrefix, s.next-1))
	s.mu.Unlock()
	f, err := os.OpenFile(name+sparePart, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(name + sparePart)
		}
	}()
	zeros := make([]byte, sparePiece)
	for at := int64(0); at < s.spareSize; at += sparePiece {
		for pause := true; pause; pause = !s.quiet() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(sparePause):
			}
		}
		if err := s.disk.write(f, zeros[:min(sparePiece, s.spareSize-at)], at); err != nil {
			return err
		}
		if (at/sparePiece)%8 == 7 {
			if err := s.disk.sync(f); err != nil {
				return err
			}
		}
	}
	if err := s.disk.sync(f); err != nil { // also its length
		return err
	}
	if err := os.Rename(name+sparePart, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // the next run finds it
	}
	s.spares = append(s.spares, name)
	return nil
}

// fromSpare turns a spare into the file of segment n; nil if there is none. Its blocks are zero, so after a crash old bytes
// cannot be mistaken for a record of this segment.
func (s *Spool) fromSpare(n uint64) (*os.File, int64) {
	for {
		s.mu.Lock()
		if len(s.spares) == 0 {
			s.mu.Unlock()
			return nil, 0
		}
		name := s.spares[len(s.spares)-1]
		s.spares = s.spares[:len(s.spares)-1]
		s.mu.Unlock()
		if err := os.Rename(name, s.path(n)); err != nil {
			os.Remove(name)
			continue
		}
		f, err := os.OpenFile(s.path(n), os.O_RDWR, 0)
		if err != nil {
			os.Remove(s.path(n))
			return nil, 0
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			os.Remove(s.path(n))
			return nil, 0
		}
		return f, info.Size()
	}
}

// foundSpare takes over a spare of an earlier run. It removes incomplete spares, and spares that were in use as a segment when
// the power failed before the new name was on disk: nothing in them was acknowledged. It reports whether name was a spare.
func (s *Spool) foundSpare(name string) bool {
	switch {
	case !strings.HasPrefix(name, sparePrefix):
		return false
	case strings.HasSuffix(name, sparePart) || int64(len(s.spares)+1)*s.spareSize > s.opts.SpareBytes || !s.unused(filepath.Join(s.dir, name)):
		os.Remove(filepath.Join(s.dir, name)) // if this fails, it only wastes space
	default:
		var n uint64
		if _, err := fmt.Sscanf(name, sparePrefix+"%d", &n); err == nil {
			s.next = max(s.next, n+1) // so that no other file takes its name
		}
		s.spares = append(s.spares, filepath.Join(s.dir, name))
	}
	return true
}

// unused reports whether the start of a spare, where a segment has its header, is blank.
func (s *Spool) unused(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return blank(s.file(f), 4<<10)
}

// giveUp deletes the spares and reports whether there were any.
func (s *Spool) giveUp() bool {
	s.mu.Lock()
	spares, resting := s.spares, s.resting
	s.spares, s.resting = nil, nil
	s.mu.Unlock()
	for _, name := range spares {
		os.Remove(name)
	}
	for _, g := range resting {
		s.retire(g, false)
	}
	return len(spares)+len(resting) > 0
}
