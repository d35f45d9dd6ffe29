// Package cavity finds the intracranial cavity: the union of the outputs of a tissue-window and a bone-window network (paper,
// section 2.3), cleaned up in 3D. Bleeds are searched only inside it.
package cavity

import (
	"context"
	"fmt"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// Net is one of the two networks; see window.Net.
type Net = window.Net

// Network is a network with its settings from the bundle.
type Network struct {
	Net  Net
	Spec *bundle.Network
}

// Mask returns the cavity of v: voxels where either network reaches its threshold and the HU are in the range of the bundle; then,
// if the bundle says so, only the largest 3D component, with holes filled in each slice. The mask is empty if the networks find
// no cavity.
func Mask(ctx context.Context, v *volume.Volume, tissue, bone Network, runs window.Runs) (*volume.Mask, error) {
	m := volume.NewMask(&v.Grid)
	row, column := window.Centre(v)
	for _, n := range []Network{tissue, bone} {
		s := window.NewStack(v, n.Spec.Input, row, column)
		err := s.Each(ctx, n.Net, runs, 1, func(int) bool { return true }, func(slab int, p []float32) error {
			mark(v, m, s, slab, s.Image(p), n.Spec)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Spec.Role, err)
		}
	}
	post := tissue.Spec.Post // the same for both networks, as package bundle checks
	if post.LargestComponent {
		volume.KeepLargest(m, &v.Grid)
	}
	if post.FillHoles {
		volume.FillHoles(m)
	}
	return m, ctx.Err()
}

// mark adds the voxels of one slab to m.
func mark(v *volume.Volume, m *volume.Mask, s *window.Stack, slab int, p window.Image, spec *bundle.Network) {
	view := s.View()
	threshold := float32(spec.Threshold)
	first, end := s.Source(slab)
	values := make([]float32, view.Columns)
	for i := range view.Rows {
		if !p.Row(values, i) {
			continue
		}
		for j, x := range values {
			if x < threshold {
				continue
			}
			at := view.Index(i, j)
			for k := first; k < end; k++ {
				if r := spec.Post.HURange; r == nil || within(v.Slice(k)[at], *r) {
					m.Slice(k)[at] = 1
				}
			}
		}
	}
}

func within(hu int16, r [2]float64) bool { return float64(hu) >= r[0] && float64(hu) <= r[1] }
