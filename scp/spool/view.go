package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// View is the spool of another process, which may be running, read from outside: without its lock, and nothing is
// written. A segment that is being written is read up to its last complete record, so that an object may be seen just
// before its sender is told that it is stored. A View shows what there was when it was opened.
type View struct{ spool *Spool }

// OpenView reads what the spool in dir holds. An error names a folder that is none, or cannot be read.
func OpenView(ctx context.Context, dir string) (*View, error) {
	s := newSpool(Options{Dir: dir}, realDisk())
	s.view = true
	if err := s.recover(ctx); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no spool in %s; name the state folder of a node", dir)
	} else if err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	return &View{s}, nil
}

// Studies returns the StudyInstanceUIDs, sorted.
func (v *View) Studies() []string { return v.spool.Studies() }

// Study returns the objects of a study in order of arrival.
func (v *View) Study(studyInstanceUID string) []Object { return v.spool.Study(studyInstanceUID) }

// Damaged lists what was found damaged, and what could not be read.
func (v *View) Damaged() []Damaged { return v.spool.Damaged() }

// Read opens an object after comparing all of it with its digests: a whole Part 10 file. ErrDamaged: it is not what was
// received. fs.ErrNotExist: it was removed since the View was opened.
func (v *View) Read(o Object) (*Reader, error) { return v.spool.Read(o) }
