package retention

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// clock is the time of what tests record.
func clock() time.Time { return time.Now().UTC() }

// storeObject puts one object into the spool, as C-STORE does.
func (s *Sweeper) storeObject(t *testing.T, study, instance string) {
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
	receiving := s.o.Spool.Intake()
	defer receiving.Close()
	w, err := receiving.Create(dcm.CTImageStorage, instance, dcm.ExplicitVRLittleEndian, "CT1")
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

// newSweeper keeps studies for a day, given up ones for two, and knows one destination.
func newSweeper(t *testing.T) *Sweeper {
	t.Helper()
	dir := t.TempDir()
	sp, err := spool.Open(t.Context(), spool.Options{Dir: filepath.Join(dir, "spool"), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	store, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return New(Options{State: store, Spool: sp, Results: t.TempDir(), Keep: 24 * time.Hour, KeepFailed: 48 * time.Hour, Destinations: []string{"pacs"}})
}

// finish ends a case with one result for a destination.
func (s *Sweeper) finish(t *testing.T, study, destination string) (key state.DeliveryKey, result string) {
	t.Helper()
	id := state.IDOf(study)
	key = state.DeliveryKey{SOPInstanceUID: "2.25.1" + study, Destination: destination}
	result = filepath.Join(s.o.Results, string(id), "2.25.1.dcm")
	_, err := s.o.State.Queue(study, len(s.o.Spool.Study(study)), "quiet 5s", clock())
	err = errors.Join(err, os.MkdirAll(filepath.Dir(result), 0o750), os.WriteFile(result, []byte("SR"), 0o600),
		s.o.State.Finish(id, 1, state.Conclusion{Finding: finding.Finding{Status: finding.Analyzed}, Deliveries: []state.Delivery{{DeliveryKey: key, Path: result}}}, clock()))
	if err != nil {
		t.Fatal(err)
	}
	return key, result
}

// TestSweep takes one study through its life and asks at each step, a long time later, whether it may go.
func TestSweep(t *testing.T) {
	const study, justCame = "1.2.3.4", "an object has just come"
	s := newSweeper(t)
	ever := 100 * s.o.KeepFailed
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
		{"unknown to the store", func() { s.storeObject(t, study, "1.2.3.4.1") }, ever, 1},
		{"being received", func() { _, err := s.o.State.Receive(study, clock()); must(err) }, ever, 1},
		{"queued", func() { _, err := s.o.State.Queue(study, 1, "quiet 5s", clock()); must(err) }, ever, 1},
		{"not delivered", func() { key, result = s.finish(t, study, "pacs") }, ever, 1},
		{"delivered, not yet old", func() { must(s.o.State.MarkStored(key, "", clock())) }, s.o.Keep - time.Minute, 1},
		// Its case is as old as it has to be; the object itself is not.
		{justCame, func() { s.storeObject(t, study, "1.2.3.4.2") }, 0, 2},
		{"old", func() {}, s.o.Keep, 0},
	} {
		step.do()
		at := clock().Add(step.after)
		if step.name == justCame {
			o := s.o.Spool.Study(study)
			at = o[len(o)-1].Received.Add(s.o.Keep)
		}
		s.Sweep(at)
		if left := len(s.o.Spool.Study(study)); left != step.left {
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
		do   func(t *testing.T, s *Sweeper, study string) (waits []state.DeliveryKey)
	}{
		{"analysis failed", func(t *testing.T, s *Sweeper, study string) []state.DeliveryKey {
			if _, err := s.o.State.Queue(study, 1, "quiet 5s", clock()); err != nil {
				t.Fatal(err)
			}
			if err := s.o.State.Fail(state.IDOf(study), 1, "no memory", clock()); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
		{"with the dead letters", func(t *testing.T, s *Sweeper, study string) []state.DeliveryKey {
			key, _ := s.finish(t, study, "pacs")
			if err := s.o.State.MarkFailed([]state.Failure{{Key: key, Dead: true, Err: "refused"}}, clock()); err != nil {
				t.Fatal(err)
			}
			return []state.DeliveryKey{key}
		}},
		{"destination not configured", func(t *testing.T, s *Sweeper, study string) []state.DeliveryKey {
			key, _ := s.finish(t, study, "old-pacs")
			return []state.DeliveryKey{key}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const study = "1.2.3.4"
			s := newSweeper(t)
			s.storeObject(t, study, "1.2.3.4.1")
			waits := c.do(t, s, study)
			if s.Sweep(clock().Add(s.o.KeepFailed - time.Minute)); len(s.o.Spool.Study(study)) != 1 {
				t.Fatal("removed before its time")
			}
			if s.Sweep(clock().Add(s.o.KeepFailed)); len(s.o.Spool.Study(study)) != 0 {
				t.Fatal("never removed")
			}
			if left, err := os.ReadDir(s.o.Results); len(left) != 0 || err != nil {
				t.Fatalf("results left: %v %v", left, err)
			}
			for _, key := range waits {
				if d, err := s.o.State.Delivery(key); err != nil || d.State != state.Discarded {
					t.Fatalf("a delivery without its object is %s: %v", d.State, err)
				}
			}
		})
	}
}

// TestSweepForSpace: the oldest delivered studies go until the spool is small enough, unfinished and fresh ones never.
func TestSweepForSpace(t *testing.T) {
	s := newSweeper(t)
	s.o.ReserveBytes = 1 << 60 // the disk never has twice this
	for _, study := range []string{"1.2.1", "1.2.2", "1.2.3"} {
		s.storeObject(t, study, study+".1")
	}
	first, _ := s.finish(t, "1.2.1", "pacs")
	s.finish(t, "1.2.2", "pacs") // not delivered
	if err := s.o.State.MarkStored(first, "", clock()); err != nil {
		t.Fatal(err)
	}
	if s.Sweep(clock().Add(freshFor - time.Minute)); len(s.o.Spool.Studies()) != 3 {
		t.Fatalf("a fresh study was removed: %v", s.o.Spool.Studies())
	}
	if s.Sweep(clock().Add(freshFor + time.Minute)); !slices.Equal(s.o.Spool.Studies(), []string{"1.2.2", "1.2.3"}) {
		t.Fatalf("left: %v", s.o.Spool.Studies())
	}
	second := state.DeliveryKey{SOPInstanceUID: "2.25.11.2.2", Destination: "pacs"}
	if err := s.o.State.MarkStored(second, "", clock()); err != nil {
		t.Fatal(err)
	}
	s.o.ReserveBytes = 0
	if s.Sweep(clock().Add(2 * freshFor)); len(s.o.Spool.Studies()) != 2 {
		t.Fatal("removed before its time though there is room")
	}
}

// TestSweepWasCutOff: results that an interrupted sweep left without their study are removed.
func TestSweepWasCutOff(t *testing.T) {
	s := newSweeper(t)
	s.storeObject(t, "1.2.1", "1.2.1.1")
	key, result := s.finish(t, "1.2.1", "pacs")
	if err := s.o.State.MarkStored(key, "", clock()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(result); err != nil {
		t.Fatal(err)
	}
	if _, err := s.o.Spool.RemoveStudy("1.2.1", clock().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.Sweep(clock().Add(s.o.Keep))
	if _, err := os.Stat(result); err == nil {
		t.Fatal("results without a study are still there")
	}
}

// TestReplayMeetsSweep: an operator replays a dead letter after its study was judged and before it is removed. The study
// stays, and the delivery waits for its destination.
func TestReplayMeetsSweep(t *testing.T) {
	s := newSweeper(t)
	s.storeObject(t, "1.2.1", "1.2.1.1")
	key, result := s.finish(t, "1.2.1", "pacs")
	if err := s.o.State.MarkFailed([]state.Failure{{Key: key, Dead: true, Err: "refused"}}, clock()); err != nil {
		t.Fatal(err)
	}
	judged := s.studies()
	if len(judged) != 1 || judged[0].standing != state.GivenUp {
		t.Fatalf("%+v", judged)
	}
	if err := s.o.State.Replay(key, clock()); err != nil {
		t.Fatal(err)
	}
	s.drop(judged[0], clock(), "age")
	if d, err := s.o.State.Delivery(key); err != nil || d.State != state.Pending {
		t.Errorf("replayed, now %s: %v", d.State, err)
	}
	if _, err := os.Stat(result); err != nil || len(s.o.Spool.Study("1.2.1")) != 1 {
		t.Errorf("removed: %v", err)
	}
}

// TestForget: what the state knows of a study leaves it some time after the study was removed.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSweeper(t)
		s.o.Keep, s.o.KeepCases = time.Hour, 2*time.Hour
		key, result := s.finish(t, "1.2.1", "pacs")
		if err := s.o.State.MarkStored(key, "", clock()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(s.o.Keep + sweepInterval + time.Minute)
		if _, err := os.Stat(result); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the result: %v", err)
		}
		if _, err := s.o.State.Case(state.IDOf("1.2.1")); err != nil {
			t.Errorf("forgotten with its result: %v", err)
		}
		time.Sleep(s.o.KeepCases + sweepInterval)
		if _, err := s.o.State.Case(state.IDOf("1.2.1")); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("still known: %v", err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
