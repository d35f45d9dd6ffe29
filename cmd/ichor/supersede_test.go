package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/receiver"
)

// TestLateSlices sends a part of a study, and when its result is delivered the rest; the node is killed on the way to the
// second result. The PACS gets one rejection note, which names all of the first result, and then the second in the same
// series.
func TestLateSlices(t *testing.T) {
	t.Parallel()
	pacs := startPACS(t)
	p := newProcess(t, pacs)
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "ae_title: PACS}", "ae_title: PACS, rejection_note: true}", 1))
	if err := os.WriteFile(p.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, _ := sampleStudy(t, "mixed")
	files, _, err := findDICOM(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	id, early := state.IDOf(files[0].StudyInstanceUID), len(files)-8
	p.start()
	sendAll := func(files []dicomFile) {
		t.Helper()
		if left := sendAcknowledged(t, p.address, files, map[string]bool{}); len(left) > 0 {
			t.Fatalf("%d objects not taken", len(left))
		}
	}
	sendAll(files[:early])
	p.wait(id, early)
	former := pacs.Objects()
	sendAll(files[early:])
	for _, after := range []time.Duration{500 * time.Millisecond, 3 * time.Second} { // quiet period, analysis or delivery
		time.Sleep(after)
		p.kill()
		<-p.ended
		p.start()
	}
	p.wait(id, len(files))
	sendAll(files) // the very same again
	time.Sleep(4 * time.Second)

	all := pacs.Objects()
	present := all[len(former):]
	notes := slices.DeleteFunc(slices.Clone(present), func(o receiver.Instance) bool { return title(t, o) != "113001" })
	if len(notes) != 1 || present[0].SOPInstanceUID != notes[0].SOPInstanceUID {
		t.Fatalf("%d rejection notes, then %v", len(notes), countKinds(present))
	}
	series := countSeries(t, former)
	present = present[1:]
	if len(present) < 4 {
		t.Errorf("the second result is %v", countKinds(present))
	}
	for uid := range countSeries(t, present) {
		if series[uid] == 0 {
			t.Errorf("the second result begins series %s", uid)
		}
	}
	var named, want []string
	for _, item := range header(t, notes[0]).Sequence(dcm.ContentSequence) {
		for _, r := range item.Sequence(dcm.ReferencedSOPSequence) {
			named = append(named, r.String(dcm.ReferencedSOPInstanceUID))
		}
	}
	for _, o := range former {
		want = append(want, o.SOPInstanceUID)
	}
	slices.Sort(named)
	slices.Sort(want)
	if !slices.Equal(named, want) {
		t.Errorf("the note names %v, the PACS had %v", named, want)
	}
	begun := map[string]string{}
	for _, o := range all {
		d := header(t, o)
		of := strings.Join([]string{d.String(dcm.SeriesDate), d.String(dcm.SeriesTime), d.String(dcm.SeriesNumber), d.String(dcm.SeriesDescription), d.String(dcm.Modality)}, " ")
		if was := begun[d.String(dcm.SeriesInstanceUID)]; was != "" && was != of {
			t.Errorf("one series is %q and %q", was, of)
		}
		begun[d.String(dcm.SeriesInstanceUID)] = of
		if o.Count > 2 { // a kill between its answer and our record of it sends one again
			t.Errorf("%s was sent %d times", dcm.UIDName(o.SOPClassUID), o.Count)
		}
		if o.SOPClassUID != dcm.Comprehensive3DSRStorage || slices.Contains(want, o.SOPInstanceUID) {
			continue
		}
		replaced := header(t, o).Sequence(dcm.PredecessorDocumentsSequence)
		if len(replaced) != 1 || !slices.Contains(want, replaced[0].Sequence(dcm.ReferencedSeriesSequence)[0].Sequence(dcm.ReferencedSOPSequence)[0].String(dcm.ReferencedSOPInstanceUID)) {
			t.Errorf("the new report names %d former ones", len(replaced))
		}
	}
	p.kill()
	<-p.ended
	s, err := state.Open(p.state + "/state.db")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	results, err := s.Outcomes(id)
	if err != nil || len(results) != 2 || results[0].ReplacedBy != results[1].Revision || results[0].Objects != early || results[1].Objects != len(files) {
		t.Errorf("%+v, %v", results, err)
	}
}

func header(t *testing.T, o receiver.Instance) *dcm.DataSet {
	t.Helper()
	r, err := openFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := dcm.Read(r, r.Size(), dcm.Limits{HeaderBytes: r.Size()})
	if err != nil {
		t.Fatal(err)
	}
	return f.Data
}

// title is the code of the title of a key object document.
func title(t *testing.T, o receiver.Instance) string {
	t.Helper()
	if o.SOPClassUID != dcm.KeyObjectSelectionDocumentStorage {
		return ""
	}
	return header(t, o).Sequence(dcm.ConceptNameCodeSequence)[0].String(dcm.CodeValue)
}

func countSeries(t *testing.T, objects []receiver.Instance) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, o := range objects {
		n[header(t, o).String(dcm.SeriesInstanceUID)]++
	}
	return n
}

// TestCorrectedPatient: a study that is sent again under the same UIDs, with the right patient, has the results of that patient; the
// PACS gets no more of the first one.
func TestCorrectedPatient(t *testing.T) {
	pacs := startPACS(t)
	n := startNode(t, toPACS(t, pacs))
	head, err := phantom.Load("epidural")
	if err != nil {
		t.Fatal(err)
	}
	const uid = "1.2.826.0.1.3680043.8.498.47"
	write := func(patient string) string {
		dir := t.TempDir()
		number := 0
		if err := head.Write(dir, synthetic.WriteOptions{StudyInstanceUID: uid, Edit: func(_ int, d *dcm.DataSet) {
			number++
			d.SetStrings(dcm.SeriesInstanceUID, "UI", uid+".1")
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("%s.2.%d", uid, number))
			d.SetStrings(dcm.PatientID, "LO", patient)
			d.SetStrings(dcm.PatientName, "PN", patient+"^X")
		}}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	id := state.IDOf(uid)
	send(t, n.Addr(), write("TRAUMA47"))
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	former := len(pacs.Objects())
	part := write("HOSP08") // its sender is interrupted after nine images
	files, err := filepath.Glob(filepath.Join(part, "*.dcm"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files[9:] {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	send(t, n.Addr(), part)
	eventually(t, "the first result stays", func() bool {
		c, err := n.State().Case(id)
		return err == nil && c.Revision == 2 && c.Phase == state.Analyzed && c.Finding.Status == finding.Analyzed && strings.Contains(c.Error, "some images only")
	})
	if got := len(pacs.Objects()); got != former {
		t.Errorf("%d objects were sent for a part of a correction", got-former)
	}
	send(t, n.Addr(), write("HOSP08"))
	eventually(t, "a second result", func() bool { c, err := n.State().Case(id); return err == nil && c.Revision == 3 })
	c, err := delivered(within(t), n.State(), id, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if c.Finding == nil || !c.Finding.Corrected || !strings.Contains(strings.Join(c.Finding.Warnings, "\n"), "The sender corrected the patient identification") {
		t.Errorf("%+v", c.Finding)
	}
	now := pacs.Objects()[former:]
	if len(now) == 0 {
		t.Error("no result of the right patient")
	}
	for _, o := range now {
		if d := header(t, o); d.String(dcm.PatientID) != "HOSP08" || d.String(dcm.PatientName) != "HOSP08^X" {
			t.Errorf("%s of %s", dcm.UIDName(o.SOPClassUID), d.String(dcm.PatientID))
		}
	}
}
