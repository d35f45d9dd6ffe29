package dcm

import (
	"errors"
	"fmt"
	"io"
)

// window is the front part of a stream, read as far as the scan has come.
type window struct {
	r     io.Reader // rest of the stream, nil where buf is all there is; values are skipped by seeking where it is an io.Seeker
	buf   []byte
	gone  int64 // bytes before the current position that were skipped and are not in buf
	size  int64 // length of the whole stream, -1 where not known (inflated)
	max   int64 // the most buf may become
	total int64 // the most that may be taken from a stream whose length is not known
	err   error // what reading r ended with, other than its end
}

// index is the place in buf of position pos of the stream, which lies behind all that was skipped.
func (w *window) index(pos int64) int { return int(pos - w.gone) }

// at returns what buf holds from position pos on.
func (w *window) at(pos int64) []byte { return w.buf[w.index(pos):] }

// need makes buf reach up to position end of the stream.
func (w *window) need(end int64) error {
	if end-w.gone <= int64(len(w.buf)) {
		return nil
	}
	if w.size >= 0 && end > w.size {
		return fmt.Errorf("%d bytes where %d are needed: %w", w.size, end, ErrTruncated)
	}
	if end-w.gone > w.max {
		return fmt.Errorf("header of more than %d bytes: %w", w.max, ErrLimit)
	}
	return w.fill(end - w.gone)
}

// fill makes buf at least end bytes long.
func (w *window) fill(end int64) error {
	for end > int64(len(w.buf)) {
		if w.r == nil {
			return fmt.Errorf("%d bytes where %d are needed: %w", len(w.buf), end, ErrTruncated)
		}
		// Never by more than what is already there: a length field alone cannot claim memory.
		step := min(max(int64(len(w.buf)), 8<<10), w.max-int64(len(w.buf)))
		old := len(w.buf)
		w.buf = append(w.buf, make([]byte, step)...)
		n, err := io.ReadFull(w.r, w.buf[old:])
		w.buf = w.buf[:old+n]
		if err != nil {
			w.r = nil
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				w.err = err
				return fmt.Errorf("after %d bytes: %w: %w", len(w.buf), ErrTruncated, err)
			}
		}
	}
	return nil
}

// skip takes n bytes at position pos out of the stream: they are not read where that can be avoided.
func (w *window) skip(pos, n int64) error {
	if w.size < 0 && pos+n > w.total {
		return fmt.Errorf("value up to byte %d, the limit is %d: %w", pos+n, w.total, ErrLimit)
	}
	if ahead := pos + n - w.gone - int64(len(w.buf)); ahead > 0 {
		w.buf = w.buf[:w.index(pos)]
		switch r := w.r.(type) {
		case nil:
			return fmt.Errorf("%d bytes missing: %w", ahead, ErrTruncated)
		case io.Seeker:
			if _, err := r.Seek(ahead, io.SeekCurrent); err != nil {
				return err
			}
		default:
			if _, err := io.CopyN(io.Discard, r, ahead); err != nil {
				w.r = nil
				return fmt.Errorf("%w: %w", ErrTruncated, err)
			}
		}
	} else {
		i := w.index(pos)
		w.buf = append(w.buf[:i], w.buf[i+int(n):]...)
	}
	w.gone += n
	return nil
}

// ends reports whether the stream ends at pos, or is only zero padding shorter than an element from there.
func (w *window) ends(pos int64) bool {
	if w.need(pos+8) == nil || w.index(pos) > len(w.buf) {
		return false
	}
	unread := w.r != nil // of a stream of unknown length, more may come
	if w.size >= 0 {
		unread = w.size > w.gone+int64(len(w.buf))
	}
	if unread || w.err != nil {
		return false // a limit or a fault, not the end
	}
	for _, b := range w.at(pos) {
		if b != 0 {
			return false
		}
	}
	return true
}
