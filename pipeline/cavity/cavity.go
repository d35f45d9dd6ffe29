// Package cavity finds the intracranial cavity: the union of what a tissue-window and a bone-window network see (paper,
// section 2.3), cleaned up in 3D. Everything outside it is stripped before bleeds are looked for.
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

// Network is a network and how the bundle says it is used.
type Network struct {
	Net  Net
	Spec *bundle.Network
}

// Mask returns the cavity of v: voxels where either network reaches its threshold and the HU lies in the range of the
// bundle, then the largest component in 3D, then holes filled in each slice, as far as the bundle asks for them. The mask
// is empty where the networks see none.
func Mask(ctx context.Context, v *volume.Volume, tissue, bone Network, batch int) (*volume.Mask, error) {
	m := volume.NewMask(&v.Grid)
	row, column := window.Centre(v)
	for _, n := range []Network{tissue, bone} {
		s := window.NewStack(v, n.Spec.Input, row, column)
		err := s.Each(ctx, n.Net, batch, 1, func(slab int, p []float32) error {
			mark(v, m, s, slab, s.Image(p), n.Spec)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Spec.Role, err)
		}
	}
	post := tissue.Spec.Post // the bundle makes sure that both say the same
	if post.LargestComponent {
		volume.KeepLargest(m, &v.Grid)
	}
	if post.FillHoles {
		volume.FillHoles(m)
	}
	return m, ctx.Err()
}

// mark adds the voxels of one slab.
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
