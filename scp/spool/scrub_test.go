package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// damagedSpool holds objects 1.1 and 1.2 of study 1.9, stored by a former run, the first with a flipped bit in its pixels.
func damagedSpool(t *testing.T) (dir string, objects map[string][]byte) {
	t.Helper()
	objects = map[string][]byte{"1.1": object(t, "1.9", "1.1", 4000), "1.2": object(t, "1.9", "1.2", 4000)}
	_, sealed, at := segmentOf(t, objects, []string{"1.1", "1.2"})
	sealed[at[1]-1000] ^= 4
	dir = t.TempDir()
	os.MkdirAll(filepath.Join(dir, "segments"), 0o700)
	if err := os.WriteFile(filepath.Join(dir, "segments", segmentName(1)), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, objects
}

// TestDamagedIsNeverServed: before any scrub, neither to a reader, nor as proof that an object is safe, nor in place
// of the same object sent again.
func TestDamagedIsNeverServed(t *testing.T) {
	t.Run("read", func(t *testing.T) {
		dir, _ := damagedSpool(t)
		s := open(t, dir)
		list := s.Study("1.9")
		if len(list) != 2 {
			t.Fatalf("%d objects indexed", len(list))
		}
		if _, err := s.Read(list[0]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("read of a damaged object: %v", err)
		}
		if _, err := s.Read(list[0]); err != nil && len(s.Study("1.9")) != 1 {
			t.Fatalf("not set aside: %v", s.Study("1.9"))
		}
	})
	t.Run("find", func(t *testing.T) {
		dir, _ := damagedSpool(t)
		s := open(t, dir)
		if len(s.Find("1.1")) != 0 || len(s.Find("1.2")) != 1 {
			t.Fatalf("found %d and %d", len(s.Find("1.1")), len(s.Find("1.2")))
		}
	})
	t.Run("sent again", func(t *testing.T) {
		dir, objects := damagedSpool(t)
		s := open(t, dir)
		sess := s.Intake()
		o, fresh := put(t, sess, "1.1", objects["1.1"])
		if !fresh || o.Conflict {
			t.Fatalf("the damaged object was taken for the one sent again: %+v", o)
		}
		if _, fresh := put(t, sess, "1.2", objects["1.2"]); fresh {
			t.Fatal("a sound object was stored twice")
		}
		sess.Close()
		s.Close()
		s = open(t, dir)
		scrub(t, s)
		got := s.Study("1.9")
		if len(got) != 2 || len(s.Damaged()) != 1 {
			t.Fatalf("%d objects, damaged %v", len(got), s.Damaged())
		}
		for _, o := range got {
			check(t, s, o, objects[o.SOPInstanceUID])
		}
	})
}

// TestScrub runs while objects arrive and are removed.
func TestScrub(t *testing.T) {
	dir, _ := damagedSpool(t)
	s := open(t, dir)
	done := make(chan error)
	s.opts.ScrubBytes = 1 << 30
	go func() { done <- s.Scrub(t.Context()) }()
	sess := s.Intake()
	put(t, sess, "1.7", object(t, "1.8", "1.7", 3000))
	if _, err := s.RemoveStudy("1.8", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	sess.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p := s.Progress(); p.Objects != 2 || p.Done != 2 || p.Damaged != 1 || p.Bytes < 8000 {
		t.Fatalf("%+v", p)
	}
	if len(s.Study("1.9")) != 1 {
		t.Fatalf("%d objects left", len(s.Study("1.9")))
	}
	if removed, err := s.RemoveStudy("1.9", time.Now().Add(time.Hour)); !removed || err != nil {
		t.Fatal(removed, err)
	}
	s.Close()
	if s = open(t, dir); len(s.Study("1.9")) != 0 || s.Bytes() != 0 {
		t.Fatalf("%d objects, %d bytes after the study was removed: %v", len(s.Study("1.9")), s.Bytes(), files(t, dir))
	}
}

func TestScrubKeepsItsPace(t *testing.T) {
	dir, _ := damagedSpool(t)
	s := open(t, dir)
	s.opts.ScrubBytes = 1 // the second object would be read after more than an hour
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Scrub(ctx); !errors.Is(err, context.DeadlineExceeded) || s.Progress().Done != 1 {
		t.Fatalf("%v, %+v", err, s.Progress())
	}
}

// TestOpenIndexesAll: a start leaves the payloads to the scrub, whether the segments have seals or not.
func TestOpenIndexesAll(t *testing.T) {
	for _, c := range []struct {
		name  string
		close bool
	}{{"sealed", true}, {"killed", false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			sess := s.Intake()
			for _, id := range []string{"1.1", "1.2", "1.3"} {
				put(t, sess, id, object(t, "1.9", id, 1<<20))
			}
			if c.close {
				sess.Close()
			}
			s.Close()
			s = open(t, dir)
			if p := s.toVerify(); len(p) != 3 || len(s.Study("1.9")) != 3 {
				t.Fatalf("%d of %d objects are left to verify", len(p), len(s.Study("1.9")))
			}
		})
	}
}

// TestMissingSegment: a file that was deleted under us is damage, and is told.
func TestMissingSegment(t *testing.T) {
	dir, _ := damagedSpool(t)
	s := open(t, dir)
	os.Remove(filepath.Join(dir, "segments", segmentName(1)))
	scrub(t, s)
	if len(s.Study("1.9")) != 0 || len(s.Damaged()) != 2 {
		t.Fatalf("%d objects, damaged %v", len(s.Study("1.9")), s.Damaged())
	}
}
