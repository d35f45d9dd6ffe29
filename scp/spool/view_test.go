package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tree is the content of every file below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestView: the spool of a running node is read up to the last complete record, and not changed.
func TestView(t *testing.T) {
	for name, spares := range map[string]int{"appended": 0, "prepared": 3} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := prepared(t, dir, spares)
			gone, sealed, active := s.Intake(), s.Intake(), s.Intake()
			put(t, gone, "1.1", object(t, "1.7", "1.1", 1000))
			data := map[string][]byte{}
			for i, sess := range []*Intake{sealed, active, active} {
				id := []string{"1.2", "1.3", "1.4"}[i]
				data[id] = object(t, "1.9", id, 30_000)
				put(t, sess, id, data[id])
			}
			s.opts.SegmentBytes = 1 // so that these do not rest
			gone.Close()
			sealed.Close()
			s.opts.SegmentBytes = 256 << 20
			if _, err := s.RemoveStudy("1.7", time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			begin(t, active, "1.5", object(t, "1.9", "1.5", 200_000)) // being received
			before := tree(t, dir)
			v, err := OpenView(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Study("1.9"); len(v.Studies()) != 1 || len(got) != 3 || len(v.Damaged()) != 0 {
				t.Fatalf("studies %v, %d objects, damaged %v", v.Studies(), len(got), v.Damaged())
			}
			for _, o := range v.Study("1.9") {
				check(t, v.spool, o, data[o.SOPInstanceUID])
			}
			o := v.Study("1.9")[0]
			path := v.spool.path(o.at.Segment)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rotten := bytes.Clone(b)
			rotten[o.at.Offset+5000] ^= 1
			if err := os.WriteFile(path, rotten, 0o600); err != nil {
				t.Fatal(err)
			}
			again, err := OpenView(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := again.Read(o); !errors.Is(err, ErrDamaged) {
				t.Errorf("rotten: %v", err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for path, was := range before {
				if now := tree(t, dir)[path]; now != was {
					t.Errorf("%s was changed", path)
				}
			}
			if len(tree(t, dir)) != len(before) {
				t.Errorf("files were made or removed: %d, were %d", len(tree(t, dir)), len(before))
			}
		})
	}
	if _, err := OpenView(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "use the state folder") {
		t.Errorf("a folder without a spool: %v", err)
	}
}

// TestViewWhileStoring: whatever moment it is opened at, nothing is taken for damaged, and all that was acknowledged before is there.
func TestViewWhileStoring(t *testing.T) {
	dir := quickDir(t)
	s := again(t, dir)
	s.spareSize = 256 << 10
	for range 3 {
		if err := s.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var stored sync.WaitGroup
	done := make(chan struct{})
	for k := range 2 {
		stored.Go(func() {
			for i := range 60 {
				sess := s.Intake()
				id := fmt.Sprintf("1.%d.%d", k+1, i+1)
				put(t, sess, id, object(t, "1.9", id, []int{100, 40_000, 200_000}[i%3]))
				begin(t, sess, id+".2", object(t, "1.9", id+".2", 150_000)).Abort()
				sess.Close()
			}
		})
	}
	go func() { stored.Wait(); close(done) }()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		before := len(s.Study("1.9"))
		v, err := OpenView(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(v.Study("1.9")); n < before || len(v.Damaged()) != 0 {
			t.Fatalf("%d of %d objects, damaged %v", n, before, v.Damaged())
		}
	}
	s.Close()
}
