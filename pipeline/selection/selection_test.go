package selection

import (
	"fmt"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/volume"
	"ichor/scp/dcm"
)

// series makes n axial slices, 5 mm apart, that say nothing about the body; edit changes each.
func series(name string, n int, edit ...func(k int, d *dcm.DataSet)) []*dcm.DataSet {
	var out []*dcm.DataSet
	for k := range n {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.SOPClassUID, "UI", dcm.CTImageStorage)
		d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("1.2.%d.%d", len(name), k)+"."+dcm.DeriveUID(name))
		d.SetStrings(dcm.SeriesInstanceUID, "UI", name)
		d.SetStrings(dcm.Modality, "CS", "CT")
		d.SetStrings(dcm.ImageType, "CS", "ORIGINAL", "PRIMARY", "AXIAL")
		d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 5*float64(k))
		d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, 1, 0)
		d.SetDecimals(dcm.PixelSpacing, 0.5, 0.5)
		d.SetInts(dcm.Rows, "US", 512)
		d.SetInts(dcm.Columns, "US", 512)
		for _, e := range edit {
			e(k, d)
		}
		out = append(out, d)
	}
	return out
}

func text(t dcm.Tag, v ...string) func(int, *dcm.DataSet) {
	return func(_ int, d *dcm.DataSet) { d.SetStrings(t, "LO", v...) }
}

func numbers(t dcm.Tag, v ...float64) func(int, *dcm.DataSet) {
	return func(_ int, d *dcm.DataSet) { d.SetDecimals(t, v...) }
}

func apart(mm float64) func(int, *dcm.DataSet) {
	return func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 0, mm*float64(k)) }
}

func TestRefusals(t *testing.T) {
	head := text(dcm.BodyPartExamined, "HEAD")
	for _, c := range []struct {
		name    string
		headers []*dcm.DataSet
		code    string
	}{
		{"empty study", nil, finding.NoHeadCT},
		{"MR only", series("a", 30, head, text(dcm.SOPClassUID, dcm.MRImageStorage), text(dcm.Modality, "MR")), finding.NoHeadCT},
		{"dose report only", series("a", 1, text(dcm.SOPClassUID, dcm.XRayRadiationDoseSRStorage)), finding.NoHeadCT},
		{"one frame", series("a", 1, head, text(dcm.SOPClassUID, dcm.EnhancedCTImageStorage)), finding.TooFewSlices},
		{"iodine map", series("a", 40, head, text(dcm.ImageType, "DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC")), finding.NotHounsfield},
		{"localizer", series("a", 2, head, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "LOCALIZER")), finding.NotOriginal},
		{"derived", series("a", 40, head, text(dcm.ImageType, "DERIVED", "PRIMARY", "AXIAL")), finding.NotOriginal},
		{"derived with loss, reformatted", series("a", 40, head, text(dcm.LossyImageCompression, "01"), text(dcm.ImageType, "DERIVED", "PRIMARY", "CORONAL")), finding.NotOriginal},
		{"secondary", series("a", 40, head, text(dcm.ImageType, "ORIGINAL", "SECONDARY")), finding.NotOriginal},
		{"reformatted", series("a", 40, head, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "MPR")), finding.NotOriginal},
		{"chest", series("a", 60, text(dcm.BodyPartExamined, "CHEST")), finding.NoHeadCT},
		{"neck in a head study", series("a", 60, text(dcm.StudyDescription, "HEAD AND C-SPINE"), text(dcm.SeriesDescription, "C-Spine 2.0")), finding.NoHeadCT},
		{"one slice", series("a", 1, head), finding.TooFewSlices},
		{"nine slices", series("a", 9, head, apart(10)), finding.TooFewSlices},
		{"short stretch", series("a", 30, head, apart(2)), finding.TooFewSlices},
		{"coronal", series("a", 40, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1),
			func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 5*float64(k), 0) }), finding.NotAxial},
		{"tilted by 40 degrees", series("a", 40, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0.766044443, 0.642787610)), finding.NotAxial},
		{"mixed orientations", append(series("a", 20, head), series("a", 21, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1))...), finding.MixedOrientation},
		{"missing position", series("a", 30, head, func(k int, d *dcm.DataSet) {
			if k == 7 {
				d.Delete(dcm.ImagePositionPatient)
			}
		}), finding.MissingPosition},
		{"a hole in the stack", append(series("a", 15, head), series("a", 15, head, func(k int, d *dcm.DataSet) {
			d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 100+5*float64(k))
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("1.9.%d", k))
		})...), finding.Incomplete},
		{"too large", series("a", 900, head, apart(0.5)), finding.TooLarge},
		{"best of several", append(series("a", 60, text(dcm.BodyPartExamined, "CHEST")), append(series("bb", 1, head),
			series("ccc", 5, text(dcm.SOPClassUID, dcm.MRImageStorage))...)...), finding.TooFewSlices},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Choose(c.headers, Options{})
			if got.Refusal == nil || got.Refusal.Code != c.code || len(got.Ranked) != 0 {
				t.Fatalf("%+v, %d series to read; want code %s", got.Refusal, len(got.Ranked), c.code)
			}
			if !strings.HasSuffix(got.Refusal.Reason, ".") || strings.Contains(got.Refusal.Reason, "1.2.") {
				t.Errorf("reason is no sentence, or names an instance: %q", got.Refusal.Reason)
			}
			for _, s := range got.Candidates {
				if s.Score != 0 || len(s.Reasons) == 0 {
					t.Errorf("refused candidate %+v", s)
				}
			}
		})
	}
}

func TestPreferences(t *testing.T) {
	head := text(dcm.BodyPartExamined, "HEAD")
	kernel := func(k string) func(int, *dcm.DataSet) { return text(dcm.ConvolutionKernel, k) }
	for _, c := range []struct {
		name          string
		better, worse []*dcm.DataSet
	}{
		{"head by name", series("b", 30, head), series("w", 30)},
		{"head by study", series("b", 30, text(dcm.StudyDescription, "CT Schädel nativ")), series("w", 30)},
		{"soft kernel", series("b", 30, head, kernel("H30s")), series("w", 30, head, kernel("H60s"))},
		{"soft kernel, GE", series("b", 30, head, kernel("STANDARD")), series("w", 30, head, kernel("BONEPLUS"))},
		{"soft thin before bone thick", series("b", 200, head, apart(0.8), kernel("J30s")), series("w", 32, head, kernel("J70h"))},
		{"thick before thin", series("b", 30, head), series("w", 240, head, apart(0.625))},
		{"native before contrast", series("b", 30, head), series("w", 30, head, text(dcm.ContrastBolusAgent, "IOHEXOL"))},
		{"native before angiography", series("b", 200, head, apart(1)), series("w", 40, head, text(dcm.SeriesDescription, "CTA head 5.0"))},
		{"5 mm before 10 mm", series("b", 30, head), series("w", 16, head, apart(10))},
		{"the longer", series("b", 33, head), series("w", 30, head)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, order := range [][][]*dcm.DataSet{{c.better, c.worse}, {c.worse, c.better}} {
				got := Choose(append(append([]*dcm.DataSet{}, order[0]...), order[1]...), Options{})
				if len(got.Ranked) != 2 {
					t.Fatalf("%d series can be read: %+v", len(got.Ranked), got.Candidates)
				}
				if best := got.Candidates[got.Ranked[0].Candidate]; best.SeriesInstanceUID != "b" {
					t.Errorf("chose the wrong one: %+v", got.Candidates)
				}
			}
		})
	}
}

func TestSeriesWithMoreThanSlices(t *testing.T) {
	head := text(dcm.BodyPartExamined, "HEAD")
	localizer := series("x", 2, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "LOCALIZER"), numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1))
	for _, d := range localizer {
		d.SetStrings(dcm.SeriesInstanceUID, "UI", "a")
	}
	got := Choose(append(localizer, series("a", 30, head)...), Options{})
	if len(got.Ranked) != 1 || len(got.Ranked[0].Images) != 30 {
		t.Errorf("with its localizer: %+v", got)
	}
	// Two kernels under one series UID.
	bone := series("xx", 30, head, text(dcm.ConvolutionKernel, "BONE"), text(dcm.SeriesInstanceUID, "a"))
	got = Choose(append(series("a", 30, head, text(dcm.ConvolutionKernel, "SOFT")), bone...), Options{})
	if len(got.Ranked) != 2 || got.Ranked[0].Images[0] != 0 || len(got.Ranked[0].Images) != 30 {
		t.Errorf("with two kernels: %+v", got)
	}
	// The same instances sent twice.
	if got = Choose(append(series("a", 30, head), series("a", 30, head)...), Options{}); len(got.Ranked) != 1 || len(got.Ranked[0].Images) != 30 {
		t.Errorf("sent twice: %+v", got)
	}
	// Different instances at the same positions that nothing tells apart.
	other := series("xx", 30, head, text(dcm.SeriesInstanceUID, "a"))
	if got = Choose(append(series("a", 30, head), other...), Options{}); got.Refusal == nil || got.Refusal.Code != finding.DuplicatePosition {
		t.Errorf("two readings that cannot be told apart: %+v", got)
	}
}

func TestSparseTagsAreEnough(t *testing.T) {
	bare := series("a", 30, func(_ int, d *dcm.DataSet) { d.Delete(dcm.ImageType) }, text(dcm.InstanceNumber, "1"))
	got := Choose(bare, Options{})
	if len(got.Ranked) != 1 || got.Ranked[0].HeadNamed {
		t.Errorf("%+v", got)
	}
}

func TestKernels(t *testing.T) {
	for name, want := range map[string]kernel{
		"": unknownKernel, "XYZ": unknownKernel, "FC": unknownKernel, "STANDARD": softKernel, "SOFT": softKernel, "BONE": sharpKernel,
		"DETAIL": sharpKernel, "H31s": softKernel, "H70h": sharpKernel, "J40s": softKernel, "Hr38f": softKernel, "Hr68h": sharpKernel,
		"UB": softKernel, "YC": sharpKernel, "FC26": softKernel, "FC30": sharpKernel, "FC68": softKernel, "FC81": sharpKernel,
		"FC99999999999999999999": sharpKernel,
	} {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.ConvolutionKernel, "SH", name)
		if got := kernelOf(d); got != want {
			t.Errorf("%q is %v, want %v", name, got, want)
		}
	}
}

func TestShowsSkull(t *testing.T) {
	s := phantom.Synthetic(phantom.Shape{})
	head := &volume.Volume{Grid: s.Grid(), HU: s.HU}
	if !ShowsSkull(head) {
		t.Error("a head shows no skull")
	}
	for name, change := range map[string]func(int16) int16{
		"no bone":       func(hu int16) int16 { return min(hu, 60) },
		"air in a ring": func(hu int16) int16 { return map[bool]int16{true: hu, false: -1000}[hu > 250] },
		"fat in a ring": func(hu int16) int16 { return map[bool]int16{true: hu, false: -90}[hu > 250] },
	} {
		v := &volume.Volume{Grid: s.Grid()}
		for _, hu := range s.HU {
			v.HU = append(v.HU, change(hu))
		}
		if ShowsSkull(v) {
			t.Errorf("%s: shows a skull", name)
		}
	}
}
