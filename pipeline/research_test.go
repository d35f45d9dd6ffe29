package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/selection"
	"ichor/scp/dcm"
)

// TestPartOfHead: a few slices, or one, are refused unless the site has them analysed; then the result says that it is of a part.
func TestPartOfHead(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(shape())
	for _, c := range []struct {
		slices []int
		edit   func(int, *dcm.DataSet)
		say    string
	}{
		{[]int{16}, nil, "one slice over 5 mm"},
		{[]int{16}, func(_ int, d *dcm.DataSet) { d.Delete(dcm.SliceThickness) }, "5 mm was assumed"},
		{[]int{14, 15, 16, 17}, nil, "4 slices over 20 mm"},
	} {
		in := study(t, s.Only(c.slices...), c.edit)
		r, err := analyzer().Analyze(t.Context(), in)
		if err != nil || r.Finding.Code != finding.TooFewSlices {
			t.Errorf("%v: %v %+v", c.slices, err, r.Finding)
		}
		a := analyzer()
		a.o.Selection = selection.Options{MinSlices: 1}
		if r, err = a.Analyze(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if f := r.Finding; f.Status != finding.Analyzed || f.Volumes.Total < 1 || f.Series.Slices != len(c.slices) || !strings.Contains(strings.Join(f.Warnings, "\n"), c.say) {
			t.Errorf("%v: %s %q %q", c.slices, f.Status, f.Reason, f.Warnings)
		}
	}
	a := analyzer()
	a.o.Selection = selection.Options{MinSlices: 1}
	chest := s.Only(0) // air above the vertex or neck below: no skull around a brain
	for i := range chest.HU {
		chest.HU[i] = min(chest.HU[i], 50)
	}
	if r, err := a.Analyze(t.Context(), study(t, chest, nil)); err != nil || r.Finding.Status != finding.Refused {
		t.Errorf("a slice without skull: %v %+v", err, r.Finding)
	}
}

// TestDerivedUIDs: words in place of UIDs become the same UIDs every time; what they tell apart stays apart.
func TestDerivedUIDs(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(small())
	uids := func(series string) (out []string) {
		in := study(t, s, func(k int, d *dcm.DataSet) {
			d.SetStrings(dcm.StudyInstanceUID, "UI", "ID_1")
			d.SetStrings(dcm.SeriesInstanceUID, "UI", series)
			d.SetStrings(dcm.SOPInstanceUID, "UI", fmt.Sprintf("ID_%s_%d", series, k))
		})
		in.UID = "ID_1"
		r := &running{}
		images, err := readHeaders(t.Context(), in, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range images.headers {
			for _, tag := range []dcm.Tag{dcm.StudyInstanceUID, dcm.SeriesInstanceUID, dcm.SOPInstanceUID} {
				if !dcm.PlausibleUID(h.String(tag)) {
					t.Fatalf("%s is %q", tag, h.String(tag))
				}
				out = append(out, h.String(tag))
			}
		}
		if len(r.Finding.Warnings) != 1 || strings.Contains(r.Finding.Warnings[0], "ID_") {
			t.Errorf("warnings %q", r.Finding.Warnings)
		}
		return out
	}
	a, again, b := uids("A"), uids("A"), uids("B")
	if !slices.Equal(a, again) {
		t.Error("another time, other UIDs")
	}
	if a[0] != b[0] || a[1] == b[1] || a[2] == b[2] {
		t.Errorf("study %s and %s, series %s and %s, image %s and %s", a[0], b[0], a[1], b[1], a[2], b[2])
	}
	all := map[string]bool{}
	for _, uid := range a {
		all[uid] = true
	}
	if want := 2 + len(s.PositionsMM); len(all) != want {
		t.Errorf("%d UIDs, want %d", len(all), want)
	}
}
