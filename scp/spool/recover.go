package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// recovery collects what Open reads from the segments.
type recovery struct {
	spool   *Spool
	objects []Object // from all segments, in order
	told    time.Time
}

// recover reads all segments and builds the index.
func (s *Spool) recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	r := &recovery{spool: s, told: time.Now()}
	var numbers []uint64
	for _, e := range entries {
		if !s.view && strings.HasPrefix(e.Name(), "probe-") { // left by a killed process
			os.Remove(filepath.Join(s.dir, e.Name()))
		}
		if s.view && strings.HasPrefix(e.Name(), sparePrefix) || s.foundSpare(e.Name()) {
			continue
		}
		name, is := strings.CutSuffix(e.Name(), ".seg")
		n, err := strconv.ParseUint(name, 10, 64)
		if is && err == nil && e.Name() == segmentName(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	start := time.Now()
	for i, n := range numbers {
		s.segments[n], s.next = &usage{}, max(s.next, n+1)
		if err := r.segment(ctx, n); err != nil {
			return fmt.Errorf("segment %s: %w", segmentName(n), err)
		}
		if time.Since(r.told) > 5*time.Second {
			r.told = time.Now()
			s.opts.Logger.Info("reading spool", "segments", i+1, "of", len(numbers))
		}
	}
	r.index()
	if s.view {
		return nil
	}
	if err := s.sweep(); err != nil { // unneeded segments stay until the next start
		s.failed("removing unneeded segments", err)
	}
	if len(numbers) > 0 {
		s.opts.Logger.Info("spool opened", "segments", len(numbers), "bytes", s.Bytes(), "objects", len(s.objects),
			"damaged", len(s.damaged), "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// index adds the live objects: those not removed, each once. An object can be stored twice if its segment was abandoned
// after a failed sync, or its record was damaged, and the sender tried again. The later one counts. The earlier one must not
// reappear when the later one is removed.
func (r *recovery) index() {
	s := r.spool
	dead := map[location]bool{}
	for _, t := range s.tombs {
		for _, at := range t.removed {
			dead[at] = true
			s.next = max(s.next, at.Segment+1) // so that a new segment does not take the number of a removed one
			if t.damage != "" && s.segments[at.Segment] != nil {
				s.damage(at, errors.New(t.damage))
			}
		}
	}
	type content struct{ sop, digest string }
	last := map[content]location{}
	for _, o := range r.objects {
		if !dead[o.at] {
			last[content{o.SOPInstanceUID, o.SHA256}] = o.at
		}
	}
	// Segments are not in the order of arrival: one that rested takes later objects than the ones after it.
	slices.SortStableFunc(r.objects, func(a, b Object) int { return a.Received.Compare(b.Received) })
	var twins []Object
	for _, o := range r.objects {
		switch {
		case dead[o.at]:
		case last[content{o.SOPInstanceUID, o.SHA256}] != o.at:
			twins = append(twins, o)
		default:
			s.add(o)
			s.unverified[o.at] = true
		}
	}
	if len(twins) > 0 && !s.view {
		if err := s.bury(twins, ""); err != nil {
			s.opts.Logger.Warn("could not mark objects that are stored twice", "err", err)
		}
	}
}

// found is one record found by recovery.
type found struct {
	at   int64
	h    header
	obj  *Object
	tomb *tombstone
	err  error // damaged
}

// segment reads one file: its seal, or without one all records.
func (r *recovery) segment(ctx context.Context, n uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := r.spool
	f, readOnly, err := s.openSegment(n)
	switch {
	case s.view && errors.Is(err, fs.ErrNotExist): // removed meanwhile
		delete(s.segments, n)
		return nil
	case err != nil && (ofProcess(err) || !unread(err)):
		return err
	case err != nil:
		r.unread(location{n, 0}, err)
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	s.segments[n].bytes = size
	nonce, broken := readNonce(f, size)
	if seal, ok := readSeal(f, size, nonce, broken == nil); ok {
		for _, o := range seal.Objects {
			r.objects = append(r.objects, o.object(o.Size, o.SHA256, location{n, o.Offset}))
		}
		for _, d := range seal.Damaged {
			s.damage(location{n, d.Offset}, errors.New(d.Reason))
		}
		return nil
	}
	if errors.Is(broken, errNoRecords) && hasRecord(f, size) {
		broken = errors.New("segment starts with zeros")
	}
	w := walked{}
	switch {
	case errors.Is(broken, errNoRecords):
		w.torn = !blank(f, size)
	case unread(broken):
		r.unread(location{n, 0}, broken)
		return nil
	case broken != nil && s.view: // its first record is being written
		return nil
	case broken != nil:
		s.damage(location{n, 0}, broken)
		return nil
	default:
		walk := r.walk
		if s.view {
			walk = r.watch
		}
		if w, err = walk(ctx, f, n, size, nonce); err != nil {
			return err
		}
	}
	if !w.unread && !readOnly {
		if err := r.cut(f.File, n, w, size); err != nil {
			return err
		}
	}
	return r.keep(f.File, n, nonce, w, readOnly)
}

// openSegment opens a segment. It opens it read-only if it must not or cannot be written.
func (s *Spool) openSegment(n uint64) (f file, readOnly bool, err error) {
	if !s.view {
		opened, err := os.OpenFile(s.path(n), os.O_RDWR, 0)
		if !errors.Is(err, syscall.EROFS) {
			return s.file(opened), false, err
		}
	}
	opened, err := os.Open(s.path(n))
	return s.file(opened), true, err
}

// unread records a segment that could be read only in part: it is not changed.
func (r *recovery) unread(at location, err error) {
	r.spool.segments[at.Segment].unread = true
	r.spool.damage(at, err)
}

// keep adds what walk found and seals the segment, so that the next start need not walk it again.
func (r *recovery) keep(f *os.File, n uint64, nonce [16]byte, w walked, readOnly bool) error {
	s := r.spool
	objects, tombs, damaged := w.split()
	r.objects, s.tombs = append(r.objects, objects...), append(s.tombs, tombs...)
	var listed []sealDamage
	for _, rec := range damaged {
		s.damage(location{n, rec.at}, rec.err)
		listed = append(listed, sealDamage{rec.at, rec.err.Error()})
	}
	if w.unread {
		s.segments[n].unread = true
	}
	if w.unread || readOnly || len(tombs) > 0 || len(objects)+len(damaged) == 0 {
		return nil
	}
	// The seal must not be on disk before the records it covers.
	if err := s.disk.sync(f); err != nil {
		return err
	}
	s.writeSeal(f, nonce, w.end, objects, listed)
	return nil
}

// cut removes the zeros and the torn write after the committed records: they were never acknowledged.
func (r *recovery) cut(f *os.File, n uint64, w walked, size int64) error {
	if w.end == size {
		return nil
	}
	if w.torn {
		r.spool.opts.Logger.Warn("interrupted write dropped, it was never acknowledged", "segment", segmentName(n), "offset", w.end, "bytes", size-w.end)
	}
	if err := f.Truncate(w.end); err != nil {
		return err
	}
	r.spool.segments[n].bytes = w.end
	return r.spool.disk.sync(f)
}

// writeSeal seals a segment. The seal is not synced: if it is lost, Open reads the records instead.
func (s *Spool) writeSeal(f *os.File, nonce [16]byte, end int64, objects []Object, damaged []sealDamage) {
	m := sealMeta{Version: 1, Damaged: damaged}
	for _, o := range objects {
		m.Objects = append(m.Objects, sealObject{metaOf(o), o.at.Offset, o.Size, o.SHA256})
	}
	meta, err := json.Marshal(m)
	if err == nil && len(meta) <= maxMetaLen {
		err = s.disk.write(f, bare(nonce, sealRecord, meta), end)
	}
	if err != nil {
		f.Truncate(end) // remove a partial seal; if that fails, Open treats it as a torn write
		s.opts.Logger.Warn("segment not sealed, the next start takes longer", "err", err)
	}
}

// readSeal reads the seal at the end of a segment, if there is an intact one. If the nonce of the segment is not known, it
// uses that of the seal.
func readSeal(f io.ReaderAt, size int64, nonce [16]byte, known bool) (sealMeta, bool) {
	var m sealMeta
	b := make([]byte, trailerLen)
	if size < segmentHeaderLen+recordHeaderLen+trailerLen {
		return m, false
	}
	if _, err := f.ReadAt(b, size-trailerLen); err != nil || string(b[72:]) != trailerMagic {
		return m, false
	}
	n := binary.LittleEndian.Uint64(b[64:])
	if n < recordHeaderLen+trailerLen || n > uint64(size-segmentHeaderLen) || n > maxMetaLen+recordHeaderLen+trailerLen {
		return m, false
	}
	at := size - int64(n)
	if !known {
		if _, err := f.ReadAt(nonce[:], at); err != nil {
			return m, false
		}
	}
	h, err := readHeader(f, at, size, nonce)
	if err != nil || h.kind != sealRecord || h.length() != int64(n) {
		return m, false
	}
	meta := make([]byte, h.meta)
	if _, err := f.ReadAt(meta, at+recordHeaderLen); err != nil || !bytes.Equal(b, bare(nonce, sealRecord, meta)[int(n)-trailerLen:]) {
		return m, false
	}
	return m, json.Unmarshal(meta, &m) == nil && m.Version == 1
}

// errNoRecords: the segment was started but nothing in it was ever committed.
var errNoRecords = errors.New("segment without records")

// readNonce reads the nonce from the segment header, or if that is damaged, from the first record header.
func readNonce(f io.ReaderAt, size int64) (nonce [16]byte, err error) {
	b := make([]byte, segmentHeaderLen+recordHeaderLen)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nonce, err
	}
	if n < len(b) || len(bytes.TrimLeft(b, "\x00")) == 0 { // a preallocated segment whose first record was never finished
		return nonce, errNoRecords
	}
	if sealed(b[:segmentHeaderLen]) && string(b[:16]) == segmentMagic {
		return [16]byte(b[16:]), nil
	}
	nonce = [16]byte(b[segmentHeaderLen:])
	if _, err := decodeHeader(b[segmentHeaderLen:], nonce); err == nil {
		return nonce, nil
	}
	return nonce, errors.New("segment header and first record header do not match their checksums")
}

// readHeader reads the record header at offset at. errUnfinished: not committed, or the record extends beyond the file.
func readHeader(f io.ReaderAt, at, size int64, nonce [16]byte) (header, error) {
	if at+recordHeaderLen+trailerLen > size {
		return header{}, errUnfinished
	}
	b := make([]byte, recordHeaderLen)
	if _, err := f.ReadAt(b, at); err != nil {
		return header{}, err
	}
	h, err := decodeHeader(b, nonce)
	if err == nil && at+h.length() > size {
		err = errUnfinished
	}
	return h, err
}

// record reads one record except its data set.
func (r *recovery) record(f io.ReaderAt, n uint64, at int64, h header) found {
	rec := found{at: at, h: h}
	prefix, meta, trailer, err := readEnds(f, at, h)
	if err != nil {
		rec.err = err
		return rec
	}
	sum := [32]byte(trailer)
	if !bytes.Equal(trailer, encodeTrailer(h, prefix, meta, sum)) {
		rec.err = errDigest
		return rec
	}
	switch h.kind {
	case objectRecord:
		var m objectMeta
		if rec.err = json.Unmarshal(meta, &m); rec.err == nil {
			o := m.object(int64(h.payload), hex.EncodeToString(sum[:]), location{n, at})
			rec.obj = &o
		}
	case tombstoneRecord:
		var m tombstoneMeta
		if rec.err = json.Unmarshal(meta, &m); rec.err == nil {
			rec.tomb = &tombstone{segment: n, removed: m.Removed, damage: m.Damage}
		}
	case sealRecord: // invalid: nothing may follow a seal
	default:
		rec.err = fmt.Errorf("record of unknown kind %d, from a newer version", h.kind)
	}
	return rec
}
