package spool

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Progress is the progress of Scrub.
type Progress struct {
	Objects, Done int   // objects to read, and objects read so far
	Bytes         int64 // read
	Damaged       int   // in all segments, as in Damaged
}

// Scrub reads every object that Open found, at the rate of Options.ScrubBytes. It sets aside objects that do not match their
// digests: they leave the index, so that the same object sent again is stored. It returns when all are read or ctx is done.
func (s *Spool) Scrub(ctx context.Context) error {
	objects := s.toVerify()
	start, told := time.Now(), time.Now()
	for _, o := range objects {
		switch err := s.verified(o); {
		case err == nil, errors.Is(err, ErrDamaged):
		case unread(err) && !ofProcess(err):
			s.damage(o.at, err) // it stays in the index: a later read may succeed
		default:
			s.opts.Logger.Warn("stored object not verified", "segment", segmentName(o.at.Segment), "offset", o.at.Offset, "err", err)
		}
		s.mu.Lock()
		s.scrub.Done++
		s.scrub.Bytes += o.Size
		p := s.scrub
		s.mu.Unlock()
		if time.Since(told) > time.Minute {
			told = time.Now()
			s.opts.Logger.Info("verifying spool", "objects", p.Done, "of", p.Objects, "bytes", p.Bytes)
		}
		if err := s.pace(ctx, start, p.Bytes); err != nil {
			return err
		}
	}
	if len(objects) > 0 {
		p := s.Progress()
		s.opts.Logger.Info("spool verified", "objects", p.Objects, "bytes", p.Bytes, "damaged", p.Damaged,
			"took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// Progress returns the progress of Scrub.
func (s *Spool) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.scrub
	p.Damaged = len(s.damaged)
	return p
}

// toVerify lists the objects that Scrub must read, in disk order.
func (s *Spool) toVerify() (objects []Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.objects {
		for _, o := range list {
			if s.unverified[o.at] {
				objects = append(objects, o)
			}
		}
	}
	slices.SortFunc(objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.at.Segment, b.at.Segment), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	s.scrub = Progress{Objects: len(objects)}
	return objects
}

// pace waits until the rate limit allows this many bytes since start.
func (s *Spool) pace(ctx context.Context, start time.Time, read int64) error {
	if s.opts.ScrubBytes < 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(read) / float64(s.opts.ScrubBytes) * float64(time.Second))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(start.Add(due))):
		return nil
	}
}

// verified returns nil if the bytes of o are those received. It does not read objects again that this process has written or
// verified.
func (s *Spool) verified(o Object) error {
	s.mu.Lock()
	unknown := s.unverified[o.at]
	s.mu.Unlock()
	if !unknown {
		return nil
	}
	err := s.readWhole(o)
	if unread(err) {
		remedy, _ := cause(err)
		return fmt.Errorf("spooled object: %w; %s", err, remedy) // not a fault of the object: a later read may succeed
	}
	s.mu.Lock()
	if err == nil {
		delete(s.unverified, o.at)
	}
	removed := err != nil && !slices.ContainsFunc(s.objects[o.SOPInstanceUID], func(p Object) bool { return p.at == o.at })
	s.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case removed:
		return fmt.Errorf("spooled object: %w", fs.ErrNotExist)
	case s.view:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s.setAside(o, err)
}

// setAside removes a damaged object from the index permanently.
func (s *Spool) setAside(o Object, why error) error {
	s.removing.Lock()
	defer s.removing.Unlock()
	if s.takeOne(o) {
		s.damage(o.at, why)
		s.buryOne(o, why.Error())
	}
	return fmt.Errorf("%w: %w", ErrDamaged, why)
}

// replaced removes an unreadable object from the index that was received again.
func (s *Spool) replaced(o Object) {
	s.removing.Lock()
	defer s.removing.Unlock()
	if s.takeOne(o) {
		s.buryOne(o, "")
	}
}

// takeOne removes an object from the index; its segment still counts it as live. It returns false if it was already removed.
func (s *Spool) takeOne(o Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.objects[o.SOPInstanceUID]
	i := slices.IndexFunc(list, func(p Object) bool { return p.at == o.at })
	if i < 0 || s.closed {
		return false
	}
	list = slices.Delete(slices.Clone(list), i, i+1)
	if s.objects[o.SOPInstanceUID] = list; len(list) == 0 {
		delete(s.objects, o.SOPInstanceUID)
	}
	if !slices.ContainsFunc(list, func(p Object) bool { return p.StudyInstanceUID == o.StudyInstanceUID }) {
		left := slices.DeleteFunc(s.studies[o.StudyInstanceUID], func(uid string) bool { return uid == o.SOPInstanceUID })
		if s.studies[o.StudyInstanceUID] = left; len(left) == 0 {
			delete(s.studies, o.StudyInstanceUID)
		}
	}
	delete(s.unverified, o.at)
	return true
}

// buryOne writes the tombstone of an object that takeOne removed. damage says why; empty if the object is stored elsewhere.
func (s *Spool) buryOne(o Object, damage string) {
	err := s.bury([]Object{o}, damage)
	s.mu.Lock()
	s.segments[o.at.Segment].live--
	s.mu.Unlock()
	if err != nil { // the next start will find it again
		s.opts.Logger.Warn("could not mark damaged object", "err", err)
	}
}

// damage records and logs a damaged or unreadable record, once.
func (s *Spool) damage(at location, why error) {
	d := Damaged{Segment: segmentName(at.Segment), Offset: at.Offset, Reason: why.Error()}
	s.mu.Lock()
	known := slices.ContainsFunc(s.damaged, func(k Damaged) bool { return k.Segment == d.Segment && k.Offset == d.Offset })
	if !known {
		s.damaged = append(s.damaged, d)
	}
	s.mu.Unlock()
	message := "damaged record set aside; send the object again"
	if unread(why) {
		message = "stored record cannot be read, its segment is not changed; check the disk"
	}
	if !known {
		s.opts.Logger.Error(message, "segment", d.Segment, "offset", at.Offset, "err", d.Reason)
	}
}

// readWhole reads the record of o and verifies all its digests.
func (s *Spool) readWhole(o Object) error {
	opened, err := os.Open(s.path(o.at.Segment))
	if err != nil {
		return err
	}
	defer opened.Close()
	f := s.file(opened)
	b := make([]byte, recordHeaderLen)
	if _, err := f.ReadAt(b, o.at.Offset); err != nil {
		return ended(err)
	}
	h, err := decodeHeader(b, [16]byte(b))
	if err != nil {
		return err
	}
	prefix, meta, trailer, err := readEnds(f, o.at.Offset, h)
	if err != nil {
		return err
	}
	sum, err := digestOf(f, o.at.Offset, h)
	if err != nil {
		return err
	}
	if !bytes.Equal(trailer, encodeTrailer(h, prefix, meta, sum)) || hex.EncodeToString(sum[:]) != o.SHA256 {
		return errDigest
	}
	return nil
}

// readEnds reads a record except its header and data set.
func readEnds(f io.ReaderAt, at int64, h header) (prefix, meta, trailer []byte, err error) {
	if h.prefix > 4096 {
		return nil, nil, nil, fmt.Errorf("file meta information of %d bytes", h.prefix)
	}
	prefix = make([]byte, h.prefix)
	if _, err := f.ReadAt(prefix, at+recordHeaderLen); err != nil {
		return nil, nil, nil, ended(err)
	}
	end := make([]byte, int(h.meta)+trailerLen) // at most maxMetaLen
	if _, err := f.ReadAt(end, at+recordHeaderLen+int64(h.payload)); err != nil {
		return nil, nil, nil, ended(err)
	}
	return prefix, end[:h.meta], end[h.meta:], nil
}

// digestOf returns the SHA-256 of the data set of a record.
func digestOf(f io.ReaderAt, at int64, h header) (sum [32]byte, err error) {
	n := int64(h.payload) - int64(h.prefix)
	in := bufio.NewReaderSize(io.NewSectionReader(f, at+recordHeaderLen+int64(h.prefix), n), int(min(n+16, 256<<10)))
	d := sha256.New()
	if _, err := io.CopyN(d, in, n); err != nil {
		return sum, ended(err)
	}
	return [32]byte(d.Sum(nil)), nil
}

// ended turns io.EOF into an error that says that the file is too short.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("segment ends within the record")
	}
	return err
}
