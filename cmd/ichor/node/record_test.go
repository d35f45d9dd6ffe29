package node

import (
	"context"
	"fmt"
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
	"ichor/scp"
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

// TestOneObjectAnAssociation: a sender that opens an association for each object has one entry for each study, other senders one
// for each association.
func TestOneObjectAnAssociation(t *testing.T) {
	n, _, _ := smallNode(t, t.TempDir())
	if err := n.openEvents(); err != nil {
		t.Fatal(err)
	}
	id := string(state.IDOf("1.2.1"))
	for i := range 30 {
		n.recordCall(scp.Event{Kind: scp.Released, Assoc: uint64(i + 1), Peer: "CT1", Objects: 1, Cases: []string{id}})
	}
	n.recordCall(scp.Event{Kind: scp.Released, Assoc: 40, Peer: "CT2", Objects: 9, Cases: []string{"other"}})
	n.recordCall(scp.Event{Kind: scp.Aborted, Assoc: 41, Peer: "CT1", Objects: 1, Cases: []string{id}})
	n.recordCall(scp.Event{Kind: scp.Released, Assoc: 42, Peer: "CT1", Objects: 1, Cases: []string{"late"}})
	n.recordStudy("1.2.1", 31, "quiet 4s")
	n.appendAll(n.singles.of(""))
	if err := n.events.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := events.Read(EventsDir(n.config), 0, func(e events.Event) error {
		if e.Kind == events.Association {
			got = append(got, fmt.Sprintf("%s %d %s %d %s", e.Peer, e.Association, e.Outcome, e.Objects, e.Detail))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"CT2 40 released 9 ", "CT1 1 released 30 first of 30 associations", "CT1 41 aborted 1 ", "CT1 42 released 1 "}
	if !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
	if due := n.singles.add(events.Event{Peer: "A"}, now()); len(due) > 0 {
		t.Errorf("due at once: %v", due)
	}
	if due := n.singles.add(events.Event{Peer: "B"}, now().Add(2*singleWait)); len(due) != 1 || due[0].Peer != "A" {
		t.Errorf("due a while later: %v", due)
	}
}
