package reporting_test

import (
	"bytes"
	"fmt"
	"image/color"
	"strings"
	"testing"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting"
	"ichor/reporting/iod"
	"ichor/scp/dcm"
)

// A site names, codes and colours segments and lists series as it likes; what it leaves out stays.
func TestWriteSite(t *testing.T) {
	o := options()
	purple := color.RGBA{120, 60, 200, 255}
	o.Looks = iod.Looks{
		"IVH": {Label: "Ventrikelblutung", Type: iod.Code{Value: "X1", Scheme: "99SITE", Meaning: "Intraventricular"}, Color: purple},
		"SAH": {Region: iod.Code{Value: "X2", Scheme: "99SITE", Meaning: "Cisterns"}},
	}
	o.Names = iod.SeriesNames{"SEG": {Number: 77, Description: "ICH {version} RUO"}, "overlay": {Number: 78}, "KEY": {Number: 79}}
	seen := map[string]bool{}
	for _, obj := range write(t, small(bleeds()), o) {
		d := read(t, obj)
		name, _, _ := strings.Cut(strings.TrimSuffix(obj.Name, ".dcm"), "/")
		seen[name] = true
		want := map[string]string{"seg": "77 ICH 0.1.0 RUO", "sc": "9002 AI ICH SC ichor-synthetic 0.1.0 RUO",
			"sr": "9003 AI ICH SR ichor-synthetic 0.1.0 RUO", "overlay": "78 AI ICH overlay ichor-synthetic 0.1.0 RUO",
			"ko": "79 AI ICH KEY ichor-synthetic 0.1.0 RUO"}[name]
		if got := d.String(dcm.SeriesNumber) + " " + d.String(dcm.SeriesDescription); got != want {
			t.Errorf("%s is series %q, want %q", obj.Name, got, want)
		}
		switch name {
		case "seg":
			var got []string
			for _, s := range d.Sequence(dcm.SegmentSequence) {
				lab := [3]int64{}
				e, _ := s.Get(dcm.RecommendedDisplayCIELabValue)
				copy(lab[:], e.Value.([]int64))
				got = append(got, fmt.Sprintf("%s %s %s %v", s.String(dcm.SegmentLabel),
					s.Sequence(dcm.SegmentedPropertyTypeCodeSequence)[0].String(dcm.CodeValue),
					s.Sequence(dcm.AnatomicRegionSequence)[0].String(dcm.CodeValue), lab == iod.CIELab(purple)))
			}
			want := "Intraparenchymal hemorrhage 50960005 12738006 false, Ventrikelblutung X1 35764002 true, " +
				"Subarachnoid hemorrhage 50960005 X2 false, Subdural hemorrhage 50960005 18545000 false, Epidural hemorrhage 50960005 18545000 false"
			if strings.Join(got, ", ") != want {
				t.Errorf("segments %s\nwant     %s", strings.Join(got, ", "), want)
			}
		case "sr":
			for _, word := range []string{"Ventrikelblutung (IVH)", "99SITE", "Cisterns"} {
				if !bytes.Contains(obj.Bytes, []byte(word)) {
					t.Errorf("the report does not say %q", word)
				}
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("objects %v", seen)
	}
}

// A destination gets the binary segmentation with its report, or the label map with its own; a report refers to what
// comes with it.
func TestWriteForms(t *testing.T) {
	objects := write(t, small(bleeds()), golden())
	names := map[reporting.Form]string{}
	for _, form := range []reporting.Form{reporting.Binary, reporting.LabelMap} {
		var seg, cavity string
		uids := map[string]bool{}
		for _, o := range objects {
			if !o.For(form) || o.Kind == reporting.SC {
				continue
			}
			names[form] += o.Name + " "
			uids[o.SeriesInstanceUID] = true
			switch {
			case strings.HasPrefix(o.Name, "seg-cavity"):
				cavity = o.SOPInstanceUID
			case o.Kind == reporting.SEG:
				seg = o.SOPInstanceUID
			case !bytes.Contains(o.Bytes, []byte(seg)) || seg == "":
				t.Errorf("%s does not refer to the segmentation it comes with", o.Name)
			case o.Kind == reporting.SR && (!bytes.Contains(o.Bytes, []byte(cavity)) || cavity == ""):
				t.Errorf("%s does not refer to the cavity it comes with", o.Name)
			}
		}
		if len(uids) != 4 {
			t.Errorf("%s: %d series", form, len(uids))
		}
	}
	if names[reporting.Binary] != "seg.dcm seg-cavity.dcm sr.dcm ko.dcm " || names[reporting.LabelMap] != "seg-labelmap.dcm seg-cavity-labelmap.dcm sr-labelmap.dcm ko-labelmap.dcm " {
		t.Errorf("%q", names)
	}
	for _, o := range write(t, small(nil), func() reporting.Options { o := options(); o.LabelMap = true; return o }()) {
		if o.Form != reporting.Any {
			t.Errorf("without a segmentation %s is for %s alone", o.Name, o.Form)
		}
	}
}

// Who upgrades ichor gets the same UIDs for the same study: a result that is there already is not doubled.
func TestWriteVersion(t *testing.T) {
	newer := golden()
	newer.Version = "9.9"
	again := write(t, small(bleeds()), newer)
	for i, o := range write(t, small(bleeds()), golden()) {
		if again[i].SOPInstanceUID != o.SOPInstanceUID || again[i].SeriesInstanceUID != o.SeriesInstanceUID {
			t.Errorf("%s: its UID depends on the version", o.Name)
		}
	}
}

// A hemorrhage is tracked under the same UID when more slices of the study arrive, in SEG and SR alike.
func TestTrackingLasts(t *testing.T) {
	tracked := func(slices int) map[string]string {
		r := head(37, 41, slices, supine(), bleeds())
		for k := range r.Volume.Sources {
			r.Volume.Sources[k].SOPInstanceUID = dcm.DeriveUID(fmt.Sprint(slices, k))
		}
		out := map[string]string{}
		for _, o := range write(t, r, golden()) {
			if o.Name == "seg.dcm" || o.Name == "seg-cavity.dcm" {
				for _, s := range read(t, o).Sequence(dcm.SegmentSequence) {
					out[s.String(dcm.TrackingID)] = s.String(dcm.TrackingUID)
				}
			}
			for _, uid := range out {
				if o.Name == "sr.dcm" && !bytes.Contains(o.Bytes, []byte(uid)) {
					t.Errorf("the report does not track %s", uid)
				}
			}
		}
		return out
	}
	few, more := tracked(17), tracked(20)
	if len(few) != 6 || few["ichor IVH"] == few["ichor IPH"] {
		t.Errorf("tracked %v", few)
	}
	for id, uid := range few {
		if more[id] != uid {
			t.Errorf("%s is tracked as %s, then as %s", id, uid, more[id])
		}
	}
}

// A thin series gives an overlay of bounded length, from which no hemorrhage is missing.
func TestOverlayBounded(t *testing.T) {
	thin := stored{volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, []float64{0.5}}
	r := head(24, 24, 250, thin, []ball{{volume.Vec{10, 0, 3}, 24, finding.IPH, 70}})
	for i := range r.Labels.Voxels { // on one slice alone
		if i/(24*24) != 142 {
			r.Labels.Voxels[i] = 0
		}
	}
	pages, shown, last := 0, false, -1.0
	for _, o := range write(t, r, options()) {
		if !strings.HasPrefix(o.Name, "overlay/") {
			continue
		}
		pages++
		d := read(t, o)
		at, _ := d.Floats(dcm.ImagePositionPatient)
		if n, _ := d.Int(dcm.InstanceNumber); n != pages || at[2] <= last && pages > 1 {
			t.Errorf("%s has number %d and lies at %.1f, after %.1f", o.Name, n, at[2], last)
		}
		last = at[2]
		shown = shown || d.Sequence(dcm.SourceImageSequence)[0].String(dcm.ReferencedSOPInstanceUID) == r.Volume.Sources[142].SOPInstanceUID
	}
	if pages < 80 || pages > 96 || !shown {
		t.Errorf("%d pages, the slice with hemorrhage among them: %v", pages, shown)
	}
}

// The report lists so many lesions and no more, and says what changed where the hemorrhage is gone, too.
func TestReportMeasures(t *testing.T) {
	comments := func(r analysis.Analysis) string {
		for _, o := range write(t, r, options()) {
			if o.Kind == reporting.SR {
				content := read(t, o).Sequence(dcm.ContentSequence)
				var out []string
				for _, item := range append(content, content[len(content)-1].Sequence(dcm.ContentSequence)...) {
					out = append(out, item.String(dcm.TextValue))
				}
				return strings.Join(out, "\n")
			}
		}
		t.Fatal("no report")
		return ""
	}
	many := small(bleeds())
	for len(many.Finding.Lesions) < 23 {
		many.Finding.Lesions = append(many.Finding.Lesions, finding.Lesion{Subtype: finding.SAH, VolumeML: 0.25})
	}
	got := comments(many)
	if n := strings.Count(got, "SAH 0.2 mL, slice 1 counted from the feet."); n != 15 || !strings.Contains(got, "Smaller lesions that are not described: 3, together 0.8 mL.") {
		t.Errorf("%d of the small lesions are listed:\n%s", n, got)
	}
	gone := small(nil)
	gone.Finding.Prior = &finding.Prior{Hours: 72, Volumes: finding.Volumes{Total: 4}, ChangeML: -4, ChangePercent: -100}
	if got := comments(gone); !strings.Contains(got, "Prior study 3 days earlier: total 4.0 mL; change -4.0 mL (-100 %).") || !strings.Contains(got, "No intracranial hemorrhage was detected.") {
		t.Errorf("the report says\n%s", got)
	}
}
