package sc

import (
	"context"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/reporting/iod"
	"ichor/reporting/words"
	"ichor/scp/dcm"
)

// wordy is a finding with more to say than there ever is.
func wordy(t *testing.T) *iod.Report {
	t.Helper()
	c := box(t, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 32, 32, 12, map[finding.Subtype]volume.Vec{finding.SAH: {0, 0, 5}, finding.IPH: {20, 20, 10}})
	f := &c.Finding
	f.Range = &finding.Range{}
	for k := finding.None; k <= finding.EDH; k++ {
		f.Volumes.Set(k, 111.1)
		f.Range.Low.Set(k, 100.1)
		f.Range.High.Set(k, 122.2)
	}
	for i := range 9 {
		f.Lesions = append(f.Lesions, finding.Lesion{Subtype: finding.SAH, VolumeML: 100 + float64(i), Slices: [2]int{100, 288}, MaxDiameterMM: 111, WidthMM: 111,
			ABC2ML: 222.2, Position: "both sides, frontal, temporal, parietal and occipital, basal ganglia or thalamus, supratentorial"})
	}
	f.Prior = &finding.Prior{Hours: 46.5, Volumes: finding.Volumes{Total: 100}, ChangeML: 11.1, ChangePercent: 11.1,
		Caution: "The earlier study was read by other networks (ichor-synthetic 0.3.0). Its slices are 5.0 mm apart, these 2.5 mm. The time of day is not known of both."}
	return c
}

// The page says the range, the largest lesions, how many more there are, and the change, in lines that fit, below the
// key slices, above the disclaimer and beside the column of text.
func TestMeasureLines(t *testing.T) {
	t.Parallel()
	c := wordy(t)
	lines, err := measureLines(c)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines, " ")
	f := c.Finding
	want := append(append([]string{words.Bounds(*f.Range)}, words.Lesions(f.Lesions, 0, 4)...), words.Change(*f.Prior))
	if all != strings.Join(want, " ") {
		t.Errorf("said  %s\nwant  %s", all, strings.Join(want, " "))
	}
	page, err := Summary(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Finding.Range, c.Finding.Lesions, c.Finding.Prior = nil, nil, nil
	plain, err := Summary(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := page.Rect.Dy()-plain.Rect.Dy(), measureSpan*len(lines); got != want || plain.Rect.Dy() != pageHeight {
		t.Errorf("page of %d and %d rows for %d lines", page.Rect.Dy(), plain.Rect.Dy(), len(lines))
	}
	for y := headHeight; y < pageHeight-footHeight; y++ {
		for x := tileLeft; x < pageWidth; x++ {
			if at := plain.RGBAAt(x, y); at != page.RGBAAt(x, y) && at != backgroundColor() {
				t.Fatalf("the words are written over a slice or its caption at %d, %d", x, y)
			}
		}
	}
	// In the gutters left and right of the words and just above the disclaimer there is nothing.
	below := page.Rect.Dy() - footHeight
	for y := pageHeight - footHeight - 12; y < below; y++ {
		for x := panelRight + 1; x < pageWidth; x++ {
			gutter := x < tileLeft-1 || x > pageWidth-margin || y >= below-3
			if gutter && page.RGBAAt(x, y) != backgroundColor() {
				t.Fatalf("something at %d, %d that does not fit", x, y)
			}
		}
	}
}

// A hemorrhage that is gone leaves the change; a range without a hemorrhage is not shown.
func TestMeasureLinesGone(t *testing.T) {
	t.Parallel()
	c := box(t, volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0}, 8, 8, 2, nil)
	c.Finding.Range = &finding.Range{High: finding.Volumes{Total: 0.2}}
	c.Finding.Prior = &finding.Prior{Hours: 72, Volumes: finding.Volumes{Total: 4}, ChangeML: -4, ChangePercent: -100}
	lines, err := measureLines(c)
	if want := []string{"Prior study 3 days earlier: total 4.0 mL; change -4.0 mL (-100 %)."}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("%q, error %v", lines, err)
	}
}

// However much there is to say in the column beside the key slices, nothing of it is left out, least of all what the networks
// were trained on: the page grows.
func TestSectionsGrow(t *testing.T) {
	t.Parallel()
	c := wordy(t)
	f := &c.Finding
	f.Series = &finding.Series{Slices: 12, SpacingMM: [3]float64{0.5, 0.5, 5}, TiltDeg: 18}
	f.CavityML, f.Bundle.Caution = 1500, "Trained on synthetic heads only; no real hemorrhage was seen, neither in training nor in measurement."
	f.Parameters = map[string]string{"operating_point": "sensitive"}
	c.Header.SetStrings(dcm.SeriesNumber, "IS", "2")
	c.Header.SetStrings(dcm.SeriesDescription, "LO", "頭部 5mm")
	bare, err := sections(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 11 {
		f.Warnings = append(f.Warnings, "The intracranial cavity measures 900 mL, which is unusual; the head may not be whole, or a large part of it was taken for something else.")
	}
	all, err := sections(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(bare)+1 || all[0].title != "Warnings" || !strings.HasSuffix(strings.Join(all[0].lines, " "), "And 3 more, see the report.") {
		t.Errorf("%d sections with warnings, %d without: %q", len(all), len(bare), all[0].lines)
	}
	text := map[string]string{}
	for _, s := range all {
		text[s.title] = strings.Join(s.lines, " ")
	}
	if !strings.Contains(text["Model"], f.Bundle.Caution) || !strings.Contains(text["Model"], "operating point sensitive") || !strings.HasPrefix(text["Series read"], "Number 2, ?? 5mm 12 slices") {
		t.Errorf("model %q, series %q", text["Model"], text["Series read"])
	}
	page, err := Summary(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if page.Rect.Dy() <= pageHeight+measureSpan*10 || page.Rect.Dy() > 2048 {
		t.Errorf("page of %d rows", page.Rect.Dy())
	}
	letters := 0
	for y := page.Rect.Dy() - footHeight - sectionGap - sectionLine - 8; y < page.Rect.Dy()-footHeight; y++ {
		for x := margin; x < panelRight; x++ {
			if page.RGBAAt(x, y) == textColor() {
				letters++
			}
		}
	}
	if letters < 20 { // the last line of the column stands just above the disclaimer
		t.Error("the end of the column is not on the page")
	}
}
