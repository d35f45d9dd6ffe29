package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
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

// TestSweep takes one study through its life and asks at each step, a retention time later, whether it may go.
func TestSweep(t *testing.T) {
	const study, justCame = "1.2.3.4", "an object has just come"
	id := state.IDOf(study)
	c := config.Default()
	n := &node{config: c, results: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	dir := t.TempDir()
	var err error
	if n.spool, err = spool.Open(t.Context(), spool.Options{Dir: filepath.Join(dir, "spool"), ReserveBytes: -1}); err != nil {
		t.Fatal(err)
	}
	defer n.spool.Close()
	if n.store, err = state.Open(filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	defer n.store.Close()
	key := state.DeliveryKey{SOPInstanceUID: "2.25.1", Destination: "pacs"}
	result := filepath.Join(n.results, string(id), "2.25.1.dcm")
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
		{"unknown to the store", func() { n.storeObject(t, study, "1.2.3.4.1") }, c.Retention, 1},
		{"being received", func() { _, err := n.store.Receive(study, now()); must(err) }, c.Retention, 1},
		{"queued", func() { _, err := n.store.Queue(study, 1, "quiet 5s", now()); must(err) }, c.Retention, 1},
		{"not delivered", func() {
			must(os.MkdirAll(filepath.Dir(result), 0o750))
			must(os.WriteFile(result, []byte("SR"), 0o600))
			must(n.store.Finish(id, 1, finding.Finding{Status: finding.Analyzed}, []state.Delivery{{DeliveryKey: key, Path: result}}, now()))
		}, c.Retention, 1},
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
		must(n.sweepStudy(study, at))
		if left := len(n.spool.Study(study)); left != step.left {
			t.Fatalf("%s: %d objects left, want %d", step.name, left, step.left)
		}
		if _, err := os.Stat(result); step.left == 0 && err == nil {
			t.Error("the results of a removed study are still there")
		}
	}
}
