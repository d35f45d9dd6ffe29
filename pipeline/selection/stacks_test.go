package selection

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// TestStacks gives several readings of a head under one series UID; want are the sizes of the stacks, first those that
// can be read, best first.
func TestStacks(t *testing.T) {
	head := text(dcm.BodyPartExamined, "HEAD")
	one := text(dcm.SeriesInstanceUID, "a")
	between := func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 5*float64(k)+2) }
	join := func(parts ...[]*dcm.DataSet) []*dcm.DataSet { return slices.Concat(parts...) }
	at := func(minute int) func(int, *dcm.DataSet) {
		return func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.AcquisitionDate, "DA", "20260101")
			d.SetStrings(dcm.AcquisitionTime, "TM", fmt.Sprintf("10%02d%02d", minute, k))
		}
	}
	coronal := func(k int, d *dcm.DataSet) {
		d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1)
		d.SetDecimals(dcm.ImagePositionPatient, 0, 5*float64(k), 0)
	}
	for _, c := range []struct {
		name    string
		headers []*dcm.DataSet
		read    []int
		refused []string
	}{
		{"two kernels", join(series("x", 30, head, one, text(dcm.ConvolutionKernel, "BONE")), series("xx", 31, head, one, text(dcm.ConvolutionKernel, "SOFT"))),
			[]int{31}, []string{finding.BoneKernelOnly}},
		{"two acquisitions", join(series("x", 30, head, one, text(dcm.AcquisitionNumber, "1")), series("xx", 33, head, one, text(dcm.AcquisitionNumber, "2"))),
			[]int{33, 30}, nil},
		{"a rescan of some", join(series("x", 30, head, one, text(dcm.AcquisitionNumber, "1")), series("xx", 6, head, one, text(dcm.AcquisitionNumber, "2"))),
			[]int{30}, []string{finding.TooFewSlices}},
		{"two points in time", join(series("x", 30, head, one, text(dcm.TemporalPositionIdentifier, "1")),
			series("xx", 30, head, one, text(dcm.TemporalPositionIdentifier, "2"))), []int{30, 30}, nil},
		{"told by the time alone", join(series("x", 32, head, one, at(1)), series("xx", 30, head, one, at(5))), []int{32, 30}, nil},
		{"each turn an acquisition, two kernels", join(
			series("x", 30, head, one, text(dcm.ConvolutionKernel, "SOFT"), func(k int, d *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", fmt.Sprint(k)) }),
			series("xx", 30, head, one, text(dcm.ConvolutionKernel, "BONE"), func(k int, d *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", fmt.Sprint(k)) })),
			[]int{30}, []string{finding.BoneKernelOnly}},
		{"each turn an acquisition", series("x", 30, head, func(k int, d *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", fmt.Sprint(k)) }), []int{30}, nil},
		{"with and without agent", join(series("x", 30, head, one), series("xx", 32, head, one, text(dcm.ContrastBolusAgent, "IOHEXOL"))),
			[]int{30}, []string{finding.Contrast}},
		{"thick and thin between each other", join(series("x", 30, head, one, numbers(dcm.SliceThickness, 5)),
			series("xx", 150, head, one, numbers(dcm.SliceThickness, 1), func(k int, d *dcm.DataSet) {
				d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 0.3+float64(k))
			})), []int{30, 150}, nil},
		{"thin through the base, thick above", join(series("x", 20, head, one, apart(2.5), numbers(dcm.SliceThickness, 2.5)),
			series("xx", 20, head, one, numbers(dcm.SliceThickness, 5), func(k int, d *dcm.DataSet) {
				d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 50+5*float64(k))
			})), []int{40}, nil},
		{"original and derived", join(series("x", 150, head, one, apart(1)), series("xx", 30, head, one, text(dcm.ImageType, "DERIVED", "PRIMARY", "AXIAL"))),
			[]int{150, 30}, nil},
		{"axial and coronal", join(series("x", 30, head, one), series("xx", 40, head, one, coronal)), []int{30}, []string{finding.NotAxial}},
		{"two matrices", join(series("x", 30, head, one), series("xx", 32, head, one, func(_ int, d *dcm.DataSet) {
			d.SetInts(dcm.Rows, "US", 768)
			d.SetInts(dcm.Columns, "US", 768)
			d.SetDecimals(dcm.PixelSpacing, 0.33, 0.33)
		})), []int{32, 30}, nil},
		{"localizer, dose page and secondary capture", join(
			series("x", 2, one, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "LOCALIZER"), coronal),
			series("xx", 1, one, text(dcm.ImageType, "DERIVED", "SECONDARY", "SCREEN SAVE")),
			series("xxx", 1, one, text(dcm.SOPClassUID, dcm.SecondaryCaptureImageStorage)), series("xxxx", 30, head, one)), []int{30}, nil},
		{"pages filed as CT images", join(
			series("x", 1, one, func(_ int, d *dcm.DataSet) { d.SetInts(dcm.SamplesPerPixel, "US", 3) }),
			series("xx", 1, one, func(_ int, d *dcm.DataSet) {
				d.Delete(dcm.ImagePositionPatient)
				d.SetInts(dcm.Rows, "US", 600)
			}), series("xxx", 30, head, one)), []int{30}, nil},
		{"two voltages", join(series("x", 30, head, one, numbers(dcm.KVP, 80)), series("xx", 31, head, one, numbers(dcm.KVP, 140))), []int{31, 30}, nil},
		{"two blocks that share a place", join(series("x", 15, head, one, text(dcm.AcquisitionNumber, "1")),
			series("xx", 16, head, one, text(dcm.AcquisitionNumber, "2"), func(k int, d *dcm.DataSet) {
				d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 5*float64(k+14))
			})), []int{30}, nil},
		{"two readings of a turn each", join(
			series("x", 6, head, one, apart(20), func(k int, d *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", fmt.Sprint(k)) }),
			series("xx", 6, head, one, apart(20), func(k int, d *dcm.DataSet) { d.SetStrings(dcm.AcquisitionNumber, "IS", fmt.Sprint(k+6)) })),
			nil, []string{finding.TooFewSlices}},
		{"two readings that nothing tells apart", join(series("x", 30, head, one), series("xx", 30, head, one)), []int{60}, nil},
		{"two frames of reference", join(series("x", 30, head, one, text(dcm.FrameOfReferenceUID, "1.1")),
			series("xx", 31, head, one, text(dcm.FrameOfReferenceUID, "1.2"), between)), []int{31, 30}, nil},
		{"two scans between each other", join(series("x", 30, head, one, text(dcm.AcquisitionNumber, "1")), series("xx", 31, head, one, text(dcm.AcquisitionNumber, "2"), between)),
			[]int{31, 30}, nil},
		{"a frame of reference for each image", join(series("x", 30, head, one, func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.FrameOfReferenceUID, "UI", fmt.Sprintf("1.%d", k))
		})), []int{30}, nil},
		{"a slice that does not say where it lies", join(series("x", 30, head, one), series("xx", 1, head, one, func(_ int, d *dcm.DataSet) {
			d.Delete(dcm.ImagePositionPatient)
		})), nil, []string{finding.MissingPosition}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Choose(c.headers, Options{})
			var read []int
			for _, s := range got.Ranked {
				read = append(read, len(s.Images))
			}
			var refused []string
			for _, s := range got.Candidates {
				if s.Code != "" {
					refused = append(refused, s.Code)
				}
			}
			if !slices.Equal(read, c.read) || !slices.Equal(refused, c.refused) {
				t.Errorf("read %v, refused %v; want %v and %v\n%+v", read, refused, c.read, c.refused, got.Candidates)
			}
		})
	}
}

// The thickest slices of a stack tell whether anything lies between slices.
func TestGapsBetweenSlices(t *testing.T) {
	base := func(k int, d *dcm.DataSet) {
		z, mm := float64(k), 1.0
		if k > 12 {
			z, mm = 13+5*float64(k-12), 5
		}
		d.SetDecimals(dcm.ImagePositionPatient, 0, 0, z)
		d.SetDecimals(dcm.SliceThickness, mm)
	}
	for name, c := range map[string]struct {
		edit     func(int, *dcm.DataSet)
		warnings int
	}{"thin below, thick above": {base, 1}, "thinner than apart": {numbers(dcm.SliceThickness, 2.5), 1}, "one against the other": {numbers(dcm.SliceThickness, 5), 0}} {
		got := Choose(series("a", 40, c.edit), Options{})
		if len(got.Ranked) != 1 || len(got.Ranked[0].Warnings) != c.warnings || strings.Contains(strings.Join(got.Ranked[0].Warnings, ""), "was not scanned") != (name == "thinner than apart") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A stack says what it was taken from.
func TestStacksExplain(t *testing.T) {
	one := text(dcm.SeriesInstanceUID, "a")
	got := Choose(slices.Concat(series("x", 2, one, text(dcm.ImageType, "ORIGINAL", "PRIMARY", "LOCALIZER")),
		series("xx", 30, one), series("xxx", 30, one, text(dcm.ConvolutionKernel, "BONE"))), Options{})
	for _, want := range []string{"One of 2 stacks of slices in the series.", "2 other images of the series are not used: localizer images."} {
		if len(got.Candidates) != 2 || !slices.Contains(got.Candidates[0].Reasons, want) {
			t.Errorf("no %q in %+v", want, got.Candidates)
		}
	}
}

func TestAge(t *testing.T) {
	for _, c := range []struct {
		age, born, study string
		years            float64
		ok               bool
	}{
		{"060Y", "", "", 60, true},
		{"018M", "", "", 1.5, true},
		{"026W", "", "", 0.5, true},
		{"000D", "", "", 0, true},
		{"", "20000101", "20260101", 26, true},
		{"017Y", "19000101", "20260101", 17, true}, // a birth date that was blotted out
		{"000Y", "19600101", "20200101", 60, true}, // an age that was
		{"000Y", "", "", 0, true},
		{"", "", "20260101", 0, false},
		{"", "18000101", "20260101", 0, false},
		{"", "20270101", "20260101", 0, false},
		{"999Y", "", "", 0, false},
		{"60", "", "", 0, false},
		{"abcY", "not a day", "20260101", 0, false},
	} {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.PatientAge, "AS", c.age)
		d.SetStrings(dcm.PatientBirthDate, "DA", c.born)
		d.SetStrings(dcm.StudyDate, "DA", c.study)
		if years, from := ageYears(d); (from != "") != c.ok || c.ok && (years < c.years-0.01 || years > c.years+0.01) {
			t.Errorf("%+v: %v %v", c, years, from)
		}
	}
}

func TestAgeOfSeries(t *testing.T) {
	for _, c := range []struct {
		age      string
		min      int
		code     string
		warnings int
	}{{"018Y", 18, "", 0}, {"017Y", 18, finding.Child, 0}, {"017Y", 0, "", 0}, {"", 18, "", 1}, {"", 0, "", 0}} {
		got := Choose(series("a", 30, text(dcm.PatientAge, c.age)), Options{MinAge: c.min})
		code := ""
		if got.Refusal != nil {
			code = got.Refusal.Code
		}
		if code != c.code || code == "" && len(got.Ranked[0].Warnings) != c.warnings {
			t.Errorf("%+v: %q %+v", c, code, got.Ranked)
		}
	}
}

// TestAgeOfTwo: an age that does not belong to the birth date is said.
func TestAgeOfTwo(t *testing.T) {
	for born, want := range map[string]bool{"20210101": true, "19800101": false, "": false, "20260101": false} {
		got := Choose(series("a", 30, text(dcm.PatientAge, "045Y"), text(dcm.PatientBirthDate, born), text(dcm.StudyDate, "20260101")), Options{MinAge: 18})
		if len(got.Ranked) != 1 {
			t.Fatalf("born %q: %+v", born, got)
		}
		if said := slices.ContainsFunc(got.Ranked[0].Warnings, func(w string) bool { return strings.Contains(w, "is 45 years, but by Patient's Birth Date") }); said != want {
			t.Errorf("born %q: %q", born, got.Ranked[0].Warnings)
		}
	}
}

// TestSizeOfImages: pixels of a size that makes no head are refused with that size, and coarse ones are said.
func TestSizeOfImages(t *testing.T) {
	for mm, want := range map[float64]string{0.05: "26 x 26 mm large", 4.7: "2406 x 2406 mm large"} {
		got := Choose(series("a", 30, numbers(dcm.PixelSpacing, mm, mm)), Options{})
		if got.Refusal == nil || got.Refusal.Code != finding.MissingPosition || !strings.Contains(got.Refusal.Reason, want) || !strings.Contains(got.Refusal.Reason, "Pixel Spacing (0028,0030)") {
			t.Errorf("%g mm: %+v", mm, got.Refusal)
		}
	}
	for mm, want := range map[float64]bool{0.3: false, 1: false, 2: true} {
		got := Choose(series("a", 30, text(dcm.PatientAge, "045Y"), numbers(dcm.PixelSpacing, mm, mm)), Options{})
		if len(got.Ranked) != 1 || strings.Contains(strings.Join(got.Ranked[0].Warnings, " "), "are coarse: thin and small bleeds") != want {
			t.Errorf("%g mm: %+v", mm, got)
		}
	}
}

// TestScansOfOnePlace: of two scans of the same positions in one series, one is analysed, and the result says so.
func TestScansOfOnePlace(t *testing.T) {
	one := text(dcm.SeriesInstanceUID, "a")
	for name, tell := range map[string]func(v string) func(int, *dcm.DataSet){
		"acquisition":   func(v string) func(int, *dcm.DataSet) { return text(dcm.AcquisitionNumber, v) },
		"point in time": func(v string) func(int, *dcm.DataSet) { return text(dcm.TemporalPositionIdentifier, v) },
		"time":          func(v string) func(int, *dcm.DataSet) { return text(dcm.AcquisitionTime, "1"+v+"0000") },
	} {
		got := Choose(slices.Concat(series("x", 30, one, tell("1")), series("xx", 30, one, tell("2"))), Options{})
		if len(got.Ranked) != 2 || !strings.Contains(strings.Join(got.Ranked[0].Warnings, " "), "2 scans of the same positions; one was analysed") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestContrast(t *testing.T) {
	for _, c := range []struct {
		agent, series, protocol string
		want                    contrast
	}{
		{"", "", "", plain}, {"NONE", "Head", "", plain}, {"IOHEXOL", "", "", enhanced},
		{"IOHEXOL", "Head without contrast", "", doubtful}, {"", "CT HEAD W/O CONTRAST", "", plain}, {"", "Head NON-CON", "", plain},
		{"", "Schädel ohne KM", "", plain}, {"", "Schädel KM", "", enhanced}, {"", "Head post contrast", "", enhanced},
		{"", "Head 5.0", "Head w and w/o contrast", doubtful}, {"", "Head 5.0", "Stroke CTA", doubtful}, {"", "Head native", "Stroke CTA", plain},
		{"", "CTA COW 0.6", "", angiography}, {"", "Pre CTA head", "", plain}, {"", "CTP 4D", "", perfusion}, {"", "Native perfusion", "", perfusion},
	} {
		d := &dcm.DataSet{}
		d.SetStrings(dcm.ContrastBolusAgent, "LO", c.agent)
		d.SetStrings(dcm.SeriesDescription, "LO", c.series)
		d.SetStrings(dcm.ProtocolName, "LO", c.protocol)
		if got, why := contrastOf(d); got != c.want || (got == plain) != (why == "") {
			t.Errorf("%+v: %v %q", c, got, why)
		}
	}
	d := series("a", 1, text(dcm.ContrastBolusAgent, "BARIUM"), text(dcm.ContrastBolusRoute, "ORAL"))[0]
	if got, _ := contrastOf(d); got != plain {
		t.Errorf("drunk: %v", got)
	}
}
