package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"ichor/scp/dcm"
)

// quiet is a disk without waiting.
func quietDisk() disk {
	d := realDisk()
	d.sync = func(*os.File) error { return nil }
	d.list = func(string) error { return nil }
	return d
}

// unreadable makes the pages of files with this suffix from one offset to another fail with err, as a bad disk does.
func unreadable(d disk, suffix string, from, to int64, err error) disk {
	read := d.read
	d.read = func(f *os.File, p []byte, off int64) (int, error) {
		if !strings.HasSuffix(f.Name(), suffix) || off >= to || off+int64(len(p)) <= from {
			return read(f, p, off)
		}
		n := 0
		if off < from {
			n, _ = read(f, p[:from-off], off)
		}
		return n, &os.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return d
}

// ten is a segment without seal that holds ten objects, as a kill leaves it.
func ten(t *testing.T) (objects map[string][]byte, segment, sealed []byte, at []int64) {
	t.Helper()
	objects = map[string][]byte{}
	var ids []string
	for i := range 10 {
		id := fmt.Sprintf("1.%d", i+1)
		objects[id], ids = object(t, "1.9", id, 20_000), append(ids, id)
	}
	segment, sealed, at = segmentOf(t, objects, ids)
	return objects, segment, sealed, at
}

// TestUnreadable: what cannot be read is neither cut nor sealed over nor deleted. The rest is served, and all of it once
// the disk can be read again.
func TestUnreadable(t *testing.T) {
	objects, segment, sealed, at := ten(t)
	page := func(offset int64) (from, to int64) {
		return offset / pageLen * pageLen, offset/pageLen*pageLen + pageLen
	}
	end := int64(len(segment))
	for _, c := range []struct {
		name    string
		bytes   []byte
		around  int64
		least   int // objects that are found in spite of it
		damaged bool
	}{
		{"header of the third", segment, at[2], 8, true},
		{"header of the third, zeros behind the last", append(bytes.Clone(segment), make([]byte, 100_000)...), at[2], 8, true},
		{"pixels of the third", segment, at[2] + 9000, 10, false}, // a start does not read them
		{"pixels of the last", segment, at[9] + 9000, 9, true},
		{"header of the last", segment, at[9], 8, true},
		{"end of the last", segment, end - 1, 9, true},
		{"segment header", segment, 0, 0, true},
		{"zeros behind the last", append(bytes.Clone(segment), make([]byte, 100_000)...), end + 50_000, 10, true},
		{"segment header, with a seal", sealed, 0, 10, false},
		{"seal", sealed, int64(len(sealed)) - 1, 9, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, fault := range []error{syscall.EIO, syscall.ESTALE, syscall.ENOMEM} {
				dir := quickDir(t)
				path := filepath.Join(dir, "segments", segmentName(1))
				if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
					t.Fatal(err)
				}
				from, to := page(c.around)
				s, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1}, unreadable(quietDisk(), ".seg", from, to, fault))
				if err != nil {
					t.Fatal(err)
				}
				got, damaged := s.Study("1.9"), s.Damaged()
				if len(got) < c.least || c.damaged == (len(damaged) == 0) {
					t.Errorf("%v: %d objects, damaged %v", fault, len(got), damaged)
				}
				for _, d := range damaged {
					if !strings.Contains(d.Reason, fault.Error()) {
						t.Errorf("%v is told as %q", fault, d.Reason)
					}
				}
				if _, err := s.RemoveStudy("1.9", time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
				s.Close()
				if left, err := os.ReadFile(path); c.damaged && (err != nil || !bytes.Equal(left, c.bytes)) {
					t.Fatalf("%v: the segment of %d bytes has %d now: %v", fault, len(c.bytes), len(left), err)
				}
				if !c.damaged {
					continue
				}
				for _, name := range files(t, dir) { // the removal was for this run
					if name != path {
						os.Remove(name)
					}
				}
				s = again(t, dir)
				if scrub(t, s); len(s.Study("1.9")) != 10 || len(s.Damaged()) != 0 {
					t.Errorf("%v: %d objects when all can be read again, damaged %v", fault, len(s.Study("1.9")), s.Damaged())
				}
				for _, o := range s.Study("1.9") {
					check(t, s, o, objects[o.SOPInstanceUID])
				}
				s.Close()
			}
		})
	}
}

// TestOpenSegmentFails: a segment that the disk does not open is kept and listed; where the process may not open files
// the spool does not start.
func TestOpenSegmentFails(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may open all files")
	}
	_, segment, _, _ := ten(t)
	dir := quickDir(t)
	path := filepath.Join(dir, "segments", segmentName(1))
	if err := os.WriteFile(path, segment, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1}, quietDisk()); !errors.Is(err, os.ErrPermission) {
		t.Fatalf("%v", err)
	}
}

// TestRotAtTheEnd: wrong bytes in the last record of a segment without seal may be an object that was acknowledged.
// They are kept, listed at each start, and nothing is appended to them.
func TestRotAtTheEnd(t *testing.T) {
	objects, segment, _, at := ten(t)
	for _, c := range []struct {
		name string
		at   int64
	}{{"header", at[9] + 20}, {"prefix", at[9] + recordHeaderLen + 140}, {"pixels", at[9] + 9000}, {"trailer", int64(len(segment)) - 60}} {
		for _, zeros := range []int{0, 50_000} {
			t.Run(fmt.Sprint(c.name, " zeros ", zeros), func(t *testing.T) {
				rotten := bytes.Clone(segment)
				rotten[c.at] ^= 4
				dir := quickDir(t)
				s := reopen(t, dir, append(bytes.Clone(rotten), make([]byte, zeros)...))
				for _, when := range []string{"first start", "second start"} {
					d := s.Damaged()
					if len(s.Study("1.9")) != 9 || len(d) != 1 || d[0].Offset != at[9] || !strings.Contains(d[0].Reason, "may have been acknowledged") {
						t.Errorf("%s: %d objects, damaged %v", when, len(s.Study("1.9")), d)
					}
					s.Close()
					if left, err := os.ReadFile(filepath.Join(dir, "segments", segmentName(1))); err != nil || !bytes.HasPrefix(left, rotten) {
						t.Fatalf("%s: the bytes were changed: %v", when, err)
					}
					s = again(t, dir)
				}
				sess := s.Intake()
				if _, fresh := put(t, sess, "1.10", objects["1.10"]); !fresh || sess.seg.number == 1 {
					t.Errorf("fresh %v, in segment %d", fresh, sess.seg.number)
				}
				sess.Close()
				s.Close()
			})
		}
	}
}

// TestFirstSectorLost: a segment that begins with zeros and holds records is kept.
func TestFirstSectorLost(t *testing.T) {
	_, segment, sealed, _ := ten(t)
	for name, whole := range map[string][]byte{"no seal": segment, "seal": sealed} {
		lost := bytes.Clone(whole)
		clear(lost[:sectorLen])
		dir := quickDir(t)
		s := reopen(t, dir, lost)
		s.Close()
		if left, err := os.ReadFile(filepath.Join(dir, "segments", segmentName(1))); err != nil || !bytes.Equal(left, lost) {
			t.Errorf("%s: %d of %d bytes left: %v", name, len(left), len(lost), err)
		}
		if n := len(s.Study("1.9")); name == "seal" && n != 10 || name == "no seal" && len(s.Damaged()) != 1 {
			t.Errorf("%s: %d objects, damaged %v", name, n, s.Damaged())
		}
	}
}

// TestCannotReadIsNotDamage: an object that cannot be read now stays, and is served when it can be. Sent again it is
// stored again, and is there once.
func TestCannotReadIsNotDamage(t *testing.T) {
	objects, _, sealed, at := ten(t)
	for _, c := range []struct {
		fault  error
		listed int
	}{{syscall.EIO, 1}, {syscall.ENOMEM, 0}} {
		dir := quickDir(t)
		s := reopen(t, dir, sealed)
		good := s.disk
		s.disk = unreadable(good, ".seg", at[4]+8000, at[4]+9000, c.fault)
		o := s.Study("1.9")[4]
		scrub(t, s)
		if _, err := s.Read(o); !errors.Is(err, c.fault) || errors.Is(err, ErrDamaged) {
			t.Errorf("%v: read of what cannot be read: %v", c.fault, err)
		}
		if len(s.Study("1.9")) != 10 || len(s.Damaged()) != c.listed {
			t.Errorf("%v: %d objects, damaged %v", c.fault, len(s.Study("1.9")), s.Damaged())
		}
		s.disk = good
		check(t, s, o, objects["1.5"])
		s.Close()

		s = again(t, dir)
		s.disk = unreadable(good, segmentName(1), at[4]+8000, at[4]+9000, c.fault)
		sess := s.Intake()
		if _, fresh := put(t, sess, "1.5", objects["1.5"]); !fresh || len(s.Study("1.9")) != 10 {
			t.Errorf("%v: sent again: fresh %v, %d objects", c.fault, fresh, len(s.Study("1.9")))
		}
		sess.Close()
		s.Close()
		s = again(t, dir)
		if scrub(t, s); len(s.Study("1.9")) != 10 {
			t.Errorf("%v: %d objects after a restart", c.fault, len(s.Study("1.9")))
		}
		if _, err := s.RemoveStudy("1.9", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if s = again(t, dir); len(s.Study("1.9")) != 0 {
			t.Errorf("%v: %d removed objects are back", c.fault, len(s.Study("1.9")))
		}
		s.Close()
	}
}

// TestStartOnBadDisk: the spool opens on a full and on a read-only disk, gives up what was written ahead first, says
// why nothing is taken, and takes objects when that is over.
func TestStartOnBadDisk(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault syscall.Errno
		want  error
		words string
	}{
		{"full", syscall.ENOSPC, ErrNoSpace, "free disk space"},
		{"quota", syscall.EDQUOT, ErrNoSpace, "quota"},
		{"read-only", syscall.EROFS, ErrUnwritable, "make the file system writable"},
		{"failing", syscall.EIO, ErrUnwritable, "check the disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := prepared(t, dir, 2)
			sess := s.Intake()
			o, _ := put(t, sess, "1.1", object(t, "1.9", "1.1", 1000))
			image, err := os.ReadFile(s.path(1 + o.at.Segment - 1))
			if err != nil {
				t.Fatal(err)
			}
			sess.Close()
			s.Close()
			if err := os.WriteFile(s.path(o.at.Segment), image, 0o600); err != nil { // as after a kill: with zeros, without seal
				t.Fatal(err)
			}
			on := true
			d := realDisk()
			d.write = failing(d.write, &on, &os.PathError{Op: "write", Path: "x", Err: c.fault})
			var log bytes.Buffer
			s, err = openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))}, d)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if left := spareFiles(t, dir); (len(left) == 0) != (c.want == ErrNoSpace) {
				t.Errorf("spares left: %v", left)
			}
			if err := s.Ready(); !errors.Is(err, c.want) || !errors.Is(err, c.fault) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("ready: %v", err)
			}
			if _, err := s.Intake().Create(dcm.CTImageStorage, "1.2", dcm.ExplicitVRLittleEndian, "CT1"); !errors.Is(err, c.want) {
				t.Errorf("create: %v", err)
			}
			if len(s.Study("1.9")) != 1 || strings.Contains(log.String(), "damaged") && !strings.Contains(log.String(), "damaged=0") {
				t.Errorf("%d objects; %s", len(s.Study("1.9")), log.String())
			}
			on = false
			s.trouble.probed = s.trouble.probed.Add(-probePause)
			sess = s.Intake()
			put(t, sess, "1.2", object(t, "1.9", "1.2", 1000))
			sess.Close()
		})
	}
}

// TestMakeRoom: a node that is about to open files on a full disk has the spares go first, unless they are in use.
func TestMakeRoom(t *testing.T) {
	dir := t.TempDir()
	s := prepared(t, dir, 2)
	d := realDisk()
	d.free = func(string) (uint64, error) { return 1000, nil }
	makeRoom(dir, 1<<20, d)
	if len(spareFiles(t, dir)) != 2 {
		t.Error("spares of a running node were removed")
	}
	s.Close()
	for below, want := range map[int64]int{1000: 2, 0: 2} {
		if makeRoom(dir, below, d); len(spareFiles(t, dir)) != want {
			t.Errorf("below %d: %v", below, spareFiles(t, dir))
		}
	}
	if makeRoom(dir, 1001, d); len(spareFiles(t, dir)) != 0 {
		t.Errorf("left %v", spareFiles(t, dir))
	}
	makeRoom(filepath.Join(dir, "none"), 1001, d)
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder was made")
	}
}

// TestWatch: a disk that turns read-only while nobody sends is noticed, and so is its end.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var on atomic.Bool
		d := quietDisk()
		write := d.write
		d.write = func(f *os.File, p []byte, at int64) error {
			if on.Load() {
				return &os.PathError{Op: "write", Path: "x", Err: syscall.EROFS}
			}
			return write(f, p, at)
		}
		s, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1}, d)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Watch(ctx); close(ended) }()
		defer func() { cancel(); <-ended }()
		synctest.Wait()
		on.Store(true)
		time.Sleep(2*watchPause + time.Second)
		synctest.Wait()
		if err := s.Ready(); !errors.Is(err, ErrUnwritable) || !errors.Is(err, syscall.EROFS) {
			t.Errorf("while it is read-only: %v", err)
		}
		on.Store(false)
		time.Sleep(2 * watchPause)
		synctest.Wait()
		s.mu.Lock()
		left := s.trouble.err
		s.mu.Unlock()
		if left != nil {
			t.Errorf("when it can be written again: %v", left)
		}
	})
}

// TestNoLockWhileRemoving: other associations store objects while the disk takes its time to delete and to sync a folder.
func TestNoLockWhileRemoving(t *testing.T) {
	for _, slow := range []string{"folder sync", "delete", "delete at the end of a session"} {
		t.Run(slow, func(t *testing.T) {
			dir := t.TempDir()
			d := realDisk()
			var holding bool
			entered, release := make(chan struct{}, 10), make(chan struct{})
			hold := func() {
				if holding {
					entered <- struct{}{}
					<-release
				}
			}
			list, remove := d.list, d.remove
			d.list = func(dir string) error {
				if slow == "folder sync" {
					hold()
				}
				return list(dir)
			}
			d.remove = func(path string) error {
				if slow != "folder sync" {
					hold()
				}
				return remove(path)
			}
			s, err := openOn(t.Context(), Options{Dir: dir, ReserveBytes: -1}, d)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			gone, other := s.Intake(), s.Intake()
			defer other.Close()
			put(t, gone, "1.1", object(t, "1.9", "1.1", 1000))
			put(t, other, "1.2", object(t, "1.8", "1.2", 1000))
			s.opts.SegmentBytes = 1 // so that it does not rest
			gone.Close()
			s.opts.SegmentBytes = 256 << 20
			done := make(chan error, 1)
			holding = true
			go func() {
				if slow == "delete at the end of a session" {
					sess := s.Intake()
					begin(t, sess, "1.3", object(t, "1.7", "1.3", 10))
					done <- sess.Close()
					return
				}
				_, err := s.RemoveStudy("1.9", time.Now().Add(time.Hour))
				done <- err
			}()
			held, ended := 0, false
			for !ended {
				select {
				case <-entered: // each time, such as for the folder of the tombstone and for that of what it removes
					held++
					stored := make(chan struct{})
					instance := fmt.Sprint("1.4.", held)
					go func() { put(t, other, instance, object(t, "1.8", instance, 1000)); close(stored) }()
					select {
					case <-stored:
					case <-time.After(10 * time.Second):
						t.Error("an object waits for the disk of another")
					}
					release <- struct{}{}
					<-stored
				case err := <-done:
					ended, holding = true, false
					if err != nil {
						t.Error(err)
					}
				}
			}
			if held == 0 {
				t.Error("nothing was held up")
			}
		})
	}
}

// TestCauses: each error of the system has its meaning and a remedy; none but wrong bytes is called damage.
func TestCauses(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOSPC: ErrNoSpace, syscall.EDQUOT: ErrNoSpace, syscall.EFBIG: ErrNoSpace, syscall.EROFS: ErrUnwritable,
		syscall.EIO: ErrUnwritable, syscall.EMFILE: ErrResources, syscall.ENFILE: ErrResources, syscall.ENOMEM: ErrResources,
	} {
		err := diskError("writing", &os.PathError{Op: "write", Path: "x", Err: errno})
		if !errors.Is(err, want) || !errors.Is(err, errno) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%v: %v", errno, err)
		}
		if again := diskError("committing", err); strings.Count(again.Error(), want.Error()) != 1 {
			t.Errorf("said twice: %v", again)
		}
	}
	if !slices.Equal([]bool{unread(syscall.EIO), unread(os.ErrNotExist), unread(syscall.ENOENT), unread(errDigest)}, []bool{true, false, false, false}) {
		t.Error("what could not be read and what is wrong are mixed up")
	}
}

// TestStartOnRealDisk: a tmpfs that is full, then one that is read-only. It needs the right to mount.
func TestStartOnRealDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := prepared(t, dir, 2)
	sess := s.Intake()
	data := object(t, "1.9", "1.1", 1000)
	put(t, sess, "1.1", data)
	sess.Close()
	s.Close()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) || len(spareFiles(t, dir)) != 1 {
		t.Fatalf("%v, spares %v", err, spareFiles(t, dir))
	}
	s = open(t, dir)
	if err := s.Ready(); err != nil || len(spareFiles(t, dir)) != 0 {
		t.Errorf("with room where the spare was: %v, %v", err, spareFiles(t, dir))
	}
	s.Close()
	f, err = os.OpenFile(ballast, os.O_APPEND|os.O_WRONLY, 0)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	s = open(t, dir)
	if err := s.Ready(); !errors.Is(err, ErrNoSpace) || len(s.Study("1.9")) != 1 {
		t.Errorf("full: %v, %d objects", err, len(s.Study("1.9")))
	}
	os.Remove(ballast)
	s.trouble.probed = s.trouble.probed.Add(-probePause)
	if err := s.Ready(); err != nil {
		t.Errorf("not full any more: %v", err)
	}
	s.Close()

	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.Ready(); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "writable") {
		t.Errorf("read-only: %v", err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second one on a read-only disk: %v", err)
	}
	check(t, s, s.Study("1.9")[0], data)
	s.Close()
	if v, err := OpenView(t.Context(), dir); err != nil || len(v.Study("1.9")) != 1 {
		t.Errorf("view of a read-only disk: %v", err)
	}
}
