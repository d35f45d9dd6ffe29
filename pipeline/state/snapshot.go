package state

import (
	"io"

	bolt "go.etcd.io/bbolt"
)

// Snapshot passes write the size of the file and a function that writes it, as it is now: transitions go on meanwhile and are
// not in it.
func (s *Store) Snapshot(write func(size int64, to func(io.Writer) error) error) error {
	return s.view(func(tx *bolt.Tx) error {
		return write(tx.Size(), func(w io.Writer) error { _, err := tx.WriteTo(w); return err })
	})
}
