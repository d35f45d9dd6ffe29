package spool

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// walked is the result of walk for a segment without seal.
type walked struct {
	records []found
	end     int64 // after the last record to keep; only zeros and torn bytes follow
	torn    bool  // an unfinished write follows
	unread  bool  // a part could not be read: the segment must not be changed
}

const (
	sectorLen = 512  // a disk writes this much atomically
	pageLen   = 4096 // and reads this much
)

// walk reads the records of a segment without seal.
func (r *recovery) walk(ctx context.Context, f io.ReaderAt, n uint64, size int64, nonce [16]byte) (w walked, err error) {
	at := int64(segmentHeaderLen)
	for at < size {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		h, err := readHeader(f, at, size, nonce)
		if err == nil {
			rec := r.record(f, n, at, h)
			w.add(rec)
			at += h.length()
			continue
		}
		next, missed := findHeader(f, at+1, size, nonce)
		if next < 0 {
			w.tail(f, at, size, nonce, err, missed)
			return w, nil
		}
		w.add(found{at: at, err: err})
		w.unread = w.unread || missed != nil
		at = next
	}
	w.end = at
	w.last(f)
	return w, nil
}

func (w *walked) add(rec found) {
	w.records = append(w.records, rec)
	w.unread = w.unread || unread(rec.err)
}

// tail decides what the bytes from at to the end of the file are; there is no valid record header at at. err says what is
// wrong with that header, missed is a read error after it.
func (w *walked) tail(f io.ReaderAt, at, size int64, nonce [16]byte, err, missed error) {
	end, failed := written(f, at, size)
	switch {
	case unread(err), missed != nil, failed != nil:
		if !unread(err) {
			err = cmp.Or(missed, failed)
		}
		w.add(found{at: at, err: err})
		w.end, w.unread = size, true
	case end == at:
		w.end = at
		w.last(f)
	case errors.Is(err, errUnfinished), hasGap(f, at, min(at+recordHeaderLen, size)), isSeal(f, at, size, nonce):
		w.end, w.torn = at, true
	default:
		w.add(found{at: at, err: doubtful(err)})
		w.end = end
	}
}

// last decides what the last record is. If its meta or trailer never reached the disk, it was not acknowledged. If other bytes
// are wrong, it may have been. Earlier records were committed before this one was started.
func (w *walked) last(f io.ReaderAt) {
	if len(w.records) == 0 {
		return
	}
	rec := &w.records[len(w.records)-1]
	if rec.err == nil && rec.obj != nil {
		sum, err := digestOf(f, rec.at, rec.h)
		if err == nil && hex.EncodeToString(sum[:]) != rec.obj.SHA256 {
			err = errDigest
		}
		rec.err = err
	}
	switch {
	case rec.err == nil:
	case unread(rec.err):
		w.unread = true
	case rec.h.kind == sealRecord, rec.h.kind != 0 && hasGap(f, rec.at+recordHeaderLen+int64(rec.h.payload), rec.at+rec.h.length()):
		w.end, w.torn = rec.at, true
		w.records = w.records[:len(w.records)-1]
	default:
		rec.err = doubtful(rec.err)
	}
}

// errDigest: the bytes of a record are not those written.
var errDigest = errors.New("SHA-256 does not match")

// errDoubtful: wrong bytes at the end of a segment may be more than a torn write.
var errDoubtful = errors.New("it may have been acknowledged")

func doubtful(err error) error {
	return fmt.Errorf("last record of an interrupted run: %w; %w", err, errDoubtful)
}

// watch walks a segment to which another process may be writing. It reads again what changed meanwhile, and treats invalid
// bytes at the end as a write in progress.
func (r *recovery) watch(ctx context.Context, f io.ReaderAt, n uint64, size int64, nonce [16]byte) (w walked, err error) {
	for range 3 {
		if w, err = r.walk(ctx, f, n, size, nonce); err != nil {
			return w, err
		}
		if k := len(w.records) - 1; k >= 0 && errors.Is(w.records[k].err, errDoubtful) {
			w.records = w.records[:k]
		}
		if _, _, damaged := w.split(); len(damaged) == 0 {
			break
		}
	}
	return w, nil
}

// hasGap reports whether a sector between at and end never reached the disk: it has only zeros, which never occurs in headers,
// JSON and digests.
func hasGap(f io.ReaderAt, at, end int64) bool {
	b := make([]byte, end-at)
	if _, err := f.ReadAt(b, at); err != nil {
		return false
	}
	for len(b) > 0 {
		n := min(int(sectorLen-at%sectorLen), len(b))
		if n >= 4 && len(bytes.TrimLeft(b[:n], "\x00")) == 0 {
			return true
		}
		b, at = b[n:], at+int64(n)
	}
	return false
}

// isSeal reports whether the bytes from at to the end of the file are a seal with a damaged header, so that no acknowledged
// object is lost with it.
func isSeal(f io.ReaderAt, at, size int64, nonce [16]byte) bool {
	n := size - at
	if n < recordHeaderLen+trailerLen || n > maxMetaLen+recordHeaderLen+trailerLen {
		return false
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, at); err != nil || binary.LittleEndian.Uint64(b[n-16:]) != uint64(n) {
		return false
	}
	return bytes.Equal(b[n-trailerLen:], bare(nonce, sealRecord, b[recordHeaderLen:n-trailerLen])[n-trailerLen:])
}

// written returns the offset after the last nonzero byte from at on; at if there is none.
func written(f io.ReaderAt, at, size int64) (end int64, err error) {
	end = at
	buf := make([]byte, min(1<<20, max(size-at, 1)))
	for ; at < size; at += int64(len(buf)) {
		n, err := f.ReadAt(buf, at)
		if used := len(bytes.TrimRight(buf[:n], "\x00")); used > 0 {
			end = at + int64(used)
		}
		if err != nil && err != io.EOF {
			return end, err
		}
	}
	return end, nil
}

// blank reports whether the first size bytes are all zero.
func blank(f io.ReaderAt, size int64) bool {
	end, err := written(f, 0, size)
	return err == nil && end == 0
}

// findHeader returns the offset of the next valid record header from at on, -1 if there is none. It skips unreadable pages;
// missed is the error of reading them.
func findHeader(f io.ReaderAt, at, size int64, nonce [16]byte) (next int64, missed error) {
	buf := make([]byte, min(1<<20, size))
	skip := int64(pageLen)
	for at < size {
		n, err := f.ReadAt(buf, at)
		for i := 0; ; i++ {
			j := bytes.Index(buf[i:n], nonce[:])
			if j < 0 {
				break
			}
			i += j
			if _, err := readHeader(f, at+int64(i), size, nonce); err == nil {
				return at + int64(i), missed
			}
		}
		switch {
		case unread(err):
			if missed = err; n > 0 {
				skip = pageLen
			}
			at = (at+int64(n))/pageLen*pageLen + skip
			skip = min(2*skip, 1<<20) // a disk may take seconds for each failed read
		case err != nil || n < len(nonce):
			return -1, missed
		default:
			at += int64(n - len(nonce) + 1)
		}
	}
	return -1, missed
}

// hasRecord reports whether a segment contains the end of a record, or may contain one in an unreadable part.
func hasRecord(f io.ReaderAt, size int64) bool {
	if size < segmentHeaderLen+recordHeaderLen+trailerLen {
		return false
	}
	buf := make([]byte, min(1<<20, size))
	for at := int64(0); at < size; at += int64(len(buf) - len(trailerMagic) + 1) {
		n, err := f.ReadAt(buf, at)
		if bytes.Contains(buf[:n], []byte(trailerMagic)) || err != nil && err != io.EOF {
			return true
		}
		if n < len(buf) {
			break
		}
	}
	return false
}

// split returns the objects, tombstones and damaged records of w.
func (w *walked) split() (objects []Object, tombs []tombstone, damaged []found) {
	for _, rec := range w.records {
		switch {
		case rec.err != nil:
			damaged = append(damaged, rec)
		case rec.tomb != nil:
			tombs = append(tombs, *rec.tomb)
		case rec.obj != nil:
			objects = append(objects, *rec.obj)
		}
	}
	return objects, tombs, damaged
}
