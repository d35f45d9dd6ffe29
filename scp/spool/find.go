package spool

import (
	"errors"
	"io/fs"
	"slices"
)

// Find returns the live objects with a SOP Instance UID: several if different objects were received under the same UID, none
// if there is none or it is damaged. It first verifies objects not yet verified since the start. It also returns objects that
// cannot be read at the moment, as after EIO: Read says why.
func (s *Spool) Find(sopInstanceUID string) []Object {
	s.mu.Lock()
	found := slices.Clone(s.objects[sopInstanceUID])
	s.mu.Unlock()
	return slices.DeleteFunc(found, func(o Object) bool {
		err := s.verified(o)
		return errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist)
	})
}
