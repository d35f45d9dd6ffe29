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
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// recovery is what Open learns from the segments.
type recovery struct {
	spool   *Spool
	objects []Object // of all segments, in order
	told    time.Time
}

// recover reads what the segments say of themselves, and builds the index.
func (s *Spool) recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	r := &recovery{spool: s, told: time.Now()}
	var numbers []uint64
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "probe-") { // of a run that was killed
			os.Remove(filepath.Join(s.dir, e.Name()))
		}
		if s.foundSpare(e.Name()) {
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
			s.opts.Logger.Info("spool being read", "segments", i+1, "of", len(numbers))
		}
	}
	r.index()
	if err := s.sweep(); err != nil {
		return err
	}
	if len(numbers) > 0 {
		s.opts.Logger.Info("spool opened", "segments", len(numbers), "bytes", s.Bytes(), "objects", len(s.objects),
			"damaged", len(s.damaged), "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// index enters what is live: not removed, and each object once. An object can be there twice where its segment was
// given up at a failed sync, or its record was damaged, and the sender tried again: the later one counts, and the
// earlier must not come back when the later is removed.
func (r *recovery) index() {
	s := r.spool
	dead := map[location]bool{}
	for _, t := range s.tombs {
		for _, at := range t.removed {
			dead[at] = true
			s.next = max(s.next, at.Segment+1) // or a new segment could take the number of a removed one
			if t.damage != "" && s.segments[at.Segment] != nil {
				s.damage(at, t.damage)
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
	if len(twins) > 0 {
		if err := s.bury(twins, ""); err != nil {
			s.opts.Logger.Warn("objects that are stored twice could not be marked", "err", err)
		}
	}
}

// found is one record as recovery sees it.
type found struct {
	at   int64
	h    header
	obj  *Object
	tomb *tombstone
	err  error // damaged
}

// segment reads one file: its seal, or what is there without one.
func (r *recovery) segment(ctx context.Context, n uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := os.OpenFile(r.spool.path(n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	r.spool.segments[n].bytes = size
	nonce, err := readNonce(f, size)
	if errors.Is(err, errNoRecords) {
		return r.cut(f, n, 0, size)
	} else if err != nil {
		r.spool.damage(location{n, 0}, err.Error())
		return nil
	}
	if seal, ok := readSeal(f, size, nonce); ok {
		for _, o := range seal.Objects {
			r.objects = append(r.objects, o.object(o.Size, o.SHA256, location{n, o.Offset}))
		}
		for _, d := range seal.Damaged {
			r.spool.damage(location{n, d.Offset}, d.Reason)
		}
		return nil
	}
	records, end, err := r.walk(ctx, f, n, size, nonce)
	if err != nil {
		return err
	}
	if err := r.cut(f, n, end, size); err != nil {
		return err
	}
	return r.keep(f, n, end, nonce, records)
}

// walk reads the records of a segment without seal, up to the end of what was committed. The last one is taken for
// torn where anything about it is wrong: nobody was told that it is stored. Where something was written behind it, it
// was committed before; zeros are what was prepared.
func (r *recovery) walk(ctx context.Context, f *os.File, n uint64, size int64, nonce [16]byte) (records []found, end int64, err error) {
	at := int64(segmentHeaderLen)
	for at < size {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		h, err := readHeader(f, at, size, nonce)
		if err != nil {
			next := findHeader(f, at+1, size, nonce)
			if next < 0 && blank(f, at, size) {
				break
			}
			if next < 0 {
				return records, at, nil
			}
			records = append(records, found{at: at, err: err})
			at = next
			continue
		}
		rec, err := r.record(f, n, at, h)
		if err != nil {
			return nil, 0, err
		}
		records = append(records, rec)
		at += h.length()
	}
	if len(records) == 0 {
		return nil, at, nil
	}
	last := records[len(records)-1]
	if last.obj != nil {
		sum, err := digestOf(f, last.at, last.h)
		if err != nil && !errors.Is(err, syscall.EIO) {
			return nil, 0, err
		}
		if hex.EncodeToString(sum[:]) != last.obj.SHA256 {
			last.err = errUnfinished
		}
	}
	if last.err != nil {
		return records[:len(records)-1], last.at, nil
	}
	return records, at, nil
}

// keep enters what walk found, and seals the segment so that the next start is told of it.
func (r *recovery) keep(f *os.File, n uint64, end int64, nonce [16]byte, records []found) error {
	var objects []Object
	var damaged []sealDamage
	tombs := false
	for _, rec := range records {
		switch {
		case rec.err != nil:
			r.spool.damage(location{n, rec.at}, rec.err.Error())
			damaged = append(damaged, sealDamage{rec.at, rec.err.Error()})
		case rec.tomb != nil:
			r.spool.tombs, tombs = append(r.spool.tombs, *rec.tomb), true
		case rec.obj != nil:
			objects = append(objects, *rec.obj)
		}
	}
	r.objects = append(r.objects, objects...)
	if len(objects)+len(damaged) > 0 && !tombs {
		// It must not be there before what it vouches for.
		if err := r.spool.disk.sync(f); err != nil {
			return err
		}
		r.spool.writeSeal(f, nonce, end, objects, damaged)
	}
	return nil
}

// cut removes a torn tail, which nobody was told is stored.
func (r *recovery) cut(f *os.File, n uint64, at, size int64) error {
	if at == size {
		return nil
	}
	if !blank(f, at, size) {
		r.spool.opts.Logger.Warn("interrupted write dropped", "segment", segmentName(n), "offset", at, "bytes", size-at)
	}
	if err := f.Truncate(at); err != nil {
		return err
	}
	r.spool.segments[n].bytes = at
	return r.spool.disk.sync(f)
}

// blank reports whether there is nothing but zeros from offset at.
func blank(f *os.File, at, size int64) bool {
	buf := make([]byte, min(1<<20, max(size-at, 1)))
	for ; at < size; at += int64(len(buf)) {
		n, err := f.ReadAt(buf, at)
		if len(bytes.TrimLeft(buf[:n], "\x00")) > 0 || err != nil && err != io.EOF {
			return false
		}
	}
	return true
}

// writeSeal ends a segment. It is not synced: where it is lost, Open reads the records instead.
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
		s.opts.Logger.Warn("segment not sealed, the next start takes longer", "err", err)
	}
}

// readSeal reads the seal at the end of a segment, if there is a sound one.
func readSeal(f *os.File, size int64, nonce [16]byte) (sealMeta, bool) {
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

// errNoRecords: the segment was begun and nothing in it was ever committed.
var errNoRecords = errors.New("segment without records")

// readNonce reads the segment header. Where that is damaged the first record header gives the nonce.
func readNonce(f *os.File, size int64) (nonce [16]byte, err error) {
	b := make([]byte, segmentHeaderLen+recordHeaderLen)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nonce, err
	}
	if n < len(b) || len(bytes.TrimLeft(b, "\x00")) == 0 { // the first record of a prepared one did not come to its end
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

// readHeader reads the record header at offset at; errUnfinished too where the record goes beyond the file.
func readHeader(f *os.File, at, size int64, nonce [16]byte) (header, error) {
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

// findHeader looks for the next good record header from offset at, -1 where there is none.
func findHeader(f *os.File, at, size int64, nonce [16]byte) int64 {
	buf := make([]byte, min(1<<20, size))
	for at < size {
		n, err := f.ReadAt(buf, at)
		if n < len(nonce) {
			return -1
		}
		for i := 0; ; i++ {
			j := bytes.Index(buf[i:n], nonce[:])
			if j < 0 {
				break
			}
			i += j
			if _, err := readHeader(f, at+int64(i), size, nonce); err == nil {
				return at + int64(i)
			}
		}
		if err != nil {
			return -1
		}
		at += int64(n - len(nonce) + 1)
	}
	return -1
}

// record reads all of one record but its data set.
func (r *recovery) record(f *os.File, n uint64, at int64, h header) (found, error) {
	rec := found{at: at, h: h}
	prefix, meta, trailer, err := readEnds(f, at, h)
	var file *os.PathError
	if errors.As(err, &file) && !errors.Is(err, syscall.EIO) {
		return rec, err
	}
	if err != nil {
		rec.err = err
		return rec, nil
	}
	sum := [32]byte(trailer)
	if !bytes.Equal(trailer, encodeTrailer(h, prefix, meta, sum)) {
		rec.err = errors.New("SHA-256 does not match")
		return rec, nil
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
	case sealRecord: // one that more was appended to: none is
	default:
		rec.err = fmt.Errorf("record of kind %d, from a newer version", h.kind)
	}
	return rec, nil
}
