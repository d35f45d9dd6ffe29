package state

import (
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

const (
	wastefulBytes = 32 << 20 // a smaller file is not worth the work
	compactBatch  = 4 << 20  // bytes a transaction
)

// wasteful reports whether most of the file is free pages, which bbolt keeps and never gives back to the disk.
func (s *Store) wasteful() bool {
	info, err := os.Stat(s.db.Path())
	if err != nil || info.Size() < wastefulBytes {
		return false
	}
	free := int64(s.db.Stats().FreePageN) * int64(s.db.Info().PageSize)
	return free > info.Size()/2
}

// compact writes what the file at path holds into a new one and puts that in its place. It reports whether it did: on any
// error the old file stays, whole, and is used as it is. The lock on the old one is held all the while; who waits for it
// sees that another file has come into its place, see openVerified.
func compact(s *Store, path string) bool {
	next := path + ".compact"
	defer os.Remove(next) // gone already when all went well
	os.Remove(next)       // of a run that was cut off
	to, err := bolt.Open(next, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return false
	}
	err = func() (err error) {
		defer guard(&err)()
		return bolt.Compact(to, s.db, compactBatch)
	}()
	if err == nil {
		err = to.Sync()
	}
	if closed := to.Close(); err != nil || closed != nil || os.Rename(next, path) != nil {
		return false
	}
	_ = syncFolder(filepath.Dir(path)) // whichever of the two a power cut leaves, it is whole
	return true
}
