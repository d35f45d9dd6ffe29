// Package bleed finds hemorrhage inside the cavity and records, for each voxel, the most likely subtype.
package bleed

import (
	"context"
	"fmt"
	"math"
	"slices"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// Net is the bleed network; see window.Net. Outputs: any, IPH, IVH, SAH, SDH, EDH; or only any.
type Net = window.Net

// Level is how certain the network must be about a voxel.
type Level uint8

const (
	Lenient Level = iota + 1 // the threshold of the bundle, lowered by DoubtLogit
	Chosen                   // the threshold of the bundle
	Strict                   // raised by DoubtLogit
)

// DoubtLogit is the change of the threshold's log odds for the lower and upper bound of volumes: it turns 0.5 into 0.35 and 0.65.
const DoubtLogit = 0.62

func (l Level) threshold(chosen float64) float32 {
	if l == Chosen {
		return float32(chosen)
	}
	odds := math.Log(chosen/(1-chosen)) + DoubtLogit*float64(int(l)-int(Chosen))
	return float32(1 / (1 + math.Exp(-odds)))
}

// Marks is the output of one run of the network: for each voxel the subtype (lower bits), the strictest level that it reaches,
// and whether the network is sure. One byte per voxel stores all three label volumes.
type Marks struct {
	voxels *volume.Mask
	any    *volume.Mask // probability of hemorrhage of marked voxels, as a byte; nil if neither names by anatomy nor edges need it
	cavity *volume.Mask
	volume *volume.Volume
	grid   *volume.Grid
	spec   *bundle.Network
}

// levelShift leaves room for the subtypes in the lower bits; sure is above the levels.
const (
	levelShift = 4
	levelMask  = 3
	sure       = 1 << 7
)

// Find runs the network over the part of v that shows cavity.
func Find(ctx context.Context, v *volume.Volume, cavity *volume.Mask, net Net, spec *bundle.Network, runs window.Runs) (*Marks, error) {
	m := newMarks(v, cavity, spec)
	row, column := window.Centre(v)
	s := window.NewStack(v, spec.Input, row, column)
	err := s.Each(ctx, net, runs, len(spec.Output.Channels), showing(s, cavity), func(slab int, p []float32) error {
		m.mark(s, slab, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Role, err)
	}
	return m, nil
}

// showing returns whether a slab shows cavity.
func showing(s *window.Stack, cavity *volume.Mask) func(slab int) bool {
	return func(slab int) bool {
		first, end := s.Source(slab)
		n := cavity.Rows * cavity.Columns
		return slices.ContainsFunc(cavity.Voxels[first*n:end*n], func(x uint8) bool { return x != 0 })
	}
}

func newMarks(v *volume.Volume, cavity *volume.Mask, spec *bundle.Network) *Marks {
	m := &Marks{voxels: volume.NewMask(&v.Grid), cavity: cavity, volume: v, grid: &v.Grid, spec: spec}
	if spec.Post.ByAnatomy() || spec.Post.Edge > 0 {
		m.any = volume.NewMask(&v.Grid)
	}
	return m
}

// Labels returns a new mask whose voxels are a finding.Subtype, where "any" reaches the threshold of the level inside the
// cavity. The subtype is the most probable of the five, or finding.ICH if the network has no subtypes. If the bundle says so, it
// then removes thin seams along the border of the cavity (opening) and drops small or doubtful components (enough). A more lenient
// level contains all voxels of a stricter one.
func (m *Marks) Labels(ctx context.Context, level Level) (*volume.Mask, error) {
	labels := m.at(level)
	if m.spec.Post.OpeningMM > 0 {
		for k := range labels.Slices() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			openRim(labels.Slice(k), m.cavity.Slice(k), m.grid, m.spec.Post)
		}
	}
	if m.spec.Post.MinComponentML > 0 {
		c := volume.ComponentsOf(labels, volume.Corners, 0)
		enough := m.enough(c)
		c.Keep(labels, func(i int) bool { return enough[i] })
	}
	return labels, ctx.Err()
}

// enough returns for each component whether it is reported: if the network is sure of MinComponentML of it, or if Post.KeptML of it
// reach the threshold. False specks are as large as small bleeds, but the network is hardly sure of any voxel in them.
func (m *Marks) enough(c *volume.Components) []bool {
	sureML, chosenML := make([]float64, c.Count), make([]float64, c.Count)
	for _, r := range c.Runs {
		voxel := m.grid.VoxelML(int(r.Slice))
		for _, mark := range m.voxels.Row(r) {
			if mark&sure != 0 {
				sureML[r.Component] += voxel
			}
			if levelOf(mark) >= Chosen {
				chosenML[r.Component] += voxel
			}
		}
	}
	enough := make([]bool, c.Count)
	for i := range enough {
		enough[i] = sureML[i] >= m.spec.Post.MinComponentML || chosenML[i] >= m.spec.Post.KeptML()
	}
	return enough
}

// levelOf returns the strictest level that a mark reaches, 0 if none.
func levelOf(mark uint8) Level { return Level(mark >> levelShift & levelMask) }

// mark writes the output for one slab to each of its source slices.
func (m *Marks) mark(s *window.Stack, slab int, p []float32) {
	view := s.View()
	of := images(s, p, len(m.spec.Output.Channels))
	level := m.leveller()
	first, end := s.Source(slab)
	values := make([]float32, view.Columns)
	for i := range view.Rows {
		if !of[0].Row(values, i) {
			continue
		}
		for j, x := range values {
			bits := level(x)
			if bits == 0 {
				continue
			}
			mark := uint8(likeliest(of, i, j)) | bits
			at := view.Index(i, j)
			for k := first; k < end; k++ {
				m.set(k, at, mark, x)
			}
		}
	}
}

func images(s *window.Stack, p []float32, channels int) []window.Image {
	of := make([]window.Image, channels)
	size := len(p) / channels
	for c := range of {
		of[c] = s.Image(p[c*size : (c+1)*size])
	}
	return of
}

// leveller returns a function from the probability of hemorrhage to the bits of a mark above the subtype; 0: not marked.
func (m *Marks) leveller() func(float32) uint8 {
	lenient, chosen, strict := Lenient.threshold(m.spec.Threshold), Chosen.threshold(m.spec.Threshold), Strict.threshold(m.spec.Threshold)
	certain := float32(m.spec.Post.SureThreshold)
	return func(x float32) uint8 {
		level := Lenient
		switch {
		case x < lenient:
			return 0
		case x >= strict:
			level = Strict
		case x >= chosen:
			level = Chosen
		}
		bits := uint8(level) << levelShift
		if x >= certain {
			bits |= sure
		}
		return bits
	}
}

// set marks a voxel inside the cavity.
func (m *Marks) set(k, at int, mark uint8, probability float32) {
	if m.cavity.Slice(k)[at] == 0 {
		return
	}
	m.voxels.Slice(k)[at] = mark
	if m.any != nil {
		m.any.Slice(k)[at] = certainty(probability)
	}
}

// likeliest returns the most probable subtype of a voxel of hemorrhage; of two equal ones the earlier.
func likeliest(of []window.Image, i, j int) finding.Subtype {
	if len(of) == 1 {
		return finding.ICH
	}
	best, bestP := finding.IPH, of[finding.IPH].At(i, j)
	for _, t := range finding.Subtypes[1:] {
		if q := of[t].At(i, j); q > bestP {
			best, bestP = t, q
		}
	}
	return best
}

// openRim applies an opening with a disc to one slice, within the rim of the cavity: beam hardening causes a bright seam inside the
// skull that is thinner than a bleed. Deeper voxels stay; a rim of 0 means the whole slice.
func openRim(labels, cavity []uint8, g *volume.Grid, post bundle.Post) {
	any := false
	open := make([]uint8, len(labels))
	for i, l := range labels {
		if l != 0 {
			open[i], any = 1, true
		}
	}
	if !any {
		return
	}
	volume.Open(open, g.Rows, g.Columns, g.SpacingMM, post.OpeningMM)
	var depth []float64
	if post.RimMM > 0 {
		depth = volume.Distances(g.Rows, g.Columns, g.SpacingMM, func(i int) bool { return cavity[i] == 0 })
	}
	for i := range labels {
		if open[i] == 0 && (depth == nil || depth[i] <= post.RimMM) {
			labels[i] = 0
		}
	}
}
