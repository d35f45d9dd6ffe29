package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// tombstone lists records that are dead although their segment still exists.
type tombstone struct {
	segment uint64 // that contains the tombstone
	removed []location
	damage  string // why the records were set aside; empty: their study was removed
}

// RemoveStudy removes the objects of a study durably and frees their segments. If one of them was received at or after
// before, it removes none and returns false: that object was acknowledged and may not have been analysed yet. Objects still
// being received stay. A missing study is not an error.
func (s *Spool) RemoveStudy(studyInstanceUID string, before time.Time) (removed bool, err error) {
	s.removing.Lock()
	defer s.removing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false, ErrClosed
	}
	if s.receivedSince(studyInstanceUID, before) {
		s.mu.Unlock()
		return false, nil
	}
	gone := s.take(studyInstanceUID) // first, so that objects sent again from now on are stored anew
	s.mu.Unlock()
	if len(gone) == 0 {
		return false, nil
	}
	err = s.bury(gone, "")
	s.mu.Lock()
	for _, o := range gone {
		s.segments[o.at.Segment].live-- // not before: an intake that ends takes a segment without live objects with it
		if _, again := s.find(o.SOPInstanceUID, o.SHA256); err != nil && !again {
			s.add(o)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return false, diskError("removing a study from the spool", err)
	}
	if err := s.sweep(); err != nil {
		return true, diskError("freeing the space of a study", err)
	}
	return true, nil
}

// receivedSince reports whether an object of a study was received at or after t. s.mu is held.
func (s *Spool) receivedSince(study string, t time.Time) bool {
	for _, sop := range s.studies[study] {
		for _, o := range s.objects[sop] {
			if o.StudyInstanceUID == study && !o.Received.Before(t) {
				return true
			}
		}
	}
	return false
}

// take removes the objects of a study from the index; their segments still count them as live. s.mu is held.
func (s *Spool) take(study string) (gone []Object) {
	for _, sop := range s.studies[study] {
		s.objects[sop] = slices.DeleteFunc(s.objects[sop], func(o Object) bool {
			if o.StudyInstanceUID != study {
				return false
			}
			gone = append(gone, o)
			delete(s.unverified, o.at)
			return true
		})
		if len(s.objects[sop]) == 0 {
			delete(s.objects, sop)
		}
	}
	delete(s.studies, study)
	return gone
}

// bury writes the tombstone. damage: why the objects are set aside; empty for a removal. s.removing is held.
func (s *Spool) bury(gone []Object, damage string) (err error) {
	if s.admin != nil && s.admin.end >= s.opts.SegmentBytes {
		s.dropAdmin()
	}
	if s.admin == nil {
		if s.admin, err = s.newSegment(false); err != nil {
			return err
		}
	}
	g := s.admin
	t := tombstone{segment: g.number, damage: damage}
	for _, o := range gone {
		t.removed = append(t.removed, o.at)
	}
	meta, err := json.Marshal(tombstoneMeta{Version: 1, Removed: t.removed, At: time.Now().UTC(), Damage: damage})
	if err != nil {
		return err
	}
	if len(meta) > maxMetaLen {
		return fmt.Errorf("tombstone for %d objects is too long", len(gone))
	}
	record := bare(g.nonce, tombstoneRecord, meta)
	if err = s.disk.write(g.file, record, g.end); err == nil {
		err = s.makeDurable(g)
	}
	if err != nil {
		g.file.Truncate(g.end)
		s.dropAdmin()
		return err
	}
	g.end += int64(len(record))
	s.tombs = append(s.tombs, t)
	return nil
}

// dropAdmin stops using the tombstone segment; sweep deletes it when its tombstones are no longer needed.
func (s *Spool) dropAdmin() {
	s.admin.file.Close() // its contents are synced
	s.mu.Lock()
	s.segments[s.admin.number].open = false
	s.mu.Unlock()
	s.admin = nil
}

// sweep deletes unneeded segments: first those without live objects, then, when their deletion is durable, tombstones that no
// longer refer to a segment. A segment with damaged records and no removed ones is kept for inspection.
func (s *Spool) sweep() error {
	s.mu.Lock()
	var done []*segment
	s.resting = slices.DeleteFunc(s.resting, func(g *segment) bool {
		dead := s.segments[g.number].live == 0 && g.end > segmentHeaderLen
		if dead {
			done = append(done, g)
		}
		return dead
	})
	s.mu.Unlock()
	for _, g := range done {
		if err := s.retire(g, false); err != nil {
			return err
		}
	}
	keep := map[uint64]bool{} // segments with tombstones
	pointed := map[uint64]bool{}
	for _, t := range s.tombs {
		keep[t.segment] = true
		for _, at := range t.removed {
			pointed[at.Segment] = pointed[at.Segment] || t.damage == ""
		}
	}
	damaged := map[string]bool{}
	for _, d := range s.Damaged() {
		damaged[d.Segment] = true
	}
	left, err := s.unlink(func(n uint64, u *usage) bool {
		return u.live == 0 && !u.open && !u.unread && !keep[n] && (pointed[n] || !damaged[segmentName(n)])
	})
	if err != nil || len(s.tombs) == 0 {
		return err
	}
	s.tombs = slices.DeleteFunc(s.tombs, func(t tombstone) bool {
		return !slices.ContainsFunc(t.removed, func(at location) bool { return left[at.Segment] })
	})
	still := map[uint64]bool{}
	for _, t := range s.tombs {
		still[t.segment] = true
	}
	if s.admin != nil && !still[s.admin.number] {
		s.dropAdmin()
	}
	_, err = s.unlink(func(n uint64, u *usage) bool { return keep[n] && !still[n] && u.live == 0 && !u.open && !u.unread })
	return err
}

// unlink deletes the segments that match, durably, and returns the remaining ones. s.removing is held, s.mu is not, so that
// reception continues. Nothing can make a segment live again.
func (s *Spool) unlink(match func(uint64, *usage) bool) (left map[uint64]bool, err error) {
	var numbers []uint64
	s.mu.Lock()
	for n, u := range s.segments {
		if match(n, u) {
			numbers = append(numbers, n)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, n := range numbers {
		errs = append(errs, s.deleteSegment(n))
	}
	left = map[uint64]bool{}
	s.mu.Lock()
	for n := range s.segments {
		left[n] = true
	}
	unsynced := s.unsynced
	s.unsynced = false
	s.mu.Unlock()
	if unsynced {
		if err := s.disk.list(s.dir); err != nil {
			s.mu.Lock()
			s.unsynced = true
			s.mu.Unlock()
			errs = append(errs, err)
		}
	}
	return left, errors.Join(errs...)
}

// deleteSegment deletes the file of a segment that nothing else uses. The next unlink makes the deletion durable.
func (s *Spool) deleteSegment(n uint64) error {
	if err := s.disk.remove(s.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.segments, n)
	s.unsynced = true
	return nil
}
