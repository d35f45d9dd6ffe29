package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// segmentOf stores objects in one session and returns the segment file's bytes, without and with its seal, and the
// offset of each record.
func segmentOf(t *testing.T, objects map[string][]byte, order []string) (segment, sealed []byte, at []int64) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir)
	sess := s.Intake()
	for _, id := range order {
		o, _ := put(t, sess, id, objects[id])
		at = append(at, o.at.Offset)
	}
	segment, err := os.ReadFile(files(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	sess.Close()
	s.Close()
	if sealed, err = os.ReadFile(files(t, dir)[0]); err != nil || len(sealed) <= len(segment) {
		t.Fatalf("%d bytes with a seal, %d without: %v", len(sealed), len(segment), err)
	}
	return segment, sealed, at
}

// quickDir is a folder in memory where the system has one: thousands of starts need no disk.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-*")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.MkdirAll(filepath.Join(dir, "segments"), 0o700)
	return dir
}

// scrub verifies everything at once.
func scrub(t *testing.T, s *Spool) {
	t.Helper()
	s.opts.ScrubBytes = -1
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// reopen opens a spool whose only segment holds these bytes.
func reopen(t *testing.T, dir string, segment []byte) *Spool {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "segments", segmentName(1)), segment, 0o600); err != nil {
		t.Fatal(err)
	}
	return again(t, dir)
}

func again(t *testing.T, dir string) *Spool {
	t.Helper()
	d := realDisk() // thousands of starts: without waiting for the disk
	d.sync = func(*os.File) error { return nil }
	d.list = func(string) error { return nil }
	s, err := openOn(context.Background(), Options{Dir: dir, ReserveBytes: -1}, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCutAtEveryByteOfTheLastRecord(t *testing.T) {
	objects := map[string][]byte{"1.1": object(t, "1.9", "1.1", 300), "1.2": object(t, "1.9", "1.2", 40), "1.3": object(t, "1.9", "1.3", 20)}
	segment, _, at := segmentOf(t, objects, []string{"1.1", "1.2", "1.3"})
	dir := quickDir(t)
	for _, unpatched := range []bool{false, true} { // the header of the last record with its lengths, and before
		whole := slices.Clone(segment)
		if unpatched {
			copy(whole[at[2]:], header{nonce: [16]byte(segment[16:]), kind: objectRecord}.encode())
		}
		last := int64(len(whole))
		if unpatched { // all is there but the lengths
			last++
		}
		for end := at[2]; end < last; end++ {
			s := reopen(t, dir, whole[:end])
			got := s.Study("1.9")
			if len(got) != 2 || len(s.Damaged()) != 0 {
				t.Fatalf("cut at %d of %d: %d objects, damaged %v", end, len(whole), len(got), s.Damaged())
			}
			for _, o := range got {
				check(t, s, o, objects[o.SOPInstanceUID])
			}
			s.Close()
			left, err := os.ReadFile(filepath.Join(dir, "segments", segmentName(1)))
			if err != nil || !bytes.Equal(left[:at[2]], segment[:at[2]]) {
				t.Fatalf("cut at %d: what was committed has changed: %v", end, err)
			}
			if end%16 != 0 {
				continue
			}
			again := reopen(t, dir, left) // the seal that took the place of the torn tail
			if scrub(t, again); len(again.Study("1.9")) != 2 || len(again.Damaged()) != 0 {
				t.Fatalf("cut at %d, second start: %d objects, damaged %v", end, len(again.Study("1.9")), again.Damaged())
			}
			again.Close()
		}
	}
}

// TestTornPages: after a power loss the file may have its length, and sectors in it that were never written. Where one of
// the header, meta or trailer is missing the object was not acknowledged. Where one of its data is, that is not known.
func TestTornPages(t *testing.T) {
	objects := map[string][]byte{"1.1": object(t, "1.9", "1.1", 300), "1.2": object(t, "1.9", "1.2", 9000)}
	segment, sealed, at := segmentOf(t, objects, []string{"1.1", "1.2"})
	dir := quickDir(t)
	h, err := decodeHeader(segment[at[1]:], [16]byte(segment[16:]))
	if err != nil {
		t.Fatal(err)
	}
	ends := at[1] + recordHeaderLen + int64(h.payload) // where meta begins
	for _, c := range []struct {
		name   string
		whole  []byte
		sealed bool
	}{{"no seal follows", segment, false}, {"acknowledged, for a seal follows", sealed, true}} {
		for from := at[1] / sectorLen * sectorLen; from+sectorLen <= int64(len(segment)); from += sectorLen {
			torn := slices.Clone(c.whole)
			clear(torn[max(from, at[1]) : from+sectorLen])
			certain := from < at[1]+recordHeaderLen || from+sectorLen > ends+4
			s := reopen(t, dir, torn)
			scrub(t, s)
			if len(s.Study("1.9")) != 1 || len(s.Damaged()) != 1 && !certain || len(s.Damaged()) != 0 && certain && !c.sealed {
				t.Fatalf("%s, zeros at %d: %d objects, damaged %v", c.name, from, len(s.Study("1.9")), s.Damaged())
			}
			if d := s.Damaged(); !c.sealed && !certain && !strings.Contains(d[0].Reason, "may have been acknowledged") {
				t.Fatalf("%s, zeros at %d: %v", c.name, from, d)
			}
			s.Close()
			left, err := os.ReadFile(filepath.Join(dir, "segments", segmentName(1)))
			if err != nil || !certain && !bytes.HasPrefix(left, torn[:len(segment)]) {
				t.Fatalf("%s, zeros at %d: what may have been acknowledged was changed: %v", c.name, from, err)
			}
			for _, name := range files(t, dir) {
				os.Remove(name)
			}
		}
	}
}

func TestCutAtAnyByte(t *testing.T) {
	objects := map[string][]byte{"1.1": object(t, "1.9", "1.1", 30), "1.2": object(t, "1.9", "1.2", 40)}
	segment, _, at := segmentOf(t, objects, []string{"1.1", "1.2"})
	dir := quickDir(t)
	for end := int64(0); end < at[1]; end++ {
		s := reopen(t, dir, segment[:end])
		if n := len(s.Study("1.9")); n != 0 || len(s.Damaged()) != 0 {
			t.Fatalf("cut at %d: %d objects, damaged %v", end, n, s.Damaged())
		}
		s.Close()
		if left := files(t, dir); len(left) != 0 {
			t.Fatalf("cut at %d: a segment without records was kept", end)
		}
	}
}

func TestBitFlips(t *testing.T) {
	ids := []string{"1.1", "1.2", "1.3"}
	objects := map[string][]byte{}
	for _, id := range ids {
		objects[id] = object(t, "1.9", id, 200)
	}
	segment, sealed, at := segmentOf(t, objects, ids)
	at = append(at, int64(len(segment)))
	dir := quickDir(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range int64(len(sealed)) {
		if (i < at[1] || i >= at[1]+recordHeaderLen) && rng.IntN(6) > 0 {
			continue // every byte of a record header, every sixth of the rest
		}
		flipped := slices.Clone(sealed)
		flipped[i] ^= 1 << rng.IntN(8)
		s := reopen(t, dir, flipped)
		scrub(t, s)
		hit := -1 // the record that was hit; the segment header is there twice, and the seal can be done without
		for k := range ids {
			if i >= at[k] && i < at[k+1] {
				hit = k
			}
		}
		want := 3
		if hit >= 0 {
			want = 2
		}
		for _, when := range []string{"first start", "second start"} {
			got := s.Study("1.9")
			if len(got) != want || len(s.Damaged()) != 3-want {
				t.Fatalf("byte %d of record %d, %s: %d objects, damaged %v", i, hit, when, len(got), s.Damaged())
			}
			for _, o := range got {
				check(t, s, o, objects[o.SOPInstanceUID])
			}
			s.Close()
			if when == "first start" && hit >= 0 && i%4 != 0 {
				break
			}
			if _, err := os.Stat(filepath.Join(dir, "segments", segmentName(1))); err != nil {
				t.Fatalf("byte %d: the segment is gone: %v", i, err)
			}
			if when == "first start" {
				s = again(t, dir) // without another scrub: what was found damaged stays known
			}
		}
		for _, name := range files(t, dir) {
			os.Remove(name)
		}
	}
}

// A record header in a payload is not one: the nonce differs.
func TestPayloadThatLooksLikeARecord(t *testing.T) {
	objects := map[string][]byte{"1.1": object(t, "1.9", "1.1", 30)}
	evil, _, _ := segmentOf(t, objects, []string{"1.1"})
	data := append(object(t, "1.9", "1.2", 0), 0xFC, 0xFF, 0xFC, 0xFF, 'O', 'B', 0, 0)
	data = append(binary.LittleEndian.AppendUint32(data, uint32(len(evil))), evil...)
	_, segment, at := segmentOf(t, map[string][]byte{"1.2": data}, []string{"1.2"})
	segment[at[0]] ^= 1 // now the scan looks for the next header
	dir := quickDir(t)
	s := reopen(t, dir, segment)
	defer s.Close()
	scrub(t, s)
	if n := len(s.Study("1.9")); n != 0 || len(s.Damaged()) != 1 {
		t.Fatalf("%d objects, damaged %v", n, s.Damaged())
	}
}

func TestRemoveStudy(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alone, mixed, active := s.Intake(), s.Intake(), s.Intake()
	put(t, alone, "1.1", object(t, "1.9", "1.1", 100))
	put(t, mixed, "1.2", object(t, "1.9", "1.2", 100))
	other := object(t, "1.8", "1.3", 100)
	put(t, mixed, "1.3", other)
	kept, _ := put(t, active, "1.4", object(t, "1.9", "1.4", 100))
	reader, err := s.Read(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	alone.Close()
	mixed.Close()
	later := time.Now().Add(time.Minute)
	if removed, err := s.RemoveStudy("1.9", kept.Received); removed || err != nil || len(s.Study("1.9")) != 3 {
		t.Fatalf("an object had just come: removed %v, %v, %d left of 3", removed, err, len(s.Study("1.9")))
	}
	if removed, err := s.RemoveStudy("1.9", later); !removed || err != nil {
		t.Fatal(removed, err)
	}
	if removed, err := s.RemoveStudy("1.7", later); removed || err != nil {
		t.Fatal("a study that is not there:", removed, err)
	}
	if got := s.Studies(); !slices.Equal(got, []string{"1.8"}) || s.Study("1.9") != nil {
		t.Fatalf("studies %v", got)
	}
	if n := len(files(t, dir)); n != 3 { // mixed, active, tombstone
		t.Fatalf("%d segments: %v", n, files(t, dir))
	}
	if _, err := reader.ReadAt(make([]byte, 10), 0); err != nil {
		t.Fatal("an open reader:", err)
	}
	again := object(t, "1.9", "1.1", 100)
	if _, fresh := put(t, active, "1.1", again); !fresh {
		t.Fatal("an object of a removed study was taken for known")
	}
	active.Close()
	s.Close()

	s = open(t, dir)
	got := s.Study("1.9")
	if len(got) != 1 || got[0].SOPInstanceUID != "1.1" || len(s.Study("1.8")) != 1 {
		t.Fatalf("after restart: %+v", got)
	}
	check(t, s, got[0], again)
	check(t, s, s.Study("1.8")[0], other)
	for _, study := range []string{"1.8", "1.9"} {
		if _, err := s.RemoveStudy(study, later); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, dir); len(left) != 0 {
		t.Fatalf("nothing is live, but %v", left)
	}
	sess := s.Intake()
	put(t, sess, "1.5", object(t, "1.9", "1.5", 100))
	sess.Close()
	s.Close()
	if s = open(t, dir); len(s.Study("1.9")) != 1 {
		t.Fatal("an old tombstone removed a new object")
	}
}

// TestRemovalThatCannotBeWritten fails to write the tombstone while the session that received the object ends.
func TestRemovalThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	d := realDisk()
	var full *Intake
	write := d.write
	d.write = func(f *os.File, p []byte, off int64) error {
		if full != nil {
			full.Close()
			return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return write(f, p, off)
	}
	s, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1}, d)
	if err != nil {
		t.Fatal(err)
	}
	sess := s.Intake()
	data := object(t, "1.9", "1.1", 100)
	put(t, sess, "1.1", data)
	full = sess
	later := time.Now().Add(time.Minute)
	if removed, err := s.RemoveStudy("1.9", later); removed || !errors.Is(err, ErrNoSpace) {
		t.Fatalf("removed %v, %v", removed, err)
	}
	full = nil
	if left := s.Study("1.9"); len(left) != 1 {
		t.Fatalf("%d objects, the one that could not be removed is still there", len(left))
	} else {
		check(t, s, left[0], data)
	}
	if removed, err := s.RemoveStudy("1.9", later); !removed || err != nil || len(files(t, dir)) != 0 {
		t.Fatalf("removed %v, %v, left %v", removed, err, files(t, dir))
	}
	s.Close()
}

func TestSegmentsRoll(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(context.Background(), Options{Dir: dir, ReserveBytes: -1, SegmentBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sess := s.Intake()
	for _, id := range []string{"1.1", "1.2", "1.3", "1.4", "1.5"} {
		put(t, sess, id, object(t, "1.9", id, 6000))
	}
	sess.Close()
	if n := len(files(t, dir)); n != 3 {
		t.Fatalf("%d segments", n)
	}
}

func TestOpenCanBeInterrupted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	sess := s.Intake()
	put(t, sess, "1.1", object(t, "1.9", "1.1", 100))
	sess.Close()
	s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := Open(ctx, Options{Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	open(t, dir) // the lock was let go
}
