package score

import (
	"math"
	"slices"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

const (
	iph = uint8(finding.IPH)
	ivh = uint8(finding.IVH)
	ich = uint8(finding.ICH)
)

// mask has slices of 2 rows and 4 columns.
func mask(voxels ...uint8) *volume.Mask { return &volume.Mask{Rows: 2, Columns: 4, Voxels: voxels} }

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-12 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// TestRatios: by hand, with epsilon 1.
func TestRatios(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o                       Overlap
		dice, precision, recall float64
	}{
		{Overlap{}, 1, 1, 1},
		{Overlap{TP: 3}, 1, 1, 1},
		{Overlap{TP: 2, FP: 1, FN: 3}, 5.0 / 9, 3.0 / 4, 3.0 / 6},
		{Overlap{FP: 4}, 1.0 / 5, 1.0 / 5, 1},
		{Overlap{FN: 9}, 1.0 / 10, 1, 1.0 / 10},
	} {
		near(t, "Dice", c.o.Dice(), c.dice)
		near(t, "precision", c.o.Precision(), c.precision)
		near(t, "recall", c.o.Recall(), c.recall)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		truth, found *volume.Mask
		want         Overlap
		truthML      float64
		foundML      float64
		subtypes     map[string]Overlap // nil: one side does not tell them
		lesions      []Lesion
	}{
		{"nothing", mask(0, 0, 0, 0, 0, 0, 0, 0), mask(0, 0, 0, 0, 0, 0, 0, 0), Overlap{}, 0, 0, map[string]Overlap{}, nil},
		{"missed", mask(iph, iph, 0, 0, 0, 0, 0, 0), mask(0, 0, 0, 0, 0, 0, 0, 0), Overlap{FN: 2}, 1, 0, map[string]Overlap{"IPH": {FN: 2}}, []Lesion{{1, false}}},
		{"false", mask(0, 0, 0, 0, 0, 0, 0, 0), mask(0, 0, 0, ivh, 0, 0, 0, 0), Overlap{FP: 1}, 0, 0.5, map[string]Overlap{"IVH": {FP: 1}}, nil},
		// the blood is found whatever it is called; its subtype is not
		{"another subtype", mask(iph, iph, iph, 0, 0, 0, 0, 0), mask(iph, ivh, ivh, ivh, 0, 0, 0, 0), Overlap{TP: 3, FP: 1}, 1.5, 2,
			map[string]Overlap{"IPH": {TP: 1, FN: 2}, "IVH": {FP: 3}}, []Lesion{{1.5, true}}},
		{"truth of unknown subtype", mask(ich, ich, 0, 0, 0, 0, 0, 0), mask(iph, 0, 0, 0, 0, 0, 0, 0), Overlap{TP: 1, FN: 1}, 1, 0.5, nil, []Lesion{{1, true}}},
		{"result of unknown subtype", mask(iph, 0, 0, 0, 0, 0, 0, 0), mask(ich, 0, 0, 0, 0, 0, 0, 0), Overlap{TP: 1}, 0.5, 0.5, nil, []Lesion{{0.5, true}}},
		// voxels that touch at a corner of the next slice are one lesion, those with a column between them are two
		{"corners", mask(iph, 0, 0, 0, 0, 0, 0, 0 /**/, 0, 0, 0, ivh, 0, iph, 0, 0), mask(0, 0, 0, 0, 0, 0, 0, 0 /**/, 0, 0, 0, 0, 0, iph, 0, 0),
			Overlap{TP: 1, FN: 2}, 1.5, 0.5, map[string]Overlap{"IPH": {TP: 1, FN: 1}, "IVH": {FN: 1}}, []Lesion{{1, true}, {0.5, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := Compare(Case{Name: "scan", Truth: c.truth, Found: c.found, VoxelML: 0.5})
			if r.Name != "scan" || r.Overlap != c.want || r.TruthML != c.truthML || r.FoundML != c.foundML || r.Bleeding() != (c.truthML > 0) {
				t.Errorf("%+v", r)
			}
			if (r.Subtypes == nil) != (c.subtypes == nil) || len(r.Subtypes) != len(c.subtypes) {
				t.Errorf("subtypes %v, want %v", r.Subtypes, c.subtypes)
			}
			for name, want := range c.subtypes {
				if r.Subtypes[name] != want {
					t.Errorf("%s %v, want %v", name, r.Subtypes[name], want)
				}
			}
			slices.SortFunc(r.Lesions, func(a, b Lesion) int { return int(2*b.ML - 2*a.ML) })
			if !slices.Equal(r.Lesions, c.lesions) {
				t.Errorf("lesions %v, want %v", r.Lesions, c.lesions)
			}
		})
	}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Name: "a", Overlap: Overlap{TP: 10, FP: 2, FN: 4}, TruthML: 14, FoundML: 12, Lesions: []Lesion{{13.95, true}, {0.05, false}},
			Subtypes: map[string]Overlap{"IPH": {TP: 10, FP: 2, FN: 4}}},
		{Name: "b", Overlap: Overlap{FN: 1}, TruthML: 1, FoundML: 0, Lesions: []Lesion{{1, false}}},
		{Name: "c", Overlap: Overlap{TP: 40}, TruthML: 40, FoundML: 40, Lesions: []Lesion{{30, true}, {10, true}}},
		{Name: "normal, clean"},
		{Name: "normal", Overlap: Overlap{FP: 3}, FoundML: 3},
	}
	s := Summarise(rows)
	dice := []float64{21.0 / 27, 1.0 / 2, 1, 1, 1.0 / 4}
	mean := (dice[0] + dice[1] + dice[2]) / 3
	near(t, "Dice of those that bleed", s.Bleeding.Dice.Mean, mean)
	near(t, "its SD", s.Bleeding.Dice.SD, math.Sqrt(((dice[0]-mean)*(dice[0]-mean)+(dice[1]-mean)*(dice[1]-mean)+(dice[2]-mean)*(dice[2]-mean))/3))
	near(t, "its median", s.Bleeding.MedianDice, dice[0])
	near(t, "precision", s.Bleeding.Precision.Mean, (11.0/13+1+1)/3)
	near(t, "recall", s.Bleeding.Recall.Mean, (11.0/15+1.0/2+1)/3)
	near(t, "Dice of all", s.All.Dice.Mean, (dice[0]+dice[1]+dice[2]+dice[3]+dice[4])/5)
	near(t, "Dice of IPH", s.Subtypes["IPH"].Dice.Mean, dice[0])
	if s.All.Dice.N != 5 || s.Bleeding.Dice.N != 3 || s.Subtypes["IPH"].Dice.N != 1 || s.Normal != 2 || s.Clean != 1 {
		t.Errorf("%+v", s)
	}
	near(t, "false volume", s.FalseML, 1.5)
	// differences -2, -1, 0, 0, 3: mean 0, sum of squares 14, over n - 1 = 4
	near(t, "bias", s.Volumes.BiasML, 0)
	near(t, "lower limit", s.Volumes.LimitsML[0], -1.96*math.Sqrt(3.5))
	near(t, "upper limit", s.Volumes.LimitsML[1], 1.96*math.Sqrt(3.5))
	near(t, "median error", s.Volumes.MedianError, 1)
	// truth 14, 1, 40, 0, 0 and found 12, 0, 40, 0, 3 both have the mean 11
	near(t, "r", s.Volumes.Correlation, (3*1+10*11+29*29+11*11+11*8)/math.Sqrt((9+100+841+121+121)*(1+121+841+121+64)))
	want := func(what string, got []Size, n, found [5]int) {
		t.Helper()
		for i, g := range got {
			if g.N != n[i] || g.Found != found[i] || g.FromML != edges[i] {
				t.Errorf("%s from %g mL: %d of %d, want %d of %d", what, g.FromML, g.Found, g.N, found[i], n[i])
			}
		}
	}
	want("scans", s.Scans, [5]int{0, 0, 1, 1, 1}, [5]int{0, 0, 0, 1, 1})
	want("lesions", s.Lesions, [5]int{1, 0, 1, 2, 1}, [5]int{0, 0, 0, 2, 1})
}

// TestFew: no figure of an empty set, or of a set of one, is not a number.
func TestFew(t *testing.T) {
	t.Parallel()
	for n, rows := range [][]Row{nil, {{Overlap: Overlap{TP: 2}, TruthML: 2, FoundML: 2}}} {
		s := Summarise(rows)
		for what, v := range map[string]float64{"Dice": s.All.Dice.Mean, "recall": s.Bleeding.Recall.Mean} {
			near(t, what, v, float64(n))
		}
		near(t, "SD", s.All.Dice.SD, 0)
		near(t, "limits", s.Volumes.LimitsML[1]-s.Volumes.LimitsML[0], 0)
		near(t, "r", s.Volumes.Correlation, 0)
		near(t, "false volume", s.FalseML, 0)
	}
	near(t, "median of nothing", Median(nil), 0)
	near(t, "median of two", Median([]float64{3, 1}), 2)
	if bias, limits := Limits(nil); bias != 0 || limits != [2]float64{} {
		t.Errorf("limits of nothing: %g, %v", bias, limits)
	}
}

// TestPaper: only the sets of the paper have figures, each in percent.
func TestPaper(t *testing.T) {
	t.Parallel()
	for set, want := range map[string][2]int{"hssayeni": {2, 2}, "seg-cq500": {0, 2}, "bhsd": {}, "instance": {}, "plain": {}} {
		all, bleeding := Paper(set)
		if len(all) != want[0] || len(bleeding) != want[1] {
			t.Errorf("%s: %d and %d figures", set, len(all), len(bleeding))
		}
		for _, f := range slices.Concat(all, bleeding) {
			for _, v := range [][2]float64{f.Dice, f.Precision, f.Recall} {
				if v[0] < 30 || v[0] > 100 || v[1] < 20 || v[1] > 50 {
					t.Errorf("%s, %s: %v", set, f.Method, v)
				}
			}
		}
	}
}
