package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ichor/scp/dcm"
)

// TestDiskFailsAndComesBack: each fault is answered before data is taken, told once, and over without a restart.
func TestDiskFailsAndComesBack(t *testing.T) {
	fault := func(err error) error { return &os.PathError{Op: "write", Path: "segment", Err: err} }
	for _, c := range []struct {
		name   string
		failed func(d *disk, on *bool)
		want   error
	}{
		{"below the reserve", func(d *disk, on *bool) {
			free := d.free
			d.free = func(dir string) (uint64, error) {
				if *on {
					return 1 << 10, nil
				}
				return free(dir)
			}
		}, ErrNoSpace},
		{"mounted read-only", func(d *disk, on *bool) {
			free := d.free
			d.free = func(dir string) (uint64, error) {
				if *on {
					return 0, fault(syscall.EROFS)
				}
				return free(dir)
			}
		}, ErrUnwritable},
		{"full, as a write finds", func(d *disk, on *bool) { d.write = failing(d.write, on, fault(syscall.ENOSPC)) }, ErrNoSpace},
		{"file too large for its limit", func(d *disk, on *bool) { d.write = failing(d.write, on, fault(syscall.EFBIG)) }, ErrNoSpace},
		{"read-only, as a write finds", func(d *disk, on *bool) { d.write = failing(d.write, on, fault(syscall.EROFS)) }, ErrUnwritable},
		{"failing", func(d *disk, on *bool) { d.write = failing(d.write, on, fault(syscall.EIO)) }, ErrUnwritable},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			var on bool
			d := realDisk()
			c.failed(&d, &on)
			s, err := openOn(t.Context(), Options{Dir: t.TempDir(), ReserveBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))}, d)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sess := s.Intake()
			defer sess.Close()
			put(t, sess, "1.1", object(t, "1.9", "1.1", 1000))
			on = true
			if w, err := sess.Create(dcm.CTImageStorage, "1.2", dcm.ExplicitVRLittleEndian, "CT1"); err == nil { // a write has to find out
				w.Write(object(t, "1.9", "1.2", 1000))
				if _, _, err := w.Commit(); !errors.Is(err, c.want) {
					t.Fatalf("commit: %v", err)
				}
			}
			for range 3 {
				if _, err := sess.Create(dcm.CTImageStorage, "1.2", dcm.ExplicitVRLittleEndian, "CT1"); !errors.Is(err, c.want) {
					t.Fatalf("data would be taken: %v", err)
				}
			}
			if err := s.Ready(); !errors.Is(err, c.want) {
				t.Fatalf("ready: %v", err)
			}
			on = false
			s.trouble.probed = s.trouble.probed.Add(-probePause)
			put(t, sess, "1.2", object(t, "1.9", "1.2", 1000))
			if err := s.Ready(); err != nil {
				t.Fatal(err)
			}
			if out := log.String(); strings.Count(out, "no object can be stored") != 1 || strings.Count(out, "objects can be stored again") != 1 {
				t.Fatal(out)
			}
		})
	}
}

func failing(write func(*os.File, []byte, int64) error, on *bool, err error) func(*os.File, []byte, int64) error {
	return func(f *os.File, p []byte, off int64) error {
		if *on {
			return err
		}
		return write(f, p, off)
	}
}

// TestLongObjectOnFillingDisk: the reserve is looked at while an object is written, not only before.
func TestLongObjectOnFillingDisk(t *testing.T) {
	d := realDisk()
	free := uint64(100 << 20)
	d.free = func(string) (uint64, error) { return free, nil }
	written := 0
	d.write = func(_ *os.File, p []byte, _ int64) error {
		written += len(p)
		free -= uint64(len(p))
		return nil
	}
	s, err := openOn(t.Context(), Options{Dir: t.TempDir(), ReserveBytes: 90 << 20}, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.Intake().Create(dcm.CTImageStorage, "1.2", dcm.ExplicitVRLittleEndian, "CT1")
	if err != nil {
		t.Fatal(err)
	}
	w.Write(object(t, "1.9", "1.2", 0))
	for err == nil && written < 200<<20 {
		_, err = w.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, ErrNoSpace) || written > 70<<20 {
		t.Fatalf("%v after %d MiB", err, written>>20)
	}
}

// TestRealFullDisk: a tmpfs of 1 MiB that fills up, and one that turns read-only. It needs the right to mount.
func TestRealFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := open(t, dir)
	sess := s.Intake()
	kept := 0
	var err error
	for err == nil && kept < 20 {
		var w *Writer
		id := fmt.Sprintf("1.%d", kept+1)
		if kept >= 9 {
			t.Fatal("a disk of 1 MiB holds nine objects of 200 kB")
		}
		if w, err = sess.Create(dcm.CTImageStorage, id, dcm.ExplicitVRLittleEndian, "CT1"); err != nil {
			break
		}
		if _, err = w.Write(object(t, "1.9", id, 200_000)); err != nil {
			break
		}
		if _, _, err = w.Commit(); err == nil {
			kept++
		}
	}
	if !errors.Is(err, ErrNoSpace) || kept == 0 || s.Ready() == nil {
		t.Fatalf("%d kept, then %v; ready: %v", kept, err, s.Ready())
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	s.trouble.probed = s.trouble.probed.Add(-probePause)
	put(t, sess, "1.99", object(t, "1.9", "1.99", 200_000))
	sess.Close()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err == nil { // busy where a file is open for writing
		if _, err := s.Intake().Create(dcm.CTImageStorage, "1.98", dcm.ExplicitVRLittleEndian, "CT1"); !errors.Is(err, ErrUnwritable) {
			t.Fatalf("read-only: %v", err)
		}
	}
	if n := len(s.Study("1.9")); n != kept+1 {
		t.Fatalf("%d objects, want %d", n, kept+1)
	}
}
