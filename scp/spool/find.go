package spool

import (
	"errors"
	"io/fs"
	"slices"
)

// Find returns the live objects with a SOP Instance UID: one, more if another object came under the same UID, none if it is
// not there or damaged. It reads what was not verified since the start. What cannot be read now, as after EIO, is returned:
// Read says why.
func (s *Spool) Find(sopInstanceUID string) []Object {
	s.mu.Lock()
	found := slices.Clone(s.objects[sopInstanceUID])
	s.mu.Unlock()
	return slices.DeleteFunc(found, func(o Object) bool {
		err := s.verified(o)
		return errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist)
	})
}
