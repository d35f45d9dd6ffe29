package spool

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSegments: a copy of the listed stretches, made while objects arrive, has every committed object, nothing of a removed
// study and nothing damaged.
func TestSegments(t *testing.T) {
	for name, spares := range map[string]int{"appended": 0, "prepared": 3} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := prepared(t, dir, spares)
			gone, active := s.Intake(), s.Intake()
			put(t, gone, "1.1", object(t, "1.7", "1.1", 1000))
			gone.Close()
			if _, err := s.RemoveStudy("1.7", time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			data := object(t, "1.9", "1.2", 30_000)
			put(t, active, "1.2", data)
			begin(t, active, "1.3", object(t, "1.9", "1.3", 200_000)) // being received
			list, err := s.Segments()
			if err != nil {
				t.Fatal(err)
			}
			to := t.TempDir()
			if err := os.Mkdir(filepath.Join(to, "segments"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, stretch := range list {
				from, err := os.Open(stretch.Path)
				if err != nil {
					t.Fatal(err)
				}
				copied, err := os.Create(filepath.Join(to, "segments", stretch.Name))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(copied, from, stretch.Bytes); err != nil {
					t.Errorf("%s: %v", stretch.Name, err)
				}
				copied.Close()
				from.Close()
			}
			put(t, active, "1.4", object(t, "1.9", "1.4", 1000)) // after the list
			r := open(t, to)
			if n := len(r.Study("1.9")); n != 1 || len(r.Study("1.7")) > 0 || len(r.Damaged()) > 0 {
				t.Errorf("%d objects, %d of the removed study, damaged %v", n, len(r.Study("1.7")), r.Damaged())
			}
			check(t, r, r.Study("1.9")[0], data)
		})
	}
}
