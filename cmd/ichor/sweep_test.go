package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// storeObject puts one object into the spool, as C-STORE does.
func (n *node) storeObject(t *testing.T, study, instance string) {
	t.Helper()
	d := &dcm.DataSet{}
	d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
	d.SetStrings(dcm.SOPInstanceUID, "UI", instance)
	d.SetStrings(dcm.StudyInstanceUID, "UI", study)
	d.SetStrings(dcm.SeriesInstanceUID, "UI", "1.2.3")
	var b bytes.Buffer
	if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	s := n.spool.Session()
	defer s.Close()
	w, err := s.Create(dcm.CTImageStorage, instance, dcm.ExplicitVRLittleEndian, "CT1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

// sweepNode is as much of a node as a sweep needs, with one destination.
func sweepNode(t *testing.T) *node {
	t.Helper()
	n := &node{config: config.Default(), results: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	n.config.Destinations = []config.Destination{{Name: "pacs"}}
	n.config.DICOM.ReserveMiB = 0
	dir := t.TempDir()
	var err error
	if n.spool, err = spool.Open(t.Context(), spool.Options{Dir: filepath.Join(dir, "spool"), ReserveBytes: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.spool.Close() })
	if n.store, err = state.Open(filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.store.Close() })
	return n
}

// finish ends a case with one result for a destination.
func (n *node) finish(t *testing.T, study, destination string) (key state.DeliveryKey, result string) {
	t.Helper()
	id := state.IDOf(study)
	key = state.DeliveryKey{SOPInstanceUID: "2.25.1" + study, Destination: destination}
	result = filepath.Join(n.results, string(id), "2.25.1.dcm")
	_, err := n.store.Queue(study, len(n.spool.Study(study)), "quiet 5s", now())
	err = errors.Join(err, os.MkdirAll(filepath.Dir(result), 0o750), os.WriteFile(result, []byte("SR"), 0o600),
		n.store.Finish(id, 1, state.Result{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: []state.Delivery{{DeliveryKey: key, Path: result}}}, now()))
	if err != nil {
		t.Fatal(err)
	}
	return key, result
}

// TestSweep takes one study through its life and asks at each step, a long time later, whether it may go.
func TestSweep(t *testing.T) {
	const study, justCame = "1.2.3.4", "an object has just come"
	n := sweepNode(t)
	c := n.config
	ever := 100 * c.RetentionFailed
	var key state.DeliveryKey
	var result string
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name  string
		do    func()
		after time.Duration
		left  int
	}{
		{"unknown to the store", func() { n.storeObject(t, study, "1.2.3.4.1") }, ever, 1},
		{"being received", func() { _, err := n.store.Receive(study, now()); must(err) }, ever, 1},
		{"queued", func() { _, err := n.store.Queue(study, 1, "quiet 5s", now()); must(err) }, ever, 1},
		{"not delivered", func() { key, result = n.finish(t, study, "pacs") }, ever, 1},
		{"delivered, not yet old", func() { must(n.store.MarkStored(key, "", now())) }, c.Retention - time.Minute, 1},
		// Its case is as old as it has to be; the object itself is not.
		{justCame, func() { n.storeObject(t, study, "1.2.3.4.2") }, 0, 2},
		{"old", func() {}, c.Retention, 0},
	} {
		step.do()
		at := now().Add(step.after)
		if step.name == justCame {
			o := n.spool.Study(study)
			at = o[len(o)-1].Received.Add(c.Retention)
		}
		n.sweepAll(at)
		if left := len(n.spool.Study(study)); left != step.left {
			t.Fatalf("%s: %d objects left, want %d", step.name, left, step.left)
		}
		if _, err := os.Stat(result); step.left == 0 && err == nil {
			t.Error("the results of a removed study are still there")
		}
	}
}

// TestSweepGivenUp: what came to no end goes in the end, and nobody waits for it any more.
func TestSweepGivenUp(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, n *node, study string) (waits []state.DeliveryKey)
	}{
		{"analysis failed", func(t *testing.T, n *node, study string) []state.DeliveryKey {
			if _, err := n.store.Queue(study, 1, "quiet 5s", now()); err != nil {
				t.Fatal(err)
			}
			if err := n.store.Fail(state.IDOf(study), 1, "no memory", now()); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
		{"with the dead letters", func(t *testing.T, n *node, study string) []state.DeliveryKey {
			key, _ := n.finish(t, study, "pacs")
			if err := n.store.MarkFailed([]state.Failure{{Key: key, Dead: true, Err: "refused", Next: now()}}, now()); err != nil {
				t.Fatal(err)
			}
			return []state.DeliveryKey{key}
		}},
		{"destination not configured", func(t *testing.T, n *node, study string) []state.DeliveryKey {
			key, _ := n.finish(t, study, "old-pacs")
			return []state.DeliveryKey{key}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const study = "1.2.3.4"
			n := sweepNode(t)
			n.storeObject(t, study, "1.2.3.4.1")
			waits := c.do(t, n, study)
			if n.sweepAll(now().Add(n.config.RetentionFailed - time.Minute)); len(n.spool.Study(study)) != 1 {
				t.Fatal("removed before its time")
			}
			if n.sweepAll(now().Add(n.config.RetentionFailed)); len(n.spool.Study(study)) != 0 {
				t.Fatal("never removed")
			}
			if left, err := os.ReadDir(n.results); len(left) != 0 || err != nil {
				t.Fatalf("results left: %v %v", left, err)
			}
			for _, key := range waits {
				if d, err := n.store.Delivery(key); err != nil || d.State != state.Discarded {
					t.Fatalf("a delivery without its object is %s: %v", d.State, err)
				}
			}
		})
	}
}

// TestSweepForSpace: the oldest delivered studies go until the spool is small enough, unfinished and fresh ones never.
func TestSweepForSpace(t *testing.T) {
	n := sweepNode(t)
	n.config.DICOM.ReserveMiB = 1 << 40 // the disk never has twice this
	for _, study := range []string{"1.2.1", "1.2.2", "1.2.3"} {
		n.storeObject(t, study, study+".1")
	}
	first, _ := n.finish(t, "1.2.1", "pacs")
	n.finish(t, "1.2.2", "pacs") // not delivered
	if err := n.store.MarkStored(first, "", now()); err != nil {
		t.Fatal(err)
	}
	if n.sweepAll(now().Add(freshFor - time.Minute)); len(n.spool.Studies()) != 3 {
		t.Fatalf("a fresh study was removed: %v", n.spool.Studies())
	}
	if n.sweepAll(now().Add(freshFor + time.Minute)); !slices.Equal(n.spool.Studies(), []string{"1.2.2", "1.2.3"}) {
		t.Fatalf("left: %v", n.spool.Studies())
	}
	second := state.DeliveryKey{SOPInstanceUID: "2.25.11.2.2", Destination: "pacs"}
	if err := n.store.MarkStored(second, "", now()); err != nil {
		t.Fatal(err)
	}
	n.config.DICOM.ReserveMiB = 0
	if n.sweepAll(now().Add(2 * freshFor)); len(n.spool.Studies()) != 2 {
		t.Fatal("removed before its time though there is room")
	}
}

// TestSweepWasCutOff: results that a sweep left without their study, and files half-written, go too.
func TestSweepWasCutOff(t *testing.T) {
	n := sweepNode(t)
	n.storeObject(t, "1.2.1", "1.2.1.1")
	key, result := n.finish(t, "1.2.1", "pacs")
	part := filepath.Join(filepath.Dir(result), ".part-123")
	err := errors.Join(n.store.MarkStored(key, "", now()), os.WriteFile(part, nil, 0o600), n.cleanResults())
	if _, missing := os.Stat(part); err != nil || missing == nil {
		t.Fatal("half-written file left", err)
	}
	if _, err := os.Stat(result); err != nil {
		t.Fatal(err)
	}
	if _, err := n.spool.RemoveStudy("1.2.1", now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	n.sweepAll(now().Add(n.config.Retention))
	if _, err := os.Stat(result); err == nil {
		t.Fatal("results without a study are still there")
	}
}
