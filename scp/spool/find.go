package spool

import "slices"

// Find returns the live objects with a SOP Instance UID: one, more where another object came under the same UID, none
// where it is not there or its record is damaged.
func (s *Spool) Find(sopInstanceUID string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects[sopInstanceUID])
}
