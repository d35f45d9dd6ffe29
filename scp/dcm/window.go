package dcm

import (
	"errors"
	"fmt"
	"io"
)

// window is the part of a stream that has been read by the scan.
type window struct {
	r     io.Reader // rest of the stream, nil if buf has all; an io.Seeker is used to skip values
	buf   []byte
	gone  int64 // bytes before the current position that were skipped and are not in buf
	size  int64 // length of the whole stream, -1 if unknown (inflated)
	max   int64 // maximum length of buf
	total int64 // maximum bytes of a stream of unknown length
	err   error // error of r other than io.EOF
}

// index returns the index in buf of position pos of the stream, which is after all skipped bytes.
func (w *window) index(pos int64) int { return int(pos - w.gone) }

// at returns the bytes of buf from position pos on.
func (w *window) at(pos int64) []byte { return w.buf[w.index(pos):] }

// need reads up to position end of the stream.
func (w *window) need(end int64) error {
	if end-w.gone <= int64(len(w.buf)) {
		return nil
	}
	if w.size >= 0 && end > w.size {
		return fmt.Errorf("%d bytes, but %d are needed: %w", w.size, end, ErrTruncated)
	}
	if end-w.gone > w.max {
		return fmt.Errorf("header of more than %d bytes: %w", w.max, ErrLimit)
	}
	return w.fill(end - w.gone)
}

// fill reads until buf has at least end bytes.
func (w *window) fill(end int64) error {
	for end > int64(len(w.buf)) {
		if w.r == nil {
			return fmt.Errorf("%d bytes, but %d are needed: %w", len(w.buf), end, ErrTruncated)
		}
		// At most double it, so that a length field cannot make us allocate memory for bytes that do not arrive.
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

// skip skips n bytes at position pos of the stream, by seeking if possible.
func (w *window) skip(pos, n int64) error {
	if w.size < 0 && pos+n > w.total {
		return fmt.Errorf("value up to byte %d, beyond the limit of %d: %w", pos+n, w.total, ErrLimit)
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

// ends reports whether the stream ends at pos, or has only zero padding shorter than an element from there.
func (w *window) ends(pos int64) bool {
	if w.need(pos+8) == nil || w.index(pos) > len(w.buf) {
		return false
	}
	unread := w.r != nil // more may follow in a stream of unknown length
	if w.size >= 0 {
		unread = w.size > w.gone+int64(len(w.buf))
	}
	if unread || w.err != nil {
		return false // a limit or an error, not the end
	}
	for _, b := range w.at(pos) {
		if b != 0 {
			return false
		}
	}
	return true
}
