package spool

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"ichor/scp/dcm"
)

// Writer receives the bytes of one data set.
type Writer struct {
	intake  *Intake
	meta    Meta
	prefix  []byte
	digest  hash.Hash // of the data set
	size    int64     // of the data set
	at      int64     // offset of the record
	flushed int64     // bytes of the record already written to the file
	buf     []byte    // the bytes after the flushed ones
	hashed  int       // bytes of buf already in digest, or not part of it
	broken  error     // the error of a failed Write
	done    bool
}

// bufferBytes is how much is collected before it is written.
const bufferBytes = 128 << 10

// spaceStep is how much of an object is written between two checks of the free space.
const spaceStep = 32 << 20

// Write appends bytes of the data set as received. Errors: ErrTooLarge, ErrNoSpace; after an error call Abort.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(w.unfilled(), rest)
		if err := w.taken(n); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// ReadFrom appends everything from r, without an intermediate buffer. It returns an error from r as it is; other errors as for
// Write.
func (w *Writer) ReadFrom(r io.Reader) (n int64, err error) {
	for err == nil {
		var m int
		m, err = r.Read(w.unfilled())
		n += int64(m)
		if failed := w.taken(m); failed != nil {
			return n, failed
		}
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// unfilled returns the part of the buffer for the next bytes, never empty. The buffer grows as bytes arrive.
func (w *Writer) unfilled() []byte {
	if free := cap(w.buf) - len(w.buf); free < bufferBytes/8 && cap(w.buf) < bufferBytes {
		w.buf = slices.Grow(w.buf, min(bufferBytes-len(w.buf), max(bufferBytes/4, len(w.buf))))
	}
	return w.buf[len(w.buf):min(cap(w.buf), bufferBytes)]
}

// taken adds the first n bytes of unfilled to the object.
func (w *Writer) taken(n int) error {
	switch limit := w.intake.spool.opts.MaxObjectBytes; {
	case w.done:
		return ErrClosed
	case w.broken != nil:
		return w.broken
	case w.size+int64(n) > limit:
		w.broken = fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
		return w.broken
	}
	w.size += int64(n)
	if w.buf = w.buf[:len(w.buf)+n]; len(w.buf) == bufferBytes {
		return w.flush()
	}
	return nil
}

// check parses the whole data set and determines the identity of the object.
func (w *Writer) check() error {
	ids, err := dcm.Check(dataSet{w}, w.size, w.meta.TransferSyntaxUID)
	switch {
	case err != nil:
		return err
	case ids.SOPClassUID != w.meta.SOPClassUID:
		return fmt.Errorf("SOP class %q, the command says %q: %w", ids.SOPClassUID, w.meta.SOPClassUID, ErrIdentity)
	case ids.SOPInstanceUID != w.meta.SOPInstanceUID:
		return fmt.Errorf("SOP instance UID differs from the command's: %w", ErrIdentity)
	case !dcm.PlausibleUID(ids.StudyInstanceUID):
		return fmt.Errorf("study instance UID missing or not a UID: %w", ErrIdentity)
	case !dcm.PlausibleUID(ids.SeriesInstanceUID):
		return fmt.Errorf("series instance UID missing or not a UID: %w", ErrIdentity)
	}
	w.meta.Identifiers = ids
	return nil
}

// dataSet reads back what a writer has received: from the file, and the rest from its buffer.
type dataSet struct{ *Writer }

func (d dataSet) ReadAt(p []byte, off int64) (n int, err error) {
	off += recordHeaderLen + int64(len(d.prefix)) // offset in the record
	if off < d.flushed {
		if n, err = d.intake.seg.file.ReadAt(p[:min(int64(len(p)), d.flushed-off)], d.at+off); err != nil {
			return n, err
		}
	}
	n += copy(p[n:], d.buf[max(off-d.flushed, 0):])
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// hash adds the new bytes in buf to the digest.
func (w *Writer) hash() {
	w.digest.Write(w.buf[w.hashed:])
	w.hashed = len(w.buf)
}

func (w *Writer) flush() error {
	w.intake.spool.used.Store(time.Now().UnixNano())
	hashed := make(chan struct{})
	go func() {
		w.hash()
		close(hashed)
	}()
	g, disk, from := w.intake.seg, w.intake.spool.disk, w.at+w.flushed
	err := disk.write(g.file, w.buf, from)
	if to := from + int64(len(w.buf)); err == nil && to <= g.prepared { // the disk works while the next bytes come
		disk.begin(g.file, from&^(pageLen-1), to&^(pageLen-1)) // the last page is not full yet
	}
	<-hashed
	if before := w.flushed / spaceStep; err == nil && (w.flushed+int64(len(w.buf)))/spaceStep > before {
		err = w.intake.spool.reserved(2) // half of the reserve is for objects already started
	}
	w.flushed += int64(len(w.buf))
	w.buf, w.hashed = w.buf[:0], 0
	if err != nil {
		w.broken = w.intake.spool.failed("writing to the spool", err)
		w.done = true
		w.intake.drop(w, true)
		return w.broken
	}
	return nil
}

// drop ends a writer. A failed segment is abandoned, because the state of the kernel's page cache is unknown.
func (s *Intake) drop(w *Writer, failed bool) {
	s.buf = w.buf[:0]
	w.buf = nil
	s.writer = nil
	switch {
	case failed:
		s.leave(true)
	case s.seg != nil && w.flushed > 0:
		if s.spool.wipe(s.seg, w.at+w.flushed, s.buf[:cap(s.buf)]) != nil {
			s.leave(true)
		}
	}
}

// wipe overwrites with zeros what an aborted object wrote up to offset to, so that nothing of it remains after the next record.
// Preallocated blocks stay allocated. buf is scratch space.
func (s *Spool) wipe(g *segment, to int64, buf []byte) error {
	if to > g.prepared {
		if err := g.file.Truncate(max(g.prepared, g.end)); err != nil {
			return err
		}
	}
	clear(buf)
	for at, to := g.end, min(to, g.prepared); at < to; at += int64(len(buf)) {
		if err := s.disk.write(g.file, buf[:min(int64(len(buf)), to-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// Abort discards the object. After Commit it does nothing.
func (w *Writer) Abort() {
	if !w.done {
		w.done = true
		w.intake.drop(w, false)
	}
}

// Commit makes the object durable. If the same object was already stored, fresh is false and obj is that one. Errors:
// ErrIdentity, ErrNoSpace, those of package dcm; after an error the object is discarded.
func (w *Writer) Commit() (obj Object, fresh bool, err error) {
	if w.done {
		return Object{}, false, errors.Join(w.broken, ErrClosed)
	}
	err = w.broken
	if err == nil {
		err = w.check()
	}
	if err != nil {
		w.Abort()
		return Object{}, false, err
	}
	s := w.intake.spool
	w.hash()
	sum := [32]byte(w.digest.Sum(nil))
	w.meta.Received = time.Now().UTC()
	obj = metaOf(Object{Meta: w.meta}).object(int64(len(w.prefix))+w.size, hex.EncodeToString(sum[:]), location{w.intake.seg.number, w.at})

	// Only one commit of a SOP instance UID at a time, so that two associations with the same object store it once.
	for {
		s.mu.Lock()
		other, busy := s.pending[obj.SOPInstanceUID]
		if !busy {
			break
		}
		s.mu.Unlock()
		<-other
	}
	if s.closed {
		s.mu.Unlock()
		w.Abort()
		return Object{}, false, ErrClosed
	}
	mine := make(chan struct{})
	s.pending[obj.SOPInstanceUID] = mine
	same, found := s.find(obj.SOPInstanceUID, obj.SHA256)
	// The sender went back to a former copy: it is stored again, as the newest.
	outdated := found && s.outdated(same)
	s.mu.Unlock()
	// An object stored before this start may be damaged: verify it before acknowledging the new copy.
	unreadable := false
	if outdated {
		found = false
	} else if found {
		if err := s.verified(same); err != nil {
			found, unreadable = false, !errors.Is(err, ErrDamaged) // if unreadable, it is still in the index
		}
	}
	s.mu.Lock()
	obj.Conflict = slices.ContainsFunc(s.objects[obj.SOPInstanceUID], func(o Object) bool { return o.SHA256 != obj.SHA256 })
	if found {
		delete(s.pending, obj.SOPInstanceUID)
	}
	s.mu.Unlock()
	if found {
		close(mine)
		w.Abort()
		return same, false, nil
	}

	err = w.finish(&obj, sum)
	s.used.Store(time.Now().UnixNano())
	s.mu.Lock()
	if err == nil {
		s.add(obj)
		s.segments[obj.at.Segment].bytes = w.intake.seg.end
		w.intake.seg.index = append(w.intake.seg.index, obj)
	}
	delete(s.pending, obj.SOPInstanceUID)
	s.mu.Unlock()
	close(mine)
	w.done = true
	w.intake.drop(w, err != nil)
	if err != nil {
		return Object{}, false, s.failed("committing to the spool", err)
	}
	s.recovered()
	if unreadable || outdated {
		s.replaced(same)
	}
	return obj, true, nil
}

// finish writes meta and trailer, patches the header, and syncs.
func (w *Writer) finish(o *Object, data [32]byte) error {
	g := w.intake.seg
	meta, err := json.Marshal(metaOf(*o))
	if err != nil {
		return err
	}
	h := header{nonce: g.nonce, kind: objectRecord, prefix: uint32(len(w.prefix)), payload: uint64(o.Size), meta: uint32(len(meta))}
	w.buf = append(w.buf, meta...)
	w.buf = append(w.buf, encodeTrailer(h, w.prefix, meta, data)...)
	disk := w.intake.spool.disk
	if w.flushed == 0 {
		copy(w.buf, h.encode())
	}
	if err := disk.write(g.file, w.buf, w.at+w.flushed); err != nil {
		return err
	}
	if w.flushed > 0 {
		if err := disk.write(g.file, h.encode(), w.at); err != nil {
			return err
		}
	}
	if err := w.intake.spool.makeDurable(g); err != nil {
		return err
	}
	g.end = w.at + h.length()
	w.flushed = 0 // nothing left to truncate
	return nil
}
