package spool

import "slices"

// Find returns the live objects with a SOP Instance UID: one, more where another object came under the same UID, none
// where it is not there or damaged. It reads what was not verified since the start.
func (s *Spool) Find(sopInstanceUID string) []Object {
	s.mu.Lock()
	found := slices.Clone(s.objects[sopInstanceUID])
	s.mu.Unlock()
	return slices.DeleteFunc(found, func(o Object) bool { return s.verified(o) != nil })
}
