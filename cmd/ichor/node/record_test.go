package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/pipeline/state"
	"ichor/reporting/events"
)

// TestMissingEventLog: a log that was removed between two runs is missed, one that never was is not, and the record of it is made
// only when an entry is on disk.
func TestMissingEventLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	life := func(keep bool) (kinds []events.Kind) {
		t.Helper()
		c := config.Default()
		c.State = dir
		n := &Node{config: c, log: slog.New(slog.DiscardHandler), engine: &Engine{Bundle: &bundle.Bundle{}}, started: now()}
		var err error
		if n.store, err = state.Open(filepath.Join(dir, "state.db")); err != nil {
			t.Fatal(err)
		}
		defer n.closeState()
		if err := n.openEvents(); err != nil {
			t.Fatal(err)
		}
		if keep {
			n.recordStart()
			ctx, stop := context.WithCancel(t.Context())
			kept := make(chan error)
			go func() { kept <- n.keepEvents(ctx) }()
			for since := (time.Time{}); since.IsZero(); time.Sleep(time.Millisecond) {
				if since, err = n.store.EventLogSince(); err != nil || t.Context().Err() != nil {
					t.Fatal(err)
				}
			}
			stop()
			if err := <-kept; err != nil {
				t.Error(err)
			}
		}
		if err := n.events.Close(); err != nil {
			t.Fatal(err)
		}
		if err := events.Read(EventsDir(c), 0, func(e events.Event) error { kinds = append(kinds, e.Kind); return nil }); err != nil {
			t.Fatal(err)
		}
		return kinds
	}
	remove := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		removed, keep bool
		want          []events.Kind
	}{
		{false, false, nil}, // ended before its first entry
		{false, true, []events.Kind{events.Started}},
		{false, true, []events.Kind{events.Started, events.Started}},
		{true, true, []events.Kind{events.Missing, events.Started}},
		{false, false, []events.Kind{events.Missing, events.Started}},
	} {
		if step.removed {
			remove()
		}
		if got := life(step.keep); !slices.Equal(got, step.want) {
			t.Errorf("run %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestCorrectedPatientInEvents: the event log names the patient of the newest objects, as the results do.
func TestCorrectedPatientInEvents(t *testing.T) {
	n, _, _ := smallNode(t, t.TempDir())
	for _, id := range []string{"TRAUMA47", "HOSP08"} {
		n.receiveOf(t, "1.2.1", 3, id)
		if got := n.patientOf("1.2.1"); got != id {
			t.Errorf("patient %q, want %q", got, id)
		}
	}
}
