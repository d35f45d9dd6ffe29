package outcome

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
)

// recorder keeps state and results in folders of the test and knows one destination, which wants rejection notes.
func recorder(t *testing.T, log *slog.Logger) *Recorder {
	t.Helper()
	store, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	r, err := New(Options{State: store, Dir: t.TempDir(), Destinations: []Destination{{Name: "pacs", RejectionNote: true}}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// record ends the next revision of a study as refused for a reason, which gives one report, and returns its delivery.
func (r *Recorder) record(t *testing.T, study, reason string) state.Delivery {
	t.Helper()
	header := &dcm.DataSet{}
	header.SetStrings(dcm.StudyInstanceUID, "UI", study)
	return r.recordResult(t, study, analysis.Analysis{Header: header, Finding: finding.Finding{Reason: reason}})
}

// recordFor does so for a patient.
func (r *Recorder) recordFor(t *testing.T, study, patient string, corrected bool) state.Delivery {
	t.Helper()
	header := &dcm.DataSet{}
	header.SetStrings(dcm.StudyInstanceUID, "UI", study)
	header.SetStrings(dcm.PatientID, "LO", patient)
	return r.recordResult(t, study, analysis.Analysis{Header: header, Finding: finding.Finding{Reason: "no head", Corrected: corrected}})
}

func (r *Recorder) recordResult(t *testing.T, study string, result analysis.Analysis) state.Delivery {
	t.Helper()
	f := &result.Finding
	f.Status, f.Code, f.Bundle = finding.Refused, finding.Undecodable, finding.Bundle{Name: "test", Digest: "00"}
	id := state.IDOf(study)
	c, err := r.o.State.Requeue(id, time.Now())
	if errors.Is(err, state.ErrNotFound) {
		c, err = r.o.State.Queue(study, 1, "quiet 5s", time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(context.Background(), id, c.Revision, 1, result); err != nil {
		t.Fatal(err)
	}
	all, err := r.o.State.Deliveries(id)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return all[len(all)-1]
}

// TestResultsAreNotReplaced analyses a case twice while its destination is down. The second time the same object has other
// bytes; what waits for delivery must stay what was recorded, or it is taken for damaged.
func TestResultsAreNotReplaced(t *testing.T) {
	r := recorder(t, nil)
	first := r.record(t, "1.2.1", "no head")
	was, err := os.ReadFile(first.Path)
	if err != nil || int64(len(was)) != first.Size || len(first.SHA256) == 0 {
		t.Fatalf("%d bytes, recorded %+v, %v", len(was), first, err)
	}
	r.o.Reporting.Clock = func() time.Time { return time.Now().Add(time.Hour) }
	again := r.record(t, "1.2.1", "no head")
	is, err := os.ReadFile(again.Path)
	if again.SOPInstanceUID != first.SOPInstanceUID || !bytes.Equal(was, is) || err != nil || !bytes.Equal(first.SHA256, again.SHA256) {
		t.Errorf("replaced by %d bytes, %+v, %v", len(is), again, err)
	}
}

// TestDamagedResult: the remedy for a damaged result is another analysis of its case. It writes the file anew, whether bytes
// of it were lost or changed, and records it as it is now.
func TestDamagedResult(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"cut off":  func(data []byte) []byte { return data[:len(data)/2] },
		"one bit":  func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"is empty": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := recorder(t, nil)
			d := r.record(t, "1.2.1", "no head")
			data, err := os.ReadFile(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(bytes.Clone(data))
			if err := errors.Join(os.WriteFile(d.Path, damaged, 0o600),
				r.o.State.MarkFailed([]state.Failure{{Key: d.DeliveryKey, Dead: true, Err: "its file is damaged"}}, time.Now())); err != nil {
				t.Fatal(err)
			}
			d = r.record(t, "1.2.1", "no head")
			is, err := os.ReadFile(d.Path)
			if err != nil || bytes.Equal(is, damaged) || int64(len(is)) != d.Size {
				t.Errorf("%d bytes of %d, recorded %d, %v", len(is), len(data), d.Size, err)
			}
			if err := r.o.State.Replay(d.DeliveryKey, time.Now()); err != nil {
				t.Errorf("cannot be replayed: %v", err)
			}
		})
	}
}

// lateCase has one object at its destination that was superseded while it was being sent.
func (r *Recorder) lateCase(t *testing.T, study string) (former state.Delivery) {
	t.Helper()
	former = r.record(t, study, "no head")
	r.record(t, study, "no slices")
	if err := r.o.State.MarkStored(former.DeliveryKey, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	return former
}

// TestLateWithoutFiles: of two late objects the first has no readable file any more. The note about the other is made, and
// the first is told about once.
func TestLateWithoutFiles(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"gone":       os.RemoveAll,
		"unreadable": func(dir string) error { return damageAll(dir) },
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			r := recorder(t, slog.New(slog.NewTextHandler(&log, nil)))
			studies := []string{"1.2.1", "1.2.2"}
			if state.IDOf(studies[0]) > state.IDOf(studies[1]) { // they are tried in this order
				studies[0], studies[1] = studies[1], studies[0]
			}
			first, second := r.lateCase(t, studies[0]), r.lateCase(t, studies[1])
			if err := spoil(filepath.Dir(first.Path)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_ = r.rejectLate() // the error is that of the first one
			}
			late, err := r.o.State.Late()
			if err != nil {
				t.Fatal(err)
			}
			if d, err := r.o.State.Delivery(second.DeliveryKey); err != nil || d.Note == "" {
				t.Errorf("no note about the second: %+v, %v", d, err)
			}
			switch told := strings.Count(log.String(), "rejection note not possible"); name {
			case "gone":
				if len(late) != 0 || told != 1 {
					t.Errorf("%d late, told %d times", len(late), told)
				}
			default:
				if len(late) != 1 || late[0].Case != first.Case || told != 0 {
					t.Errorf("%d late, told %d times", len(late), told)
				}
			}
		})
	}
}

func damageAll(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
	for _, name := range names {
		err = errors.Join(err, os.WriteFile(name, []byte("damaged"), 0o600))
	}
	return err
}

// TestLateWithoutNotes: no file is read where the destination wants no notes.
func TestLateWithoutNotes(t *testing.T) {
	r := recorder(t, nil)
	r.o.Destinations[0].RejectionNote = false
	former := r.lateCase(t, "1.2.1")
	if err := damageAll(filepath.Dir(former.Path)); err != nil {
		t.Fatal(err)
	}
	if err := r.rejectLate(); err != nil {
		t.Error(err)
	}
	if late, err := r.o.State.Late(); err != nil || len(late) != 0 {
		t.Errorf("still late: %+v, %v", late, err)
	}
}

// TestHalfWritten: files that a killed run left half-written are removed, results stay.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	part, whole := filepath.Join(dir, "0123456789abcdef", ".part-123"), filepath.Join(dir, "0123456789abcdef", "2.25.1.dcm")
	if err := errors.Join(os.Mkdir(filepath.Dir(part), 0o750), os.WriteFile(part, nil, 0o600), os.WriteFile(whole, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("half-written file left")
	}
	if _, err := os.Stat(whole); err != nil {
		t.Error(err)
	}
}

// TestCorrectedPatient: a result under a corrected patient identification takes the place of the one before, in the same
// series, and does not come back to the old UIDs when the sender goes back.
func TestCorrectedPatient(t *testing.T) {
	var log strings.Builder
	r := recorder(t, slog.New(slog.NewTextHandler(&log, nil)))
	first := r.recordFor(t, "1.2.1", "TRAUMA7", false)
	if err := r.o.State.MarkStored(first.DeliveryKey, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{first.SOPInstanceUID: true}
	for _, patient := range []string{"HOSP8", "TRAUMA7", "HOSP8"} {
		d := r.recordFor(t, "1.2.1", patient, true)
		if d.SeriesInstanceUID != first.SeriesInstanceUID || seen[d.SOPInstanceUID] {
			t.Errorf("corrected to %s: %s in series %s, was %s in %s", patient, d.SOPInstanceUID, d.SeriesInstanceUID, first.SOPInstanceUID, first.SeriesInstanceUID)
		}
		seen[d.SOPInstanceUID] = true
		header, err := headerOf(d.Path)
		if err != nil || header.String(dcm.PatientID) != patient {
			t.Errorf("the report is of %v, want %s, %v", header, patient, err)
		}
	}
	all, err := r.o.State.Outcomes(state.IDOf("1.2.1"))
	if err != nil || len(all) != 4 || !strings.Contains(all[0].Why, "corrected the patient identification") {
		t.Errorf("%+v, %v", all, err)
	}
	if text := log.String(); strings.Count(text, "the sender corrected the patient identification") != 3 || strings.Contains(text, "HOSP") || strings.Contains(text, "TRAUMA") {
		t.Errorf("log %s", text)
	}
}
