// Package bleed finds hemorrhage inside the cavity and keeps, for each voxel, the subtype that the network holds most
// likely there.
package bleed

import (
	"context"
	"fmt"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// Net is the bleed network; see window.Net. Outputs: any, IPH, IVH, SAH, SDH, EDH; or any alone.
type Net = window.Net

// Labels returns a mask whose voxels are a finding.Subtype: "any" reaches the threshold inside the cavity, and the
// subtype is the largest of the five, or finding.ICH where the network tells none. Then, as far as the bundle asks for it, thin seams along the border of the cavity
// are opened away and small components dropped.
func Labels(ctx context.Context, v *volume.Volume, cavity *volume.Mask, net Net, spec *bundle.Network, batch int) (*volume.Mask, error) {
	labels := volume.NewMask(&v.Grid)
	row, column := window.Centre(v)
	s := window.NewStack(v, spec.Input, row, column)
	err := s.Each(ctx, net, batch, len(spec.Output.Channels), func(slab int, p []float32) error {
		mark(labels, cavity, s, slab, p, spec)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Role, err)
	}
	if spec.Post.OpeningMM > 0 {
		for k := range v.Slices() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			openRim(labels.Slice(k), cavity.Slice(k), &v.Grid, spec.Post)
		}
	}
	if spec.Post.MinComponentML > 0 {
		c := volume.ComponentsOf(labels, volume.Corners, 0)
		ml := c.VolumesML(&v.Grid)
		c.Keep(labels, func(i int) bool { return ml[i] >= spec.Post.MinComponentML })
	}
	return labels, ctx.Err()
}

// mark writes the labels of one slab to each of its source slices.
func mark(labels, cavity *volume.Mask, s *window.Stack, slab int, p []float32, spec *bundle.Network) {
	view := s.View()
	of := make([]window.Image, len(spec.Output.Channels))
	size := len(p) / len(of)
	for c := range of {
		of[c] = s.Image(p[c*size : (c+1)*size])
	}
	threshold := float32(spec.Threshold)
	first, end := s.Source(slab)
	values := make([]float32, view.Columns)
	for i := range view.Rows {
		if !of[0].Row(values, i) {
			continue
		}
		for j, x := range values {
			if x < threshold {
				continue
			}
			kind := likeliest(of, i, j)
			at := view.Index(i, j)
			for k := first; k < end; k++ {
				if cavity.Slice(k)[at] != 0 {
					labels.Slice(k)[at] = uint8(kind)
				}
			}
		}
	}
}

// likeliest is the subtype of a voxel of hemorrhage: the largest of the five, the earlier one of two that are equal.
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

// openRim removes from one slice what a disc of the opening radius does not fit into, within the rim of the cavity:
// beam hardening draws a bright seam inside the skull that is thinner than a bleed. Deeper voxels stay; a rim of 0 is the
// whole slice.
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
