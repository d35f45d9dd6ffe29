package state

import (
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

const (
	wastefulBytes = 32 << 20 // smaller files are not compacted
	compactBatch  = 4 << 20  // bytes per transaction
)

// wasteful reports whether most of the file is free pages, which bbolt never returns to the file system.
func (s *Store) wasteful() bool {
	info, err := os.Stat(s.db.Path())
	if err != nil || info.Size() < wastefulBytes {
		return false
	}
	free := int64(s.db.Stats().FreePageN) * int64(s.db.Info().PageSize)
	return free > info.Size()/2
}

// compact copies the contents of the file at path to a new file and replaces the old one with it. It reports whether it
// succeeded: on any error the old file stays and is used. The lock on the old file is held throughout; a process that waits
// for it notices that the file was replaced, see openVerified.
func compact(s *Store, path string) bool {
	next := path + ".compact"
	defer os.Remove(next) // already renamed on success
	os.Remove(next)       // left by an interrupted run
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
	_ = syncFolder(filepath.Dir(path)) // after a power cut either file is complete
	return true
}
