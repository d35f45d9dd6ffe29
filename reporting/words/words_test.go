package words

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
)

func TestLesions(t *testing.T) {
	all := []finding.Lesion{
		{Subtype: finding.SAH, VolumeML: 0.02, Slices: [2]int{7, 7}, MaxDiameterMM: 3.4},
		{Subtype: finding.IPH, VolumeML: 20.55, Slices: [2]int{2, 8}, MaxDiameterMM: 40.4, WidthMM: 29.6, ABC2ML: 19.7, Images: [2]int{30, 36}, Position: "left frontal\n"},
		{Subtype: finding.SDH, VolumeML: 5, Slices: [2]int{0, 1}},
		{Subtype: finding.EDH, VolumeML: 1.5},
	}
	first := all[0]
	for most, want := range map[int][]string{
		9: {"IPH 21 mL, left frontal (approximate), 40 x 30 mm, ABC/2 20 mL, images 30 to 36 of series 4.", "SDH 5.0 mL, slices 1 to 2 counted from the feet.",
			"EDH 1.5 mL, slice 1 counted from the feet.", "SAH <0.1 mL, 3 mm across, slice 8 counted from the feet."},
		2: {"IPH 21 mL, left frontal (approximate), 40 x 30 mm, ABC/2 20 mL, images 30 to 36 of series 4.", "SDH 5.0 mL, slices 1 to 2 counted from the feet.",
			"Smaller lesions that are not described: 2, together 1.5 mL."},
	} {
		if got := Lesions(all, 4, most); !slices.Equal(got, want) {
			t.Errorf("at most %d: %q\nwant %q", most, got, want)
		}
	}
	if !reflect.DeepEqual(all[0], first) {
		t.Error("the lesions of the finding were sorted in place")
	}
	if got := Lesions(nil, 4, 3); got != nil {
		t.Errorf("of no lesion %q", got)
	}
}

func TestBounds(t *testing.T) {
	r := finding.Range{Low: finding.Volumes{Total: 3, IPH: 3}, High: finding.Volumes{Total: 6.04, IPH: 6.04}}
	if got, want := Bounds(r), "The total may lie between 3.0 and 6.0 mL, from the threshold and partial volume. This is not a confidence interval."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.High.SAH, r.High.SDH = 0.3, 0.04 // of which the latter is nothing
	if got, want := Bounds(r), "The total may lie between 3.0 and 6.0 mL, from the threshold and partial volume (IPH 3.0 to 6.0, SAH 0.0 to 0.3). This is not a confidence interval."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChange(t *testing.T) {
	for _, c := range []struct {
		prior finding.Prior
		want  string
	}{
		{finding.Prior{Hours: 6.5, Volumes: finding.Volumes{Total: 20}, ChangeML: 6, ChangePercent: 30}, "Prior study 6.5 hours earlier: total 20 mL; change +6.0 mL (+30 %)."},
		{finding.Prior{Hours: 72, Volumes: finding.Volumes{Total: 20}, ChangeML: -20, ChangePercent: -100, Caution: "Other networks."},
			"Prior study 3 days earlier: total 20 mL; change -20 mL (-100 %). Other networks."},
		{finding.Prior{Hours: 0.51, Volumes: finding.Volumes{Total: 0.2}, ChangeML: 0.6, ChangePercent: 300}, "Prior study 31 minutes earlier: total 0.2 mL; change +0.6 mL."},
		{finding.Prior{Hours: 47.9, ChangeML: 2}, "Prior study 47.9 hours earlier: total 0.0 mL; change +2.0 mL."},
		{finding.Prior{Hours: 1, Volumes: finding.Volumes{Total: 20}, ChangeML: -0.01, ChangePercent: -0.05}, "Prior study 1.0 hours earlier: total 20 mL; change +0.0 mL (+0 %)."},
	} {
		if got := Change(c.prior); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Volumes have as many digits as are known.
func TestMilliliters(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0", 0.04: "<0.1", 0.05: "0.1", 9.94: "9.9", 9.96: "10", 24.469: "24", 1522.3: "1522"} {
		if got := Milliliters(v); got != want {
			t.Errorf("%g mL: %q, want %q", v, got, want)
		}
	}
}

// The limits name the smallest volume that is reported, where there is one.
func TestLimits(t *testing.T) {
	if got := Limits(finding.Finding{LeastLesionML: 1}); !strings.HasPrefix(got, "Not reported or often missed: bleeds below 1 mL, thin layers") {
		t.Error(got)
	}
	if got := Limits(finding.Finding{}); !strings.HasPrefix(got, "Not reported or often missed: thin layers") {
		t.Error(got)
	}
}

// What the patient's report says of a refusal has no advice for the operator.
func TestNotAnalyzed(t *testing.T) {
	for want, f := range map[string]finding.Finding{"Coronal slices.": {Seen: "Coronal slices.", Reason: "Coronal slices. Send axial ones."},
		"As before.": {Reason: "As before."}, "No reason is known.": {}} {
		if got := NotAnalyzed(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLesioned(t *testing.T) {
	for _, c := range []struct {
		n    int
		ml   float64
		want string
	}{{0, 0, "0"}, {0, 0.03, "–"}, {3, 12, "3"}} {
		if got := Lesioned(c.n, c.ml); got != c.want {
			t.Errorf("%d lesions of %g mL: %q, want %q", c.n, c.ml, got, c.want)
		}
	}
}

// A head without hemorrhage at the threshold that was set says what a lower one would mark, unless that is next to nothing.
func TestDoubt(t *testing.T) {
	for high, want := range map[float64]string{0: "", 0.9: "", 3.24: "A lower threshold would mark 3.2 mL in this head."} {
		if got := Doubt(finding.Range{High: finding.Volumes{Total: high}}); got != want {
			t.Errorf("%g mL: %q, want %q", high, got, want)
		}
	}
}
