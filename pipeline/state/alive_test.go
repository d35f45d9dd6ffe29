package state

import (
	"testing"
	"time"
)

// TestAlive: the store is alive if a transition can begin. One that never ends makes Alive wait.
func TestAlive(t *testing.T) {
	t.Parallel()
	s := open(t, "")
	if err := s.Alive(); err != nil {
		t.Fatal(err)
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- s.Alive() }()
	select {
	case err := <-answer:
		t.Errorf("alive beside a transition that does not end: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}
