package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/iotest"

	"ichor/scp/dcm"
)

// TestReadFrom: in whatever pieces an object comes, it is the same object.
func TestReadFrom(t *testing.T) {
	s := open(t, t.TempDir())
	sess := s.Intake()
	defer sess.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for i, n := range []int{0, 100, 30 << 10, bufferBytes, 2*bufferBytes + 1, 700_000} {
		for k, pieces := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r },
			iotest.DataErrReader,
			iotest.HalfReader,
			func(r io.Reader) io.Reader { return random{r, rng} },
		} {
			uid := fmt.Sprintf("1.%d.%d", i+1, k+1)
			data := object(t, "1.9", uid, n)
			w := begin(t, sess, uid, data[:min(k*7, len(data))]) // what Write was given goes before
			if got, err := w.ReadFrom(pieces(bytes.NewReader(data[k*7:]))); got != int64(len(data)-k*7) || err != nil {
				t.Fatalf("%d of %d bytes: %v", got, len(data)-k*7, err)
			}
			o, _, err := w.Commit()
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, o, data)
		}
	}
}

// TestBegin: where blocks are preallocated, the disk is asked to write each full page of an object once, as soon as the object is
// in the file up to there.
func TestBegin(t *testing.T) {
	d := realDisk()
	var first, at, written int64
	d.begin = func(_ *os.File, from, to int64) {
		if at == 0 {
			first = from
		}
		if from != at && at > 0 || from%pageLen != 0 || to%pageLen != 0 || to > written || written-to >= pageLen {
			t.Errorf("pages from %d to %d after %d, of %d bytes in the file", from, to, at, written)
		}
		at = to
	}
	write := d.write
	d.write = func(f *os.File, p []byte, off int64) error {
		written = max(written, off+int64(len(p)))
		return write(f, p, off)
	}
	s, err := openOn(t.Context(), Options{Dir: t.TempDir(), ReserveBytes: -1}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.spareSize = 4 << 20
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	written = 0
	sess := s.Intake()
	defer sess.Close()
	for i := range 3 {
		uid := fmt.Sprintf("1.%d", i+1)
		data := object(t, "1.9", uid, 700_000)
		o, _ := put(t, sess, uid, data)
		if at-first < int64(len(data))-bufferBytes-pageLen {
			t.Errorf("only %d of %d bytes began before the end of the object", at-first, len(data))
		}
		check(t, s, o, data)
		at = 0
	}
	put(t, sess, "1.4", object(t, "1.9", "1.4", 6<<20)) // more than is preallocated
	if at > 4<<20 {
		t.Errorf("pages up to %d, of 4 MiB", at)
	}
}

type random struct {
	io.Reader
	rng *rand.Rand
}

func (r random) Read(p []byte) (int, error) { return r.Reader.Read(p[:1+r.rng.IntN(len(p))]) }

func TestReadFromErrors(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), ReserveBytes: -1, MaxObjectBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sess := s.Intake()
	defer sess.Close()
	data := object(t, "1.9", "1.1", 2000)
	w := begin(t, sess, "1.1", nil)
	if _, err := w.ReadFrom(bytes.NewReader(data)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, _, err := w.Commit(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
	w = begin(t, sess, "1.1", nil)
	if _, err := w.ReadFrom(iotest.ErrReader(io.ErrUnexpectedEOF)); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
	w.Abort()
	if _, err := w.ReadFrom(bytes.NewReader(data)); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	small := object(t, "1.9", "1.2", 10)
	if o, _ := put(t, sess, "1.2", small); o.TransferSyntaxUID != dcm.ExplicitVRLittleEndian {
		t.Errorf("%+v", o)
	}
}
