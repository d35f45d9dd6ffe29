package state

// Alive begins a transition, drops it, and reads. It returns only when both locks could be had, and writes nothing, so that it
// also works on a full disk.
func (s *Store) Alive() (err error) {
	defer guard(&err)()
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	if err := tx.Rollback(); err != nil {
		return err
	}
	_, err = s.Counts()
	return err
}
