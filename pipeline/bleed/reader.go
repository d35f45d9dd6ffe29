package bleed

import (
	"context"
	"fmt"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// Reader finds blood in a way of its own; it is a nnunet.Reader. It calls visit for slices of v with the probability of
// hemorrhage and the finding.Subtype of each pixel; only pixels inside the cavity count.
type Reader interface {
	Read(ctx context.Context, v *volume.Volume, cavity *volume.Mask, visit func(slice int, probability []float32, kind []uint8)) error
}

// Collect returns the marks of what r finds. names, if not nil, holds the subtype of each voxel in the place of r's.
func Collect(ctx context.Context, v *volume.Volume, cavity *volume.Mask, r Reader, spec *bundle.Network, names *volume.Mask) (*Marks, error) {
	m := newMarks(v, cavity, spec)
	level := m.leveller()
	err := r.Read(ctx, v, cavity, func(k int, probability []float32, kind []uint8) {
		if names != nil {
			kind = names.Slice(k)
		}
		for at, x := range probability {
			if bits := level(x); bits != 0 {
				m.set(k, at, kind[at]|bits, x)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Role, err)
	}
	return m, nil
}

// Names runs a network that tells subtypes and returns the likeliest one of each voxel inside the cavity, as if it were blood.
func Names(ctx context.Context, v *volume.Volume, cavity *volume.Mask, net Net, spec *bundle.Network, runs window.Runs) (*volume.Mask, error) {
	names := volume.NewMask(&v.Grid)
	for i, inside := range cavity.Voxels {
		if inside != 0 {
			names.Voxels[i] = uint8(finding.IPH) // what the network does not see lies outside its image
		}
	}
	row, column := window.Centre(v)
	s := window.NewStack(v, spec.Input, row, column)
	err := s.Each(ctx, net, runs, len(spec.Output.Channels), showing(s, cavity), func(slab int, p []float32) error {
		view, of := s.View(), images(s, p, len(spec.Output.Channels))
		first, end := s.Source(slab)
		values := make([]float32, view.Columns)
		for i := range view.Rows {
			if !of[0].Row(values, i) {
				continue
			}
			for j := range view.Columns {
				at := view.Index(i, j)
				kind := uint8(likeliest(of, i, j))
				for k := first; k < end; k++ {
					names.Slice(k)[at] = kind
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Role, err)
	}
	return names, nil
}
