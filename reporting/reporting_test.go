package reporting_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting"
	"ichor/scp/dcm"
)

// validUID is the strict form of a UID (PS3.5 §9.1).
var validUID = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$`)

// small is a head of odd size, so that frames of the SEG begin within a byte.
func small(bleed []ball) analysis.Analysis {
	return head(37, 41, 9, stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{12, 14}}, bleed)
}

func write(t *testing.T, r analysis.Analysis, o reporting.Options) []reporting.Output {
	t.Helper()
	return generation(t, r, o, 0)
}

func report(t *testing.T, r analysis.Analysis, o reporting.Options) *reporting.Report {
	t.Helper()
	made, err := reporting.New(r, o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// generation writes a report whose objects were rejected n times before.
func generation(t *testing.T, r analysis.Analysis, o reporting.Options, n int) []reporting.Output {
	t.Helper()
	made := report(t, r, o)
	for range n {
		made.NextGeneration()
	}
	objects, err := made.Write(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func read(t *testing.T, o reporting.Output) *dcm.DataSet {
	t.Helper()
	f, err := dcm.Read(bytes.NewReader(o.Bytes), int64(len(o.Bytes)), dcm.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", o.Name, err)
	}
	return f.Data
}

func TestWriteWhich(t *testing.T) {
	for name, c := range map[string]struct {
		report analysis.Analysis
		want   []string
	}{
		"hemorrhage":    {small(bleeds()), []string{"SEG seg.dcm", "SC sc/1.dcm", "SC sc/2.dcm", "SC sc/3.dcm", "SC sc/4.dcm", "SC sc/5.dcm", "SR sr.dcm", "KO ko.dcm"}},
		"one small one": {small([]ball{{volume.Vec{20, 0, 0}, 5, finding.EDH, 70}}), []string{"SEG seg.dcm", "SC sc/1.dcm", "SC sc/2.dcm", "SR sr.dcm", "KO ko.dcm"}},
		"none":          {small(nil), []string{"SC sc/1.dcm", "SR sr.dcm"}},
		"refused":       {refused(), []string{"SC sc/1.dcm", "SR sr.dcm"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			overlays := 0
			for _, o := range write(t, c.report, options()) {
				if strings.HasPrefix(o.Name, "overlay/") {
					overlays++
					continue
				}
				got = append(got, string(o.Kind)+" "+o.Name)
				d := read(t, o)
				for tag, want := range map[dcm.Tag]string{dcm.SOPClassUID: o.SOPClassUID, dcm.SOPInstanceUID: o.SOPInstanceUID,
					dcm.SeriesInstanceUID: o.SeriesInstanceUID, dcm.StudyInstanceUID: "1.2.826.0.1.3680043.10",
					dcm.PatientName: "Äpfel^Jürgen=山田^太郎", dcm.AccessionNumber: "A-4711",
					dcm.SeriesNumber: map[reporting.Kind]string{reporting.SEG: "9001", reporting.SC: "9002", reporting.SR: "9003", reporting.KO: "9005"}[o.Kind]} {
					if d.String(tag) != want {
						t.Errorf("%s: %s is %q, want %q", o.Name, tag, d.String(tag), want)
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("objects %q\nwant    %q", got, c.want)
			}
			if bleeding := c.want[0] == "SEG seg.dcm"; overlays != 9 && bleeding || overlays > 0 && !bleeding {
				t.Errorf("%d pages of the overlay, of 9 slices", overlays)
			}
		})
	}
}

func TestWriteDeterministic(t *testing.T) {
	one := []ball{{volume.Vec{20, 0, 0}, 5, finding.EDH, 70}}
	first, again := write(t, small(one), options()), write(t, small(one), options())
	later := options()
	later.Clock = func() time.Time { return clock().Add(36 * time.Hour) }
	other := small(one)
	other.Finding.Bundle.Digest = strings.Repeat("0", 64)
	fewer := small(one)
	fewer.Volume.Sources[3].SOPInstanceUID = "1.2.3.4"
	atLater, byOther, ofFewer := write(t, small(one), later), write(t, other, options()), write(t, fewer, options())
	nextGeneration := generation(t, small(one), options(), 1)
	seen := map[string]bool{}
	for i, o := range first { // one bleed: SEG, two pages, SR, overlay
		if !bytes.Equal(o.Bytes, again[i].Bytes) {
			t.Errorf("%s: bytes differ under the same clock", o.Name)
		}
		if atLater[i].SOPInstanceUID != o.SOPInstanceUID || bytes.Equal(atLater[i].Bytes, o.Bytes) {
			t.Errorf("%s: a later run must keep the UID and change the content date", o.Name)
		}
		if byOther[i].SOPInstanceUID == o.SOPInstanceUID || ofFewer[i].SOPInstanceUID == o.SOPInstanceUID {
			t.Errorf("%s: another bundle or another source image must give another UID", o.Name)
		}
		if nextGeneration[i].SOPInstanceUID == o.SOPInstanceUID {
			t.Errorf("%s: what was rejected comes back under its UID", o.Name)
		}
		if ofFewer[i].SeriesInstanceUID != o.SeriesInstanceUID || nextGeneration[i].SeriesInstanceUID != o.SeriesInstanceUID {
			t.Errorf("%s: an updated result must stay in its series", o.Name)
		}
		if byOther[i].SeriesInstanceUID == o.SeriesInstanceUID {
			t.Errorf("%s: another bundle must have a series of its own", o.Name)
		}
		if !validUID.MatchString(o.SOPInstanceUID) || seen[o.SOPInstanceUID] {
			t.Errorf("%s: UID %q is malformed or used twice", o.Name, o.SOPInstanceUID)
		}
		seen[o.SOPInstanceUID] = true
	}
}

// TestWriteWithoutSubtypes reports hemorrhage of networks that do not tell its subtype: one segment, one group, no zeros
// for subtypes that nobody looked for.
func TestWriteWithoutSubtypes(t *testing.T) {
	r := small([]ball{{volume.Vec{20, 0, 0}, 5, finding.ICH, 70}})
	for _, o := range write(t, r, options()) {
		d := read(t, o)
		switch o.Kind {
		case reporting.SEG:
			segments := d.Sequence(dcm.SegmentSequence)
			if len(segments) != 1 || segments[0].String(dcm.SegmentLabel) != "Intracranial hemorrhage" {
				t.Errorf("%d segments, the first %q", len(segments), segments[0].String(dcm.SegmentLabel))
			}
			site := segments[0].Sequence(dcm.AnatomicRegionSequence)[0]
			if site.String(dcm.CodeValue) != "1101003" {
				t.Errorf("lies in %q", site.String(dcm.CodeMeaning))
			}
		case reporting.SR:
			var text strings.Builder
			dump(&text, d, 0)
			if !strings.Contains(text.String(), "Intracranial hemorrhage (ICH)") || strings.Contains(text.String(), "IPH") {
				t.Errorf("the report does not speak of hemorrhage alone:\n%s", text.String())
			}
		}
	}
}

// TestWriteOldUIDs reports on a study whose UIDs have leading zeros, as some devices write them: our objects are our own,
// and refer to the others by their names.
func TestWriteOldUIDs(t *testing.T) {
	r := small([]ball{{volume.Vec{20, 0, 0}, 5, finding.EDH, 70}})
	r.Header.SetStrings(dcm.StudyInstanceUID, "UI", "1.2.03.1")
	r.Volume.SeriesInstanceUID, r.Volume.FrameOfReferenceUID = "1.2.03.2", "1.2.03.3"
	for i := range r.Volume.Sources {
		r.Volume.Sources[i].SOPInstanceUID = fmt.Sprintf("1.2.03.4.%03d", i)
	}
	for _, o := range write(t, r, options()) {
		d := read(t, o)
		if got := d.String(dcm.StudyInstanceUID); got != "1.2.03.1" || !validUID.MatchString(o.SOPInstanceUID) || !validUID.MatchString(o.SeriesInstanceUID) {
			t.Errorf("%s: %s of series %s in study %s", o.Name, o.SOPInstanceUID, o.SeriesInstanceUID, got)
		}
		if o.Kind == reporting.SEG && d.String(dcm.FrameOfReferenceUID) != "1.2.03.3" {
			t.Errorf("frame of reference %s", d.String(dcm.FrameOfReferenceUID))
		}
		if o.Kind != reporting.SC && !bytes.Contains(o.Bytes, []byte("1.2.03.4.00")) {
			t.Errorf("%s does not refer to its source", o.Name)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	for name, spoil := range map[string]func(r *analysis.Analysis){
		"no study UID":         func(r *analysis.Analysis) { r.Header = &dcm.DataSet{} },
		"no header":            func(r *analysis.Analysis) { r.Header = nil },
		"status":               func(r *analysis.Analysis) { r.Finding.Status = "" },
		"no volume":            func(r *analysis.Analysis) { r.Volume = nil },
		"no labels":            func(r *analysis.Analysis) { r.Labels = nil },
		"no measures":          func(r *analysis.Analysis) { r.Finding.Volumes = nil },
		"label value":          func(r *analysis.Analysis) { r.Labels.Voxels[7] = 7 },
		"labels of other size": func(r *analysis.Analysis) { r.Labels = &volume.Mask{Rows: 41, Columns: 37, Voxels: r.Labels.Voxels} },
		"cavity too short":     func(r *analysis.Analysis) { r.Cavity.Voxels = r.Cavity.Voxels[1:] },
		"source without UID":   func(r *analysis.Analysis) { r.Volume.Sources[2].SOPInstanceUID = "" },
		"sources too few":      func(r *analysis.Analysis) { r.Volume.Sources = r.Volume.Sources[1:] },
		"series UID":           func(r *analysis.Analysis) { r.Volume.SeriesInstanceUID = "x" },
		"volume not a number":  func(r *analysis.Analysis) { r.Finding.Volumes.SDH = math.NaN() },
		"spacing zero":         func(r *analysis.Analysis) { r.Volume.SpacingMM[1] = 0 },
		"no slices":            func(r *analysis.Analysis) { r.Volume = &volume.Volume{Grid: volume.Grid{Rows: 2, Columns: 2}} },
	} {
		t.Run(name, func(t *testing.T) {
			r := small(bleeds())
			spoil(&r)
			if _, err := reporting.New(r, options()); !errors.Is(err, reporting.ErrReport) {
				t.Errorf("error %v, want ErrReport", err)
			}
		})
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := report(t, small(nil), options()).Write(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if err := report(t, refused(), options()).WritePNG(context.Background(), io.Discard); !errors.Is(err, reporting.ErrReport) {
		t.Errorf("picture of a refused study: error %v, want ErrReport", err)
	}
}

// Headers come from anywhere; what they hold must not make an object that nobody accepts.
func TestWriteHostileHeader(t *testing.T) {
	r := small(bleeds())
	h := r.Header
	h.SetStrings(dcm.PatientName, "PN", "A\x00B\nC\x1b$B")
	h.SetStrings(dcm.PatientSex, "CS", "männlich")
	h.SetStrings(dcm.PatientBirthDate, "DA", "02.01.1960")
	h.SetStrings(dcm.StudyDate, "DA", "20261399")
	h.SetStrings(dcm.StudyTime, "TM", "25:61")
	h.SetStrings(dcm.TimezoneOffsetFromUTC, "SH", "Berlin")
	h.SetStrings(dcm.AccessionNumber, "SH")
	h.SetStrings(dcm.PatientAge, "AS", "4 1Y")
	h.SetInts(dcm.StudyID, "US", 7)
	r.Finding.Bundle = finding.Bundle{Name: strings.Repeat("model\\", 40), Version: "\t", Digest: ""}
	r.Finding.Warnings = []string{strings.Repeat("w", 5000), "zwei\x00drei", ""}
	r.Volume.FrameOfReferenceUID = ""
	for _, o := range write(t, r, options()) {
		d := read(t, o)
		for _, tag := range []dcm.Tag{dcm.PatientSex, dcm.PatientBirthDate, dcm.StudyDate, dcm.StudyTime, dcm.AccessionNumber} {
			if e, ok := d.Get(tag); !ok || d.String(tag) != "" {
				t.Errorf("%s: %s is %v, want it there and empty", o.Name, tag, e.Value)
			}
		}
		if v := d.String(dcm.PatientName); v != "A B C $B" {
			t.Errorf("%s: patient name %q", o.Name, v)
		}
		if _, ok := d.Get(dcm.PatientAge); ok {
			t.Errorf("%s: age %q", o.Name, d.String(dcm.PatientAge))
		}
		if _, ok := d.Get(dcm.TimezoneOffsetFromUTC); ok {
			t.Errorf("%s: a timezone was made up", o.Name)
		}
	}
}

// Who the patient is goes over as it came: in any character set, and with a backslash that has no business in it.
func TestWritePatient(t *testing.T) {
	for name, c := range map[string]struct {
		set      string
		name, id []byte
		wantName string
		wantID   []string
	}{
		"Latin-1":                {"ISO_IR 100", []byte("M\xfcller^J\xfcrgen"), []byte("\xc4-007"), "Müller^Jürgen", []string{"Ä-007"}},
		"Cyrillic":               {"ISO_IR 144", []byte("\xbb\xee\xda"), []byte("0007"), "Люк", []string{"0007"}},
		"Japanese":               {"\\ISO 2022 IR 87", []byte("Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"), []byte("J1"), "Yamada^Tarou=山田^太郎", []string{"J1"}},
		"Korean":                 {"\\ISO 2022 IR 149", []byte("Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"), []byte("K1"), "Hong^Gildong=洪^吉洞", []string{"K1"}},
		"UTF-8":                  {"ISO_IR 192", []byte("Wang^XiaoDong=王^小東"), bytes.Repeat([]byte("7"), 70), "Wang^XiaoDong=王^小東", []string{strings.Repeat("7", 70)}},
		"Cyrillic, not declared": {"", []byte("\xc8\xe2\xe0\xed\xee\xe2^\xc8\xe2\xe0\xed"), []byte("0007"), "Иванов^Иван", []string{"0007"}},
		"Chinese, not declared":  {"", []byte("\xcd\xf5^\xd0\xa1\xc3\xf7"), []byte("0007"), "王^小明", []string{"0007"}},
		"backslash":              {"ISO_IR 100", []byte("A^B"), []byte("12\\34"), "A^B", []string{"12", "34"}},
	} {
		t.Run(name, func(t *testing.T) {
			var raw []byte
			for _, e := range []struct {
				tag   [4]byte
				vr    string
				value []byte
			}{{[4]byte{8, 0, 5, 0}, "CS", []byte(c.set)}, {[4]byte{8, 0, 0x50, 0}, "SH", []byte("A-4711")}, {[4]byte{0x10, 0, 0x10, 0}, "PN", c.name},
				{[4]byte{0x10, 0, 0x20, 0}, "LO", c.id}, {[4]byte{0x20, 0, 0x0D, 0}, "UI", []byte("1.2.3")}} {
				if len(e.value)%2 == 1 {
					e.value = append(e.value, map[bool]byte{true: 0, false: ' '}[e.vr == "UI"])
				}
				raw = append(append(append(append(raw, e.tag[:]...), e.vr...), byte(len(e.value)), 0), e.value...)
			}
			header, err := dcm.ReadDataSet(bytes.NewReader(raw), dcm.ExplicitVRLittleEndian, dcm.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			r := refused()
			r.Header = header
			d := read(t, write(t, r, options())[0])
			if got := d.String(dcm.PatientName); got != c.wantName || d.String(dcm.SpecificCharacterSet) != "ISO_IR 192" {
				t.Errorf("name %q in %s, want %q", got, d.String(dcm.SpecificCharacterSet), c.wantName)
			}
			if got := d.Strings(dcm.PatientID); !slices.Equal(got, c.wantID) {
				t.Errorf("ID %q, want %q", got, c.wantID)
			}
			if d.String(dcm.AccessionNumber) != "A-4711" {
				t.Errorf("accession number %q", d.String(dcm.AccessionNumber))
			}
		})
	}
}

// Hemorrhage in crumbs alone, of which none is listed as a lesion: the note still points at a slice that shows it, and
// nothing says that there are no lesions.
func TestWriteCrumbs(t *testing.T) {
	r := small([]ball{{volume.Vec{20, 0, 0}, 5, finding.EDH, 70}})
	r.Finding.Lesions = nil
	for _, o := range write(t, r, options()) {
		switch o.Kind {
		case reporting.KO:
			series := read(t, o).Sequence(dcm.CurrentRequestedProcedureEvidenceSequence)[0].Sequence(dcm.ReferencedSeriesSequence)
			for _, s := range series {
				if len(s.Sequence(dcm.ReferencedSOPSequence)) != 1 {
					t.Errorf("the note names %d objects of a series", len(s.Sequence(dcm.ReferencedSOPSequence)))
				}
			}
			slice := series[0].Sequence(dcm.ReferencedSOPSequence)[0].String(dcm.ReferencedSOPInstanceUID)
			k := slices.IndexFunc(r.Volume.Sources, func(s volume.Source) bool { return s.SOPInstanceUID == slice })
			if k < 0 || !bytes.ContainsRune(r.Labels.Slice(k), rune(finding.EDH)) {
				t.Errorf("the note points at slice %d, where there is nothing", k)
			}
		case reporting.SR:
			if !bytes.Contains(o.Bytes, []byte("Intracranial hemorrhage was detected: ")) {
				t.Error("the report counts lesions")
			}
		}
	}
}

// The content time is told in the zone of the source, as Timezone Offset From UTC speaks for both.
func TestWriteTimezone(t *testing.T) {
	r := small(nil)
	r.Header.SetStrings(dcm.TimezoneOffsetFromUTC, "SH", "-0500")
	d := read(t, write(t, r, options())[0])
	if got := d.String(dcm.ContentTime) + d.String(dcm.TimezoneOffsetFromUTC); got != "090926-0500" {
		t.Errorf("content time and zone %s, want 090926-0500", got)
	}
}

// A later result goes into the same series, which so has one date and time, whenever the content was made.
func TestWriteBegan(t *testing.T) {
	first, later := options(), options()
	first.Began = clock().Add(-time.Minute)
	later.Began, later.Clock = first.Began, func() time.Time { return clock().Add(36 * time.Hour) }
	again := write(t, small(bleeds()[:1]), later)
	for i, o := range write(t, small(bleeds()[:1]), first) {
		a, b := read(t, o), read(t, again[i])
		if a.String(dcm.SeriesDate)+a.String(dcm.SeriesTime) != "20260314150826" || b.String(dcm.SeriesDate)+b.String(dcm.SeriesTime) != "20260314150826" ||
			a.String(dcm.ContentDate) != "20260314" || b.String(dcm.ContentDate) != "20260316" {
			t.Errorf("%s: series of %s %s and %s %s", o.Name, a.String(dcm.SeriesDate), a.String(dcm.SeriesTime), b.String(dcm.SeriesDate), b.String(dcm.SeriesTime))
		}
	}
}

// multiFrame is a head whose slices are frames of one Enhanced CT image.
func multiFrame() analysis.Analysis {
	r := small(bleeds())
	for k := range r.Volume.Sources {
		r.Volume.Sources[k] = volume.Source{SOPClassUID: dcm.EnhancedCTImageStorage, SOPInstanceUID: "1.2.826.0.1.3680043.10.9", Frame: k + 1}
	}
	return r
}

// A multi-frame source is referenced once as a whole, and by frame from each frame that was made from it.
func TestWriteMultiFrameSource(t *testing.T) {
	r := multiFrame()
	d := read(t, write(t, r, options())[0])
	if n := len(d.Sequence(dcm.ReferencedSeriesSequence)[0].Sequence(dcm.ReferencedInstanceSequence)); n != 1 {
		t.Errorf("%d referenced instances, want 1", n)
	}
	for i, f := range d.Sequence(dcm.PerFrameFunctionalGroupsSequence) {
		source := f.Sequence(dcm.DerivationImageSequence)[0].Sequence(dcm.SourceImageSequence)[0]
		n, _ := source.Int(dcm.ReferencedFrameNumber)
		position, _ := f.Sequence(dcm.PlanePositionSequence)[0].Floats(dcm.ImagePositionPatient)
		if n < 1 || n > r.Volume.Slices() || math.Abs(position[2]-r.Volume.Origins[n-1][2]) > 1e-6 {
			t.Errorf("frame %d at %v refers to frame %d of the source", i+1, position, n)
		}
	}
}

func TestWritePNG(t *testing.T) {
	var b bytes.Buffer
	if err := report(t, small(bleeds()), options()).WritePNG(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(&b); err != nil || img.Bounds().Dx() < 1024 {
		t.Errorf("picture %v, error %v", img.Bounds(), err)
	}
}

// BenchmarkWrite is the time from a finding to all objects of a 32-slice study.
func BenchmarkWrite(b *testing.B) {
	r := head(512, 512, 32, supine(), bleeds())
	for b.Loop() {
		report, err := reporting.New(r, options())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := report.Write(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
