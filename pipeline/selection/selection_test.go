package selection

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"ichor/pipeline/finding"
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
		{"derived, and not axial", series("a", 40, head, text(dcm.ImageType, "DERIVED", "PRIMARY"), numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1)), finding.NotOriginal},
		{"rendering", series("a", 40, head, text(dcm.ImageType, "DERIVED", "SECONDARY", "AXIAL", "VRT")), finding.NotHounsfield},
		{"dose page", series("a", 2, head, text(dcm.ImageType, "DERIVED", "SECONDARY", "SCREEN SAVE")), finding.NotOriginal},
		{"perfusion map", series("a", 40, head, text(dcm.ImageType, "DERIVED", "PRIMARY", "AXIAL", "CBF")), finding.NotHounsfield},
		{"maximum of slices", series("a", 40, head, text(dcm.SeriesDescription, "Head MIP 10 mm")), finding.NotHounsfield},
		{"iodine map", series("a", 40, head, text(dcm.SeriesDescription, "Iodine Head 5.0")), finding.NotHounsfield},
		{"virtual non-contrast", series("a", 40, head, text(dcm.SeriesDescription, "Head VNC 5.0")), finding.NotHounsfield},
		{"virtual non-contrast in words", series("a", 40, head, text(dcm.SeriesDescription, "Virtual Non-Contrast head")), finding.NotHounsfield},
		{"40 keV", series("a", 40, head, text(dcm.SeriesDescription, "Head Mono 40 keV")), finding.NotHounsfield},
		{"perfusion", series("a", 40, head, text(dcm.SeriesDescription, "Head CTP 5.0")), finding.Contrast},
		{"angiography", series("a", 300, head, apart(0.6), text(dcm.SeriesDescription, "CTA Head 0.6")), finding.Contrast},
		{"agent named", series("a", 30, head, text(dcm.ContrastBolusAgent, "OMNIPAQUE 350")), finding.Contrast},
		{"agent described", series("a", 30, head, text(dcm.SeriesDescription, "Kopf mit KM 5.0")), finding.Contrast},
		{"agent coded", series("a", 30, head, func(_ int, d *dcm.DataSet) { d.SetSequence(dcm.ContrastBolusAgentSequence, &dcm.DataSet{}) }), finding.Contrast},
		{"agent in the upper half", series("a", 30, head, func(k int, d *dcm.DataSet) {
			if k > 15 {
				d.SetStrings(dcm.ContrastBolusAgent, "LO", "X")
			}
		}), finding.Contrast},
		{"bone in the upper half", series("a", 30, head, func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.ConvolutionKernel, "SH", map[bool]string{true: "BONE", false: "STANDARD"}[k > 15])
		}), finding.BoneKernelOnly},
		{"bone", series("a", 30, head, text(dcm.ConvolutionKernel, "H70h")), finding.BoneKernelOnly},
		{"bone by name", series("a", 30, head, text(dcm.SeriesDescription, "Head bone 1.0")), finding.BoneKernelOnly},
		{"bone, and soft with agent", append(series("a", 30, head, text(dcm.ConvolutionKernel, "BONE")),
			series("bb", 30, head, text(dcm.ContrastBolusAgent, "X"))...), finding.BoneKernelOnly},
		{"child", series("a", 30, head, text(dcm.PatientAge, "009Y")), finding.Child},
		{"chest of a child", series("a", 30, text(dcm.BodyPartExamined, "CHEST"), text(dcm.PatientAge, "009Y")), finding.NoHeadCT},
		{"derived with loss, reformatted", series("a", 40, head, text(dcm.LossyImageCompression, "01"), text(dcm.ImageType, "DERIVED", "PRIMARY", "CORONAL")), finding.NotOriginal},
		{"secondary, without a place", series("a", 40, head, text(dcm.ImageType, "ORIGINAL", "SECONDARY"), func(_ int, d *dcm.DataSet) { d.Delete(dcm.ImagePositionPatient) }), finding.NotOriginal},
		{"reformatted, sagittal", series("a", 40, head, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "MPR"), numbers(dcm.ImageOrientationPatient, 0, 1, 0, 0, 0, -1)), finding.NotOriginal},
		{"chest", series("a", 60, text(dcm.BodyPartExamined, "CHEST")), finding.NoHeadCT},
		{"neck in a head study", series("a", 60, text(dcm.StudyDescription, "HEAD AND C-SPINE"), text(dcm.SeriesDescription, "C-Spine 2.0")), finding.NoHeadCT},
		{"one slice", series("a", 1, head), finding.TooFewSlices},
		{"nine slices", series("a", 9, head, apart(10)), finding.TooFewSlices},
		{"short stretch", series("a", 30, head, apart(2)), finding.TooFewSlices},
		{"coronal", series("a", 40, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1),
			func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 5*float64(k), 0) }), finding.NotAxial},
		{"coronal, averaged", series("a", 40, head, text(dcm.ImageType, "DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"), numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1),
			func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 5*float64(k), 0) }), finding.NotAxial},
		{"largest of slices", series("a", 40, head, text(dcm.ImageType, "DERIVED", "SECONDARY", "REFORMATTED", "MIP")), finding.NotHounsfield},
		{"tilted by 40 degrees", series("a", 40, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0.766044443, 0.642787610)), finding.NotAxial},
		{"an orientation that its places deny", append(series("a", 20, head), series("bb", 21, head, text(dcm.SeriesInstanceUID, "a"),
			numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1))...), finding.MixedOrientation},
		{"a different orientation each", series("a", 40, head, func(k int, d *dcm.DataSet) {
			sin, cos := math.Sincos(float64(k) / 20)
			d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, cos, sin)
		}), finding.MixedOrientation},
		{"over and over", func() (all []*dcm.DataSet) {
			for k := range 20 {
				all = append(all, series(strings.Repeat("x", k+1), 16, head, text(dcm.SeriesInstanceUID, "a"), text(dcm.TemporalPositionIdentifier, fmt.Sprint(k)))...)
			}
			return all
		}(), finding.Contrast},
		{"missing position", series("a", 30, head, func(k int, d *dcm.DataSet) {
			if k == 7 {
				d.Delete(dcm.ImagePositionPatient)
			}
		}), finding.MissingPosition},
		{"a hole in the stack", append(series("a", 15, head), series("a", 15, head, func(k int, d *dcm.DataSet) {
			d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 100+5*float64(k))
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("1.9.%d", k))
		})...), finding.Incomplete},
		{"head to pelvis", series("a", 160, head), finding.TooLong},
		{"agent by a sign", series("a", 30, head, text(dcm.SeriesDescription, "Head C+ 5mm")), finding.Contrast},
		{"vessels", series("a", 300, head, apart(0.6), text(dcm.SeriesDescription, "Head arteries 0.6")), finding.Contrast},
		{"modality of something else", series("a", 30, head, text(dcm.Modality, "PT")), finding.NoHeadCT},
		{"too large", series("a", 900, head, apart(0.5)), finding.TooLarge},
		{"best of several", append(series("a", 60, text(dcm.BodyPartExamined, "CHEST")), append(series("bb", 1, head),
			series("ccc", 5, text(dcm.SOPClassUID, dcm.MRImageStorage))...)...), finding.TooFewSlices},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Choose(c.headers, Options{MinAge: 18})
			if got.Refusal == nil || got.Refusal.Code != c.code || len(got.Ranked) != 0 {
				t.Fatalf("%+v, %d series to read; want code %s", got.Refusal, len(got.Ranked), c.code)
			}
			if !strings.HasSuffix(got.Refusal.Reason, ".") || strings.Contains(got.Refusal.Reason, "1.2.") {
				t.Errorf("reason is no sentence, or names an instance: %q", got.Refusal.Reason)
			}
			advice := func(s string) bool {
				s = strings.ToLower(s)
				return strings.Contains(s, "send ") || strings.Contains(s, "without ichor") || strings.Contains(s, "analysis.")
			}
			if !advice(got.Refusal.Remedy) || !strings.HasSuffix(got.Refusal.Remedy, ".") {
				t.Errorf("remedy does not say what to do: %q", got.Refusal.Remedy)
			}
			if advice(got.Refusal.Reason) {
				t.Errorf("advice for the operator in what was seen: %q", got.Refusal.Reason)
			}
			for _, s := range got.Candidates {
				if s.Score != 0 || len(s.Reasons) == 0 || s.Code == "" {
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
		{"native before protocol of angiography", series("b", 30, head, text(dcm.ProtocolName, "CTA head"), text(dcm.SeriesDescription, "Head native")),
			series("w", 30, head, text(dcm.ProtocolName, "CTA head"))},
		{"native before doubt", series("b", 30, head), series("w", 30, head, text(dcm.ContrastBolusAgent, "IOHEXOL"), text(dcm.SeriesDescription, "Head w/o contrast"))},
		{"original before derived", series("b", 200, head, apart(0.8)), series("w", 30, text(dcm.SeriesDescription, "Head"), text(dcm.ImageType, "DERIVED", "PRIMARY", "AXIAL"))},
		{"original before averaged", series("b", 200, head, apart(0.8)), series("w", 30, text(dcm.SeriesDescription, "Head"),
			text(dcm.ImageType, "DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"))},
		{"one voltage before 70 keV", series("b", 30, head), series("w", 30, head, text(dcm.SeriesDescription, "Head 70 keV"))},
		{"plain before perhaps", series("b", 30, head), series("w", 30, head, text(dcm.SeriesDescription, "Ax Head Post 5.0"))},
		{"120 kV before 80 kV", series("b", 30, head, numbers(dcm.KVP, 120)), series("w", 30, head, numbers(dcm.KVP, 80))},
		{"as acquired before reformatted", series("b", 30, head, text(dcm.SeriesDescription, "Head 5.0")), series("w", 30, head, text(dcm.SeriesDescription, "Head MPR 5.0"))},
		{"all there", series("b", 30, head), series("w", 30, head, text(dcm.NumberOfSeriesRelatedInstances, "34"))},
		{"without gaps", series("b", 30, head, numbers(dcm.SliceThickness, 5)), series("w", 30, head, numbers(dcm.SliceThickness, 2.5))},
		{"the later of two", series("b", 30, head, text(dcm.AcquisitionDateTime, "20260101120000")), series("w", 30, head, text(dcm.AcquisitionDateTime, "20260101110000"))},
		{"the same in whatever order", series("b", 30, head), series("w", 30, head)},
		{"soft before medium", series("b", 30, head, kernel("H31s")), series("w", 30, head, kernel("DETAIL"))},
		{"5 mm before 10 mm", series("b", 30, head), series("w", 16, head, apart(10))},
		{"the longer", series("b", 33, head), series("w", 30, head)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, order := range [][][]*dcm.DataSet{{c.better, c.worse}, {c.worse, c.better}} {
				got := Choose(append(append([]*dcm.DataSet{}, order[0]...), order[1]...), Options{Contrast: true, BoneKernel: true})
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
	// The same instances sent twice.
	if got = Choose(append(series("a", 30, head), series("a", 30, head)...), Options{}); len(got.Ranked) != 1 || len(got.Ranked[0].Images) != 30 {
		t.Errorf("sent twice: %+v", got)
	}
	// Different instances at the same positions that nothing tells apart: whether they are copies, their pixels tell.
	other := series("xx", 30, head, text(dcm.SeriesInstanceUID, "a"))
	if got = Choose(append(series("a", 30, head), other...), Options{}); len(got.Ranked) != 1 || !strings.Contains(strings.Join(got.Ranked[0].Warnings, ""), "copies") {
		t.Errorf("copies: %+v", got)
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
		"DETAIL": mediumKernel, "H50s": mediumKernel, "D": mediumKernel, "H31s": softKernel, "H70h": sharpKernel, "J40s": softKernel, "Hr38f": softKernel, "Hr68h": sharpKernel,
		"UB": softKernel, "YC": sharpKernel, "FC26": softKernel, "FC30": sharpKernel, "FC68": softKernel, "FC81": sharpKernel,
		"FC99999999999999999999": sharpKernel, "Brain Standard": softKernel, "H_SHARP_C": sharpKernel, "Hr38f\\3": softKernel,
	} {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.ConvolutionKernel, "SH", name)
		if got := kernelOf(d); got != want {
			t.Errorf("%q is %v, want %v", name, got, want)
		}
	}
}
