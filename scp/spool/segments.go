package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
)

// Stretch is the part of a segment file that a copy must have.
type Stretch struct {
	Name  string // of the file in <dir>/segments
	Path  string
	Bytes int64
}

// Segments lists the segment files with everything that was committed before the call: a segment that is being written to only
// up to its last committed record, because a copy of the rest could be torn. Files in which nothing is committed are left out.
func (s *Spool) Segments() (list []Stretch, err error) {
	s.mu.Lock()
	committed := map[uint64]int64{} // -1: the whole file
	for n, u := range s.segments {
		committed[n] = -1
		if u.open && u.live > 0 {
			committed[n] = u.bytes
		}
	}
	s.mu.Unlock()
	for n, bytes := range committed {
		info, err := os.Stat(s.path(n))
		if errors.Is(err, fs.ErrNotExist) { // deleted since
			continue
		}
		if err != nil {
			return nil, err
		}
		if bytes < 0 {
			bytes = info.Size()
		}
		list = append(list, Stretch{segmentName(n), s.path(n), bytes})
	}
	slices.SortFunc(list, func(a, b Stretch) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
