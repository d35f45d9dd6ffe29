// Package score compares masks with masks of readers: overlap by the definitions of the paper (Spahr et al. 2023, section 2.4),
// agreement of volumes, and what was found by size.
package score

import (
	"math"
	"slices"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Case is one scan: two label volumes on one grid, with a finding.Subtype in each voxel; ICH is blood of unknown subtype.
type Case struct {
	Name    string
	Truth   *volume.Mask
	Found   *volume.Mask
	VoxelML float64
}

// Overlap counts voxels.
type Overlap struct {
	TP int `json:"tp"`
	FP int `json:"fp"`
	FN int `json:"fn"`
}

// epsilon keeps the ratios of empty masks defined: nothing found where there is nothing counts as 1.
const epsilon = 1

func (o Overlap) Dice() float64      { return float64(2*o.TP+epsilon) / float64(2*o.TP+o.FP+o.FN+epsilon) }
func (o Overlap) Precision() float64 { return float64(o.TP+epsilon) / float64(o.TP+o.FP+epsilon) }
func (o Overlap) Recall() float64    { return float64(o.TP+epsilon) / float64(o.TP+o.FN+epsilon) }

// Row is the result for one scan.
type Row struct {
	Name     string             `json:"name"`
	Overlap  Overlap            `json:"voxels"`
	TruthML  float64            `json:"truth_ml"`
	FoundML  float64            `json:"found_ml"`
	Subtypes map[string]Overlap `json:"subtypes,omitempty"` // of those that the truth or the result has; only if both tell subtypes
	Lesions  []Lesion           `json:"lesions,omitempty"`
}

// Lesion is a connected part (26 neighbours) of the truth; it is found if one voxel of it is.
type Lesion struct {
	ML    float64 `json:"ml"`
	Found bool    `json:"found"`
}

// Bleeding reports whether the truth has any blood.
func (r *Row) Bleeding() bool { return r.Overlap.TP+r.Overlap.FN > 0 }

// Compare scores one scan.
func Compare(c Case) Row {
	r := Row{Name: c.Name}
	of := map[uint8]*Overlap{}
	at := func(label uint8) *Overlap {
		o, ok := of[label]
		if !ok {
			o = &Overlap{}
			of[label] = o
		}
		return o
	}
	for i, truth := range c.Truth.Voxels {
		found := c.Found.Voxels[i]
		if truth == 0 && found == 0 {
			continue
		}
		switch {
		case found == 0:
			r.Overlap.FN++
		case truth == 0:
			r.Overlap.FP++
		default:
			r.Overlap.TP++
		}
		if truth == found {
			at(truth).TP++
			continue
		}
		if truth != 0 {
			at(truth).FN++
		}
		if found != 0 {
			at(found).FP++
		}
	}
	r.TruthML = float64(r.Overlap.TP+r.Overlap.FN) * c.VoxelML
	r.FoundML = float64(r.Overlap.TP+r.Overlap.FP) * c.VoxelML
	if _, untold := of[uint8(finding.ICH)]; !untold {
		r.Subtypes = map[string]Overlap{}
		for _, s := range finding.Subtypes {
			if o, ok := of[uint8(s)]; ok {
				r.Subtypes[s.String()] = *o
			}
		}
	}
	r.Lesions = lesions(c)
	return r
}

func lesions(c Case) []Lesion {
	parts := volume.ComponentsOf(c.Truth, volume.Corners, 0)
	out := make([]Lesion, parts.Count)
	for _, run := range parts.Runs {
		l := &out[run.Component]
		l.ML += float64(run.End-run.Begin) * c.VoxelML
		l.Found = l.Found || slices.ContainsFunc(c.Found.Row(run), func(v uint8) bool { return v != 0 })
	}
	return out
}

// Spread is a mean with the standard deviation over n scans (as numpy's std: divided by n).
type Spread struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
	N    int     `json:"n"`
}

func spread(values []float64) Spread {
	s := Spread{N: len(values)}
	if s.N == 0 {
		return s
	}
	for _, v := range values {
		s.Mean += v / float64(s.N)
	}
	for _, v := range values {
		s.SD += (v - s.Mean) * (v - s.Mean) / float64(s.N)
	}
	s.SD = math.Sqrt(s.SD)
	return s
}

// Group is the three ratios over a group of scans.
type Group struct {
	Dice       Spread  `json:"dice"`
	Precision  Spread  `json:"precision"`
	Recall     Spread  `json:"recall"`
	MedianDice float64 `json:"median_dice"`
}

func group(of []Overlap) Group {
	var dice, precision, recall []float64
	for _, o := range of {
		dice, precision, recall = append(dice, o.Dice()), append(precision, o.Precision()), append(recall, o.Recall())
	}
	return Group{spread(dice), spread(precision), spread(recall), Median(dice)}
}

// Median returns the median, 0 of nothing.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Agreement is that of volumes: found minus true, in mL (Bland and Altman 1986). The limits are the bias and 1.96 standard deviations
// of the differences, divided by n - 1.
type Agreement struct {
	N           int        `json:"n"`
	BiasML      float64    `json:"bias_ml"`
	LimitsML    [2]float64 `json:"limits_ml"`
	MedianError float64    `json:"median_absolute_error_ml"`
	Correlation float64    `json:"correlation"` // Pearson; 0 where one side does not vary
}

// Limits returns the mean of differences and the 95 % limits of agreement, as in Agreement; 0 of nothing.
func Limits(differences []float64) (bias float64, limits [2]float64) {
	n := float64(len(differences))
	for _, d := range differences {
		bias += d / n
	}
	square := 0.0
	for _, d := range differences {
		square += (d - bias) * (d - bias)
	}
	spread := 1.96 * math.Sqrt(square/max(n-1, 1))
	return bias, [2]float64{bias - spread, bias + spread}
}

func agreement(rows []Row) Agreement {
	a := Agreement{N: len(rows)}
	if a.N == 0 {
		return a
	}
	var differences, off, truth, found []float64
	n := float64(a.N)
	var meanT, meanF float64
	for _, r := range rows {
		d := r.FoundML - r.TruthML
		differences, off = append(differences, d), append(off, math.Abs(d))
		truth, found = append(truth, r.TruthML), append(found, r.FoundML)
		meanT, meanF = meanT+r.TruthML/n, meanF+r.FoundML/n
	}
	a.BiasML, a.LimitsML = Limits(differences)
	var tt, ff, tf float64
	for i := range rows {
		t, f := truth[i]-meanT, found[i]-meanF
		tt, ff, tf = tt+t*t, ff+f*f, tf+t*f
	}
	a.MedianError = Median(off)
	if tt > 0 && ff > 0 {
		a.Correlation = tf / math.Sqrt(tt*ff)
	}
	return a
}

// Size counts what was found of a range of sizes, from FromML to below ToML (0: no end).
type Size struct {
	FromML float64 `json:"from_ml"`
	ToML   float64 `json:"to_ml,omitempty"`
	N      int     `json:"n"`
	Found  int     `json:"found"`
}

// edges of the sizes, mL.
var edges = [...]float64{0, 0.1, 1, 5, 30}

func sizes() []Size {
	out := make([]Size, len(edges))
	for i, from := range edges {
		out[i].FromML = from
		if i+1 < len(edges) {
			out[i].ToML = edges[i+1]
		}
	}
	return out
}

func add(to []Size, ml float64, found bool) {
	for i := len(to) - 1; i >= 0; i-- {
		if ml >= to[i].FromML {
			if to[i].N++; found {
				to[i].Found++
			}
			return
		}
	}
}

// Summary is the score of a set.
type Summary struct {
	All      Group            `json:"all"`
	Bleeding Group            `json:"bleeding"` // scans whose truth has blood
	Subtypes map[string]Group `json:"subtypes,omitempty"`
	Volumes  Agreement        `json:"volumes"`
	Scans    []Size           `json:"scans_found_by_size"` // bleeding scans; found if one voxel is
	Lesions  []Size           `json:"lesions_found_by_size"`
	Normal   int              `json:"normal"`       // scans without blood
	Clean    int              `json:"normal_clean"` // of these, with nothing found
	FalseML  float64          `json:"normal_false_ml"`
}

// Summarise scores a set of scans.
func Summarise(rows []Row) Summary {
	s := Summary{Scans: sizes(), Lesions: sizes(), Subtypes: map[string]Group{}}
	var all, bleeding []Overlap
	of := map[string][]Overlap{}
	for _, r := range rows {
		all = append(all, r.Overlap)
		for name, o := range r.Subtypes {
			of[name] = append(of[name], o)
		}
		if !r.Bleeding() {
			if s.Normal++; r.Overlap.FP == 0 {
				s.Clean++
			}
			s.FalseML += r.FoundML
			continue
		}
		bleeding = append(bleeding, r.Overlap)
		add(s.Scans, r.TruthML, r.Overlap.TP > 0)
		for _, l := range r.Lesions {
			add(s.Lesions, l.ML, l.Found)
		}
	}
	if s.Normal > 0 {
		s.FalseML /= float64(s.Normal)
	}
	s.All, s.Bleeding, s.Volumes = group(all), group(bleeding), agreement(rows)
	for name, o := range of {
		s.Subtypes[name] = group(o)
	}
	return s
}
