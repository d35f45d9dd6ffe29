package state

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

func found(total, gap float64, digest string) finding.Finding {
	return finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{Total: total, IPH: total},
		Series: &finding.Series{SpacingMM: [3]float64{0.5, 0.5, gap}}, Bundle: finding.Bundle{Name: "nets", Version: "1", Digest: digest}}
}

// finish makes an analysed case of a study.
func finish(t *testing.T, s *Store, study string, e Exam, f finding.Finding) CaseID {
	t.Helper()
	c := must(s.Queue(study, 5, "quiet 5s", t0))(t)
	if err := s.Finish(c.ID, c.Revision, Conclusion{Finding: f, Exam: e}, t0); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func TestPrior(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	day := time.Date(2026, 3, 14, 8, 0, 0, 0, time.UTC)
	who := Exam{PatientID: "PID-4711", Issuer: "HOSP", BirthDate: "19600102", Sex: "M", At: day}
	at := func(h float64) Exam { e := who; e.At = day.Add(time.Duration(h * float64(time.Hour))); return e }
	finish(t, s, "1.2.1", at(0), found(10, 5, "a"))
	finish(t, s, "1.2.2", at(6), found(20, 5, "a"))
	finish(t, s, "1.2.3", at(30), found(50, 5, "a")) // later than the one that asks
	finish(t, s, "1.2.4", at(7), finding.Finding{Status: finding.Refused})
	now := found(26, 5, "a")
	ask := func(e Exam, f finding.Finding) *finding.Prior {
		t.Helper()
		return must(s.Prior("present", e, f))(t)
	}
	check := func(p *finding.Prior) {
		t.Helper()
		if p == nil || p.StudyInstanceUID != "1.2.2" || p.Hours != 6.5 || p.ChangeML != 6 || math.Abs(p.ChangePercent-30) > 1e-9 || p.Volumes.IPH != 20 || p.Caution != "" {
			t.Errorf("%+v", p)
		}
	}
	check(ask(at(12.5), now))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{who.PatientID, who.BirthDate, who.Issuer} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the state file holds %q", secret)
		}
	}
	s = open(t, path)
	check(ask(at(12.5), now))

	changed := func(change func(*Exam)) Exam { e := at(12.5); change(&e); return e }
	for name, e := range map[string]Exam{
		"another patient":    changed(func(e *Exam) { e.PatientID = "PID-4712" }),
		"another issuer":     changed(func(e *Exam) { e.Issuer = "OTHER" }),
		"another birth date": changed(func(e *Exam) { e.BirthDate = "19600103" }),
		"another sex":        changed(func(e *Exam) { e.Sex = "F" }),
		"before them all":    at(-1),
		"no day":             changed(func(e *Exam) { e.At = time.Time{} }),
		"the same day":       changed(func(e *Exam) { e.DayOnly, e.At = true, day }),
	} {
		if p := ask(e, now); p != nil {
			t.Errorf("%s has a prior: %+v", name, p)
		}
	}
	if p := ask(changed(func(e *Exam) { e.BirthDate, e.Sex = "", "" }), now); p == nil {
		t.Error("no prior where birth date and sex are not known")
	}
	if p := ask(at(12.5), finding.Finding{Status: finding.Refused}); p != nil {
		t.Errorf("a refused study has a prior: %+v", p)
	}
	p := ask(at(12.5), found(26, 0.6, "b"))
	if p == nil || !strings.Contains(p.Caution, "nets 1") || !strings.Contains(p.Caution, "5.0 mm apart, those of this study 0.6 mm") {
		t.Errorf("%+v", p)
	}
	if p := ask(changed(func(e *Exam) { e.DayOnly, e.At = true, day.Add(48*time.Hour) }), now); p == nil || p.StudyInstanceUID != "1.2.3" || !strings.Contains(p.Caution, "time of day") {
		t.Errorf("%+v", p)
	}
	// The study itself is no prior of its next revision, and a case that was removed is none.
	if p := must(s.Prior(IDOf("1.2.2"), at(12.5), now))(t); p == nil || p.StudyInstanceUID != "1.2.1" {
		t.Errorf("%+v", p)
	}
	remove(t, s, IDOf("1.2.2"))
	if p := ask(at(12.5), now); p == nil || p.StudyInstanceUID != "1.2.1" {
		t.Errorf("%+v", p)
	}
	// Nothing was found then: there is no percentage.
	finish(t, s, "1.2.5", at(8), found(0, 5, "a"))
	if p := ask(at(12.5), now); p == nil || p.ChangeML != 26 || p.ChangePercent != 0 {
		t.Errorf("%+v", p)
	}
}

func TestSharedPatientIDs(t *testing.T) {
	for id, want := range map[string]bool{"": false, "0": false, "0000": false, "ANON": false, "anonymous-12": false, "Unknown": false, "XXX": false,
		"N/A": false, "TEST01": false, "Notfall 3": false, "123456": false, "--": false,
		"4711": true, "P0001": true, "AN-17": true, "ID 007": true} {
		if got := (Exam{PatientID: id}).named(); got != want {
			t.Errorf("%q named %v", id, got)
		}
	}
}

func TestExamOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		tags    map[dcm.Tag]string
		want    string
		dayOnly bool
	}{
		{"date-time", map[dcm.Tag]string{dcm.AcquisitionDateTime: "20260314150926.5+0100", dcm.StudyDate: "20250101"}, "2026-03-14 15:09:26", false},
		{"acquisition", map[dcm.Tag]string{dcm.AcquisitionDate: "20260314", dcm.AcquisitionTime: "1509", dcm.StudyDate: "20250101"}, "2026-03-14 15:09:00", false},
		{"study", map[dcm.Tag]string{dcm.StudyDate: "20260314", dcm.StudyTime: "150926.123"}, "2026-03-14 15:09:26", false},
		{"older forms", map[dcm.Tag]string{dcm.StudyDate: "2026.03.14", dcm.StudyTime: "15:09:26"}, "2026-03-14 15:09:26", false},
		{"a day alone", map[dcm.Tag]string{dcm.StudyDate: "20260314"}, "2026-03-14 00:00:00", true},
		{"nonsense", map[dcm.Tag]string{dcm.StudyDate: "yesterday", dcm.AcquisitionDateTime: "2026"}, "0001-01-01 00:00:00", false},
	} {
		h := &dcm.DataSet{}
		for tag, v := range c.tags {
			h.SetStrings(tag, "DA", v)
		}
		e := ExamOf(h)
		if got := e.At.Format(time.DateTime); got != c.want || e.DayOnly != c.dayOnly {
			t.Errorf("%s: %s, day only %v", c.name, got, e.DayOnly)
		}
	}
}
