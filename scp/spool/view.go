package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// View reads the spool of another process, which may be running. It takes no lock and writes nothing. It reads an active
// segment up to its last complete record, so an object may be visible just before its sender gets the response. A View shows
// the spool at the time it was opened.
type View struct{ spool *Spool }

// OpenView opens the spool in dir. It returns an error if dir is not a spool or cannot be read.
func OpenView(ctx context.Context, dir string) (*View, error) {
	s := newSpool(Options{Dir: dir}, realDisk())
	s.view = true
	if err := s.recover(ctx); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no spool in %s; use the state folder of a node", dir)
	} else if err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	return &View{s}, nil
}

// Studies returns the StudyInstanceUIDs, sorted.
func (v *View) Studies() []string { return v.spool.Studies() }

// Study returns the objects of a study in order of arrival.
func (v *View) Study(studyInstanceUID string) []Object { return v.spool.Study(studyInstanceUID) }

// Damaged lists the records found damaged or unreadable.
func (v *View) Damaged() []Damaged { return v.spool.Damaged() }

// Read verifies all digests of an object and opens it as a complete Part 10 file. ErrDamaged: its bytes are not those
// received. fs.ErrNotExist: it was removed after the View was opened.
func (v *View) Read(o Object) (*Reader, error) { return v.spool.Read(o) }
