package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// prepared opens a spool with n small spares.
func prepared(t *testing.T, dir string, n int) *Spool {
	t.Helper()
	s := open(t, dir)
	s.spareSize = 256 << 10
	for range n {
		if err := s.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.spares) != n {
		t.Fatalf("spares %v", s.spares)
	}
	return s
}

// spareFiles lists what is written ahead.
func spareFiles(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(files(t, dir), func(name string) bool { return !strings.HasPrefix(filepath.Base(name), sparePrefix) })
}

// TestPrepared: objects go over what is written ahead, then on into the next spare, and what is left of it is cut off.
func TestPrepared(t *testing.T) {
	dir := t.TempDir()
	s := prepared(t, dir, 2)
	sess := s.Intake()
	data := map[string][]byte{}
	for i := range 6 {
		id := fmt.Sprintf("1.%d", i+1)
		data[id] = object(t, "1.9", id, 100_000)
		put(t, sess, id, data[id])
		info, err := os.Stat(s.path(sess.seg.number))
		if err != nil || sess.seg.prepared != 256<<10 || info.Size() != max(sess.seg.prepared, sess.seg.end) {
			t.Fatalf("object %d: %d bytes, %d prepared, %d used: %v", i, info.Size(), sess.seg.prepared, sess.seg.end, err)
		}
		sess.spool.opts.SegmentBytes = sess.seg.prepared // shareBytes is more than these small ones have
	}
	if left := files(t, dir); len(left) != 2 || len(s.spares) != 0 {
		t.Fatalf("files %v, spares %v", left, s.spares)
	}
	sess.Close()
	s.Close()
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.HasSuffix(b, []byte(trailerMagic)) {
			t.Fatalf("%s of %d bytes is not sealed: %v", name, len(b), err)
		}
	}
	s = open(t, dir)
	scrub(t, s)
	if len(s.Study("1.9")) != len(data) || len(s.Damaged()) != 0 {
		t.Fatalf("%d objects, damaged %v", len(s.Study("1.9")), s.Damaged())
	}
	for _, o := range s.Study("1.9") {
		check(t, s, o, data[o.SOPInstanceUID])
	}
}

// TestPreparedTorn: a power loss while the second of two objects was written over what was prepared. Whatever of it
// reached the disk, the first is there, and the second is there whole or not at all. Without its header or trailer it
// was not acknowledged, and nothing is said; else it may have been, and that is said.
func TestPreparedTorn(t *testing.T) {
	first, second := object(t, "1.9", "1.1", 300), object(t, "1.9", "1.2", 9000)
	live := prepared(t, t.TempDir(), 1)
	sess := live.Intake()
	put(t, sess, "1.1", first)
	before, err := os.ReadFile(live.path(sess.seg.number))
	if err != nil {
		t.Fatal(err)
	}
	o, _ := put(t, sess, "1.2", second)
	after, err := os.ReadFile(live.path(sess.seg.number))
	if err != nil || len(after) != 256<<10 {
		t.Fatal(len(after), err)
	}
	from, to := o.at.Offset, sess.seg.end
	dir := quickDir(t)
	for at := from / sectorLen * sectorLen; at < to; at += sectorLen {
		for name, torn := range map[string][]byte{
			"one sector is missing":       slices.Concat(after[:at], before[at:at+512], after[at+512:]),
			"the rest is missing":         slices.Concat(after[:at], before[at:]),
			"all before is missing":       slices.Concat(before[:at], after[at:]),
			"all but a sector is missing": slices.Concat(before[:at], after[at:at+512], before[at+512:]),
		} {
			want, damaged := 1, 1
			missing := func(from, to int64) bool { return len(bytes.TrimLeft(torn[from:to], "\x00")) == 0 }
			switch {
			case bytes.Equal(torn, after):
				want, damaged = 2, 0
			case missing(from, from+recordHeaderLen), missing(to-16, to):
				damaged = 0
			}
			s := reopen(t, dir, torn)
			scrub(t, s)
			got, d := s.Study("1.9"), s.Damaged()
			if len(got) != want || len(d) > damaged || len(d) == 1 && !strings.Contains(d[0].Reason, "may have been acknowledged") {
				t.Fatalf("%s at %d of %d to %d: %d objects, damaged %v", name, at, from, to, len(got), d)
			}
			check(t, s, got[0], first)
			s.Close()
		}
	}
}

// TestPreparedNeverUsed: a run that ends before the first object is on disk leaves nothing, and says nothing.
func TestPreparedNeverUsed(t *testing.T) {
	dir := quickDir(t)
	for name, segment := range map[string][]byte{
		"only its name": make([]byte, 256<<10),
		"its header":    append(encodeSegmentHeader([16]byte{1, 2}), make([]byte, 256<<10)...),
		"an object was begun": slices.Concat(encodeSegmentHeader([16]byte{1, 2}), header{nonce: [16]byte{1, 2}, kind: objectRecord}.encode(),
			bytes.Repeat([]byte{7}, 1000), make([]byte, 256<<10)),
	} {
		if err := os.WriteFile(filepath.Join(dir, "segments", segmentName(1)), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := Open(t.Context(), Options{Dir: dir, ReserveBytes: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		begun := name == "an object was begun"
		if len(files(t, dir)) != 0 || len(s.Damaged()) != 0 || strings.Contains(log.String(), "interrupted") != begun {
			t.Errorf("%s: left %v, damaged %v, %s", name, files(t, dir), s.Damaged(), log.String())
		}
	}
}

// TestAbortInPrepared: what an aborted object wrote does not come back behind the next one.
func TestAbortInPrepared(t *testing.T) {
	dir := t.TempDir()
	s := prepared(t, dir, 1)
	sess := s.Intake()
	begin(t, sess, "1.1", object(t, "1.9", "1.1", 200_000)).Abort()
	data := object(t, "1.9", "1.2", 1000)
	put(t, sess, "1.2", data)
	b, err := os.ReadFile(s.path(sess.seg.number))
	if err != nil || len(b) != 256<<10 || sess.seg.prepared != 256<<10 || len(bytes.Trim(b[sess.seg.end:], "\x00")) > 0 {
		t.Fatalf("%d bytes, %d of them committed, %d prepared: %v", len(b), sess.seg.end, sess.seg.prepared, err)
	}
	// One that went beyond what was prepared, and one that is here already, leave it as well.
	begin(t, sess, "1.3", object(t, "1.9", "1.3", 400_000)).Abort()
	long := object(t, "1.9", "1.4", 150_000)
	put(t, sess, "1.4", long)
	if _, fresh := put(t, sess, "1.4", long); fresh {
		t.Fatal("stored twice")
	}
	b, err = os.ReadFile(s.path(sess.seg.number))
	if err != nil || len(b) != 256<<10 || sess.seg.prepared != 256<<10 || len(bytes.Trim(b[sess.seg.end:], "\x00")) > 0 {
		t.Fatalf("%d bytes, %d of them committed, %d prepared: %v", len(b), sess.seg.end, sess.seg.prepared, err)
	}
	image := files(t, dir)
	copied, err := os.ReadFile(image[0])
	if err != nil {
		t.Fatal(err)
	}
	again := reopen(t, quickDir(t), copied) // as after a kill
	if len(again.Study("1.9")) != 2 || len(again.Damaged()) != 0 {
		t.Fatalf("%d objects, damaged %v", len(again.Study("1.9")), again.Damaged())
	}
	check(t, again, again.Study("1.9")[0], data)
	again.Close()
}

// TestSegmentsAreShared: associations that come one after the other append to one segment while it is short, those at
// the same time to one each; it goes when the last study in it does.
func TestSegmentsAreShared(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := map[string][]byte{}
	store := func(sess *Intake, study, id string) {
		data[id] = object(t, study, id, 1000)
		put(t, sess, id, data[id])
	}
	for i := range 20 {
		sess := s.Intake()
		store(sess, fmt.Sprintf("1.9.%d", i%2), fmt.Sprintf("1.%d", i+1))
		sess.Close()
	}
	if left := files(t, dir); len(left) != 1 {
		t.Fatalf("one after the other: %v", left)
	}
	one, two := s.Intake(), s.Intake()
	store(one, "1.9.0", "1.101")
	store(two, "1.9.1", "1.102")
	one.Close()
	two.Close()
	if left := files(t, dir); len(left) != 2 {
		t.Fatalf("at the same time: %v", left)
	}
	later := time.Now().Add(time.Minute)
	if removed, err := s.RemoveStudy("1.9.0", later); err != nil || !removed {
		t.Fatal(removed, err)
	}
	for _, o := range s.Study("1.9.1") {
		check(t, s, o, data[o.SOPInstanceUID])
	}
	s.Close()
	s = open(t, dir)
	if len(s.Study("1.9.1")) != 11 || s.Study("1.9.0") != nil {
		t.Fatalf("after a restart %d of 11 objects, %d that were removed", len(s.Study("1.9.1")), len(s.Study("1.9.0")))
	}
	if removed, err := s.RemoveStudy("1.9.1", later); err != nil || !removed || len(files(t, dir)) != 0 {
		t.Fatalf("removed %v, %v, left %v", removed, err, files(t, dir))
	}
	// A study that is alone in a segment that waits for the next association frees it at once.
	sess := s.Intake()
	store(sess, "1.9.2", "1.201")
	sess.Close()
	if removed, err := s.RemoveStudy("1.9.2", later); err != nil || !removed || len(files(t, dir)) != 0 {
		t.Fatalf("removed %v, %v, left %v", removed, err, files(t, dir))
	}
	sess = s.Intake()
	store(sess, "1.9.2", "1.202")
	sess.Close()
	check(t, s, s.Study("1.9.2")[0], data["1.202"])
}

// TestSparesAreGivenUp: what is written ahead goes before an object is refused, and is not written where it would take
// room from objects.
func TestSparesAreGivenUp(t *testing.T) {
	dir := t.TempDir()
	s := prepared(t, dir, 2)
	resting := s.Intake()
	put(t, resting, "1.1", object(t, "1.9", "1.1", 1000))
	resting.Close()
	s.opts.ReserveBytes = 10 << 20
	s.disk.free = func(string) (uint64, error) {
		return 10<<20 - uint64(len(spareFiles(t, dir))), nil
	}
	if free, err := s.Free(); err != nil || free != 10<<20-1+256<<10 {
		t.Errorf("%d bytes free, %v", free, err)
	}
	if s.wantsSpare() {
		t.Error("a spare would take room from objects")
	}
	if err := s.Ready(); err != nil || len(spareFiles(t, dir)) != 0 || len(s.spares) != 0 {
		t.Errorf("%v, left %v", err, spareFiles(t, dir))
	}
	if s.disk.free = func(string) (uint64, error) { return 1 << 40, nil }; !s.wantsSpare() {
		s.used.Store(0)
		if !s.wantsSpare() {
			t.Error("no spare is wanted though there is room")
		}
	}
	sess := s.Intake()
	put(t, sess, "1.2", object(t, "1.9", "1.2", 1000))
	sess.Close()
	if len(s.Study("1.9")) != 2 {
		t.Error("an object is lost")
	}
}

// TestSparesOfFormerRun: whole ones are used again, others removed.
func TestSparesOfFormerRun(t *testing.T) {
	dir := t.TempDir()
	s := prepared(t, dir, 2)
	s.Close()
	part := filepath.Join(dir, "segments", sparePrefix+"000000000077"+sparePart)
	if err := os.WriteFile(part, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	was := append(encodeSegmentHeader([16]byte{1, 2}), make([]byte, 256<<10)...)
	if err := os.WriteFile(filepath.Join(dir, "segments", sparePrefix+"000000000078"), was, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if left := spareFiles(t, dir); len(left) != 2 || len(s.spares) != 2 {
		t.Fatalf("left %v, known %v", left, s.spares)
	}
	if s.spareSize = 256 << 10; s.prepare(t.Context()) != nil || len(spareFiles(t, dir)) != 3 {
		t.Fatalf("one more beside those: %v", spareFiles(t, dir))
	}
	sess := s.Intake()
	data := object(t, "1.9", "1.1", 1000)
	o, _ := put(t, sess, "1.1", data)
	if sess.seg.prepared != 256<<10 {
		t.Error("a spare of a former run was not used")
	}
	check(t, s, o, data)
	sess.Close()
	s.Close()
	s, err := Open(t.Context(), Options{Dir: dir, ReserveBytes: -1, SpareBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if left := spareFiles(t, dir); len(left) != 0 {
		t.Errorf("none are wanted any more, left %v", left)
	}
}
