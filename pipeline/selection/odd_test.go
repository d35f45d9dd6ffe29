package selection

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/scp/dcm"
)

// TestAgentWords: what forms and consoles write where no contrast agent was given, where it was, and where tags disagree.
func TestAgentWords(t *testing.T) {
	t.Parallel()
	for want, agents := range map[contrast][]string{
		plain: {"", "W/O", "W/O CONTRAST", "WITHOUT", "WITHOUT CONTRAST", "WITHOUT IV CONTRAST", "NON-CONTRAST", "NON CONTRAST", "NONCONTRAST", "NONCON", "NATIVE", "nativ", "UNENHANCED",
			"ohne KM", "ohne Kontrastmittel", "kein KM", "SANS", "sans injection", "sin contraste", "senza mdc", "zonder contrast", "sem contraste", "utan kontrast", "bez kontrastu",
			"NIL", "NONE", "none given", "0 ML", "0ml", "0.0 cc", "0", "-", "--", "?", "NO", "NO IV CONTRAST", "NO CONTRAST GIVEN", "NOT GIVEN", "N", "N/A", "NA", "C-", "IV-", "S/C",
			"Без контраста", "平扫", "単純", "aucun", "NEGATIVE"},
		enhanced: {"IOHEXOL", "OMNIPAQUE 350", "Iomeron 400", "IV", "YES", "100 ML", "ISOVUE NON-IONIC", "CONTRAST", "APPLIED", "Ultravist 370 80ml", "KM", "C+", "造影"},
		doubtful: {"OMNIPAQUE (NOT GIVEN)", "NO OMNIPAQUE", "ohne Imeron"},
	} {
		for _, agent := range agents {
			h := series("a", 1, text(dcm.ContrastBolusAgent, agent))[0]
			if got, why := contrastOf(h); got != want || (got == plain) != (why == "") {
				t.Errorf("agent %q: %v %q, want %v", agent, got, why, want)
			}
		}
	}
	type tags map[dcm.Tag]string
	for _, c := range []struct {
		tags tags
		want contrast
		why  string
	}{
		{tags{dcm.ContrastBolusAgent: "OMNIPAQUE", dcm.ContrastBolusVolume: "0"}, doubtful, "Volume 0"},
		{tags{dcm.ContrastBolusVolume: "0"}, plain, ""},
		{tags{dcm.ContrastBolusVolume: "80"}, doubtful, "Volume 80"},
		{tags{dcm.ContrastBolusAgent: "NONE", dcm.ContrastBolusVolume: "80"}, doubtful, "NONE"},
		{tags{dcm.ContrastBolusAgent: "OMNIPAQUE", dcm.StudyDescription: "CT HEAD W/O CONTRAST"}, doubtful, "Study Description"},
		{tags{dcm.ContrastBolusAgent: "OMNIPAQUE", dcm.StudyDescription: "CT HEAD W AND W/O CONTRAST"}, enhanced, "OMNIPAQUE"},
		{tags{dcm.StudyDescription: "CT HEAD WITH CONTRAST"}, doubtful, "Study Description"},
		{tags{dcm.StudyDescription: "CT HEAD WITH CONTRAST", dcm.SeriesDescription: "Head native 5.0"}, plain, ""},
		{tags{dcm.ContrastBolusAgent: "NONE", dcm.SeriesDescription: "Head contrast"}, doubtful, "NONE"},
		{tags{dcm.SeriesDescription: "Cráneo sin contraste"}, plain, ""},
		{tags{dcm.SeriesDescription: "Encefalo senza mdc"}, plain, ""},
		{tags{dcm.SeriesDescription: "Encefalo con mdc"}, enhanced, "Series Description"},
		{tags{dcm.SeriesDescription: "头颅平扫"}, plain, ""},
		{tags{dcm.SeriesDescription: "Crâne IV-"}, plain, ""},
		{tags{dcm.SeriesDescription: "Crâne SPC", dcm.ProtocolName: "Angio TSA"}, plain, ""},
	} {
		h := series("a", 1)[0]
		for t, v := range c.tags {
			h.SetStrings(t, "LO", v)
		}
		if got, why := contrastOf(h); got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%v: %v %q, want %v", c.tags, got, why, c.want)
		}
	}
}

// TestBoneWords: a description that names bone without meaning a reconstruction for it.
func TestBoneWords(t *testing.T) {
	t.Parallel()
	for description, want := range map[string]bool{"Head bone 1.0": true, "Crâne os": true, "Kopf Knochen": true, "Head brain bone": false, "Head no bone": false,
		"Head 5.0": false, "Kopf Hirn/Knochen": false, "Head without bones": false} {
		if got := boneWord(words(series("a", 1, text(dcm.SeriesDescription, description))[0], dcm.SeriesDescription)); (got != "") != want {
			t.Errorf("%q: %q", description, got)
		}
	}
}

// TestDummyDates: dates that tools write in place of real ones make no child of anybody.
func TestDummyDates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, birth, study, age string
		want                    float64
		ok                      bool
	}{
		{"birth on the day of the study", "20000101", "20000101", "", 0, false},
		{"birth at the beginning of a calendar", "19000101", "20200101", "", 0, false},
		{"birth at the beginning of another", "19010101", "20200101", "", 0, false},
		{"zeros", "00000000", "20200101", "", 0, false},
		{"zeros with slashes", "00/00/0000", "20200101", "", 0, false},
		{"study before birth", "19600101", "19000101", "", 0, false},
		{"age beside a dummy", "20000101", "20000101", "045Y", 45, true},
		{"newborn by age", "20000101", "20000101", "003D", 3 / 365.2425, true},
		{"dates with dots", "1960.01.01", "2020.01.01", "", 60, true},
		{"a child", "20120101", "20200101", "", 8, true},
	} {
		h := series("a", 1, text(dcm.PatientBirthDate, c.birth), text(dcm.StudyDate, c.study), text(dcm.PatientAge, c.age))[0]
		if got, from := ageYears(h); (from != "") != c.ok || math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: %v %v, want %v %v", c.name, got, from, c.want, c.ok)
		}
	}
	got := Choose(series("a", 30, text(dcm.BodyPartExamined, "HEAD"), text(dcm.PatientBirthDate, "20000101"), text(dcm.StudyDate, "20000101")), Options{MinAge: 18})
	if len(got.Ranked) != 1 || len(got.Ranked[0].Warnings) != 1 || !strings.Contains(got.Ranked[0].Warnings[0], "Patient's Age (0010,1010) is empty, Patient's Birth Date (0010,0030) gives no plausible age") {
		t.Errorf("%+v", got)
	}
	got = Choose(series("a", 30, text(dcm.BodyPartExamined, "HEAD")), Options{MinAge: 18})
	if len(got.Ranked) != 1 || len(got.Ranked[0].Warnings) != 1 || !strings.Contains(got.Ranked[0].Warnings[0], "Patient's Birth Date (0010,0030) is empty") {
		t.Errorf("%+v", got)
	}
}

// TestDerivedImages: what a console computed is read where it lies across the body, with a warning that says what it is.
func TestDerivedImages(t *testing.T) {
	t.Parallel()
	head := text(dcm.BodyPartExamined, "HEAD")
	for _, kind := range []string{"DERIVED\\SECONDARY\\OTHER", "DERIVED\\SECONDARY", "DERIVED\\PRIMARY\\AXIAL", "DERIVED\\PRIMARY", "ORIGINAL\\SECONDARY\\AXIAL",
		"DERIVED\\SECONDARY\\MPR", "DERIVED\\SECONDARY\\AXIAL\\CSA MPR", "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE", "DERIVED\\SECONDARY\\REFORMATTED"} {
		got := Choose(series("a", 30, head, text(dcm.ImageType, strings.Split(kind, `\`)...)), Options{})
		if len(got.Ranked) != 1 || !strings.Contains(strings.Join(got.Ranked[0].Warnings, ""), "derived (Image Type "+kind) {
			t.Errorf("%s: %+v", kind, got)
		}
		original := append(series("a", 30, head, text(dcm.ImageType, strings.Split(kind, `\`)...)), series("bb", 30, head)...)
		if got := Choose(original, Options{}); got.Candidates[got.Ranked[0].Candidate].SeriesInstanceUID != "bb" {
			t.Errorf("%s: chosen before the original", kind)
		}
	}
}

// TestIdentifiers: SOP Instance UIDs that are shared by series, or inside of one.
func TestIdentifiers(t *testing.T) {
	t.Parallel()
	head := text(dcm.BodyPartExamined, "HEAD")
	shared := series("a", 30, head, text(dcm.ConvolutionKernel, "BONE"))
	for k, h := range series("bb", 30, head, text(dcm.ConvolutionKernel, "STANDARD")) {
		h.SetStrings(dcm.SOPInstanceUID, "UI", shared[k].String(dcm.SOPInstanceUID))
		shared = append(shared, h)
	}
	if got := Choose(shared, Options{}); len(got.Ranked) != 1 || len(got.Ranked[0].Images) != 30 || len(got.Candidates) != 2 {
		t.Errorf("shared by two series: %+v", got)
	}
	one := series("a", 30, head, text(dcm.SOPInstanceUID, "1.2.3"))
	if got := Choose(one, Options{}); got.Refusal == nil || got.Refusal.Code != finding.DuplicatePosition || !strings.Contains(got.Refusal.Reason, "29 of 30 images") {
		t.Errorf("one for all: %+v", got)
	}
}

// TestStacksApart: what is in another stack of the series is said.
func TestStacksApart(t *testing.T) {
	t.Parallel()
	head, one := text(dcm.BodyPartExamined, "HEAD"), text(dcm.SeriesInstanceUID, "a")
	between := func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 0, 5*float64(k)+2) }
	tilt := func(k int, d *dcm.DataSet) {
		d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0.96593, 0.25882)
		d.SetDecimals(dcm.ImagePositionPatient, 0, 0, -10-5*float64(k))
	}
	for name, c := range map[string]struct {
		headers []*dcm.DataSet
		want    string
	}{
		"two orientations": {append(series("x", 30, head, one), series("xx", 12, head, one, tilt)...), "12 other slices of the series have another orientation"},
		"two frames of reference": {append(series("x", 30, head, one, text(dcm.FrameOfReferenceUID, "1.1")),
			series("xx", 30, head, one, text(dcm.FrameOfReferenceUID, "1.2"), between)...), "2 frames of reference"},
		"two scans": {append(series("x", 30, head, one, text(dcm.AcquisitionNumber, "1")),
			series("xx", 30, head, one, text(dcm.AcquisitionNumber, "2"), between)...), "2 scans of the same body region"},
		"one of another pixel size": {series("x", 30, head, func(k int, d *dcm.DataSet) {
			d.SetInts(dcm.InstanceNumber, "IS", int64(k+1))
			if k == 14 {
				d.SetDecimals(dcm.PixelSpacing, 0.7, 0.7)
			}
		}), "The image with Instance Number 15 has a Pixel Spacing (0028,0030) of 0.7 x 0.7 mm, the stack 0.5 x 0.5 mm. It is not in the result."},
		"one of another matrix": {series("x", 30, head, func(k int, d *dcm.DataSet) {
			if k == 14 {
				d.SetInts(dcm.Rows, "US", 256)
			}
		}), "has 256 rows and 512 columns (Rows (0028,0010), Columns (0028,0011)), the stack 512 and 512"},
		"one that is turned": {series("x", 30, head, func(k int, d *dcm.DataSet) {
			if k == 14 {
				d.SetDecimals(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0.96593, 0.25882)
			}
		}), "an Image Orientation (Patient) (0020,0037) turned by 15.0 degrees from that of the stack"},
		"coronal beside": {append(series("x", 30, head, one), series("xx", 30, head, one, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1),
			func(k int, d *dcm.DataSet) { d.SetDecimals(dcm.ImagePositionPatient, 0, 5*float64(k), 0) })...), ""},
	} {
		got := Choose(c.headers, Options{})
		if len(got.Ranked) == 0 || !slices.ContainsFunc(append(got.Ranked[0].Warnings, ""), func(w string) bool { return strings.Contains(w, c.want) }) ||
			c.want == "" && len(got.Ranked[0].Warnings) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestReasonsNameValues: a reason names what was found, and says of nothing that is there that it is missing.
func TestReasonsNameValues(t *testing.T) {
	t.Parallel()
	head := text(dcm.BodyPartExamined, "HEAD")
	odd := func(ks ...int) func(int, *dcm.DataSet) {
		return func(k int, d *dcm.DataSet) {
			d.SetInts(dcm.InstanceNumber, "IS", int64(k+1))
			if slices.Contains(ks, k) {
				d.SetDecimals(dcm.PixelSpacing, 0.7, 0.7)
			}
		}
	}
	for name, c := range map[string]struct {
		headers []*dcm.DataSet
		code    string
		want    []string
	}{
		"a child by age": {series("x", 30, head, text(dcm.PatientAge, "012Y")), finding.Child, []string{"12 years old (Patient's Age (0010,1010))", "18 years and older"}},
		"an infant":      {series("x", 30, head, text(dcm.PatientAge, "030W")), finding.Child, []string{"6 months old"}},
		"a newborn":      {series("x", 30, head, text(dcm.PatientAge, "003W")), finding.Child, []string{"21 days old"}},
		"age 0":          {series("x", 30, head, text(dcm.PatientAge, "000Y")), finding.Child, []string{"less than one year old"}},
		"one position":   {series("x", 30, head, numbers(dcm.ImagePositionPatient, 0, 0, 0)), finding.MissingPosition, []string{`All 30 images of the series have the same position (Image Position (Patient) (0020,0032) "0\\0\\0")`}},
		"positions within the plane": {series("x", 30, head, numbers(dcm.ImageOrientationPatient, 1, 0, 0, 0, 0, -1)), finding.MissingPosition,
			[]string{"The positions of the 30 images run within their plane", `Image Orientation (Patient) (0020,0037) "1\\0\\0\\0\\0\\-1"`}},
		"a child by date of birth": {series("x", 30, head, text(dcm.PatientBirthDate, "2010.05.01"), text(dcm.StudyDate, "20200601")), finding.Child,
			[]string{"10 years old (Patient's Birth Date (0010,0030) and the date of the study (0008,0020))"}},
		"slices of another size": {series("x", 30, head, odd(10, 11, 12, 13)), finding.Incomplete,
			[]string{"25.0 mm lie between images 10 and 15 (Image Position (Patient) (0020,0032))", "The image with Instance Number 11 has a Pixel Spacing (0028,0030) of 0.7 x 0.7 mm", "and 3 other images"}},
		"another class":    {series("x", 30, text(dcm.SOPClassUID, "1.2.840.10008.5.1.4.1.1.4")), finding.NoHeadCT, []string{"study holds no CT image series", "holds no CT images but MR Image (SOP Class UID (0008,0016))"}},
		"another modality": {series("x", 30, text(dcm.Modality, "MR")), finding.NoHeadCT, []string{`The objects are CT images, but Modality (0008,0060) is "MR"`}},
	} {
		got := Choose(c.headers, Options{MinAge: 18})
		if got.Refusal == nil || got.Refusal.Code != c.code {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(got.Refusal.Reason, want) || strings.Contains(got.Refusal.Reason, "missing") {
				t.Errorf("%s: %q, want %q", name, got.Refusal.Reason, want)
			}
		}
	}
}

// FuzzWords: no text of a form makes the judgement of a series panic, and a judgement that is not plain names what decided it.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "W/O CONTRAST", "ohne KM", "0 ML", "C+", "C-SPINE", "平扫", "OMNIPAQUE (NOT GIVEN)", "Hr38f\\3", "FC99", "H31s", "\xff\xfe", "S/ C", "--"} {
		f.Add(s, "OMNIPAQUE", "BONE", "065Y", "20000101")
		f.Add("NONE", s, s, s, s)
	}
	f.Fuzz(func(t *testing.T, agent, description, kernelName, age, day string) {
		h := series("a", 1)[0]
		h.SetStrings(dcm.ContrastBolusAgent, "LO", agent)
		h.SetStrings(dcm.SeriesDescription, "LO", description)
		h.SetStrings(dcm.StudyDescription, "LO", agent)
		h.SetStrings(dcm.BodyPartExamined, "CS", description)
		h.SetStrings(dcm.ConvolutionKernel, "SH", kernelName)
		h.SetStrings(dcm.PatientAge, "AS", age)
		h.SetStrings(dcm.PatientBirthDate, "DA", day)
		h.SetStrings(dcm.StudyDate, "DA", age)
		if c, why := contrastOf(h); (c == plain) != (why == "") {
			t.Errorf("%v because of %q", c, why)
		}
		kernelOf(h)
		if years, from := ageYears(h); from != "" && !(years >= 0 && years <= 130) {
			t.Errorf("%g years", years)
		}
		Choose([]*dcm.DataSet{h}, Options{MinSlices: 1})
	})
}
