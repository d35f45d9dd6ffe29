package state

import (
	"encoding/json"
	"time"

	bolt "go.etcd.io/bbolt"
)

// EventLogSince returns since when this node has an event log, zero if it never had one. The log itself is kept elsewhere, so that
// one that was removed is missed.
func (s *Store) EventLogSince() (since time.Time, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		raw := tx.Bucket(bucketMeta).Get(keyEventLog)
		if raw == nil {
			return nil
		}
		return json.Unmarshal(raw, &since)
	})
	return since, err
}

// BeginEventLog records since when this node has an event log. A second call changes nothing.
func (s *Store) BeginEventLog(at time.Time) error {
	if since, err := s.EventLogSince(); err != nil || !since.IsZero() {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error { return putJSON(tx.Bucket(bucketMeta), keyEventLog, at) })
}
