// Package nnunet runs networks of nnU-Net v2 on a head as nnU-Net's own predictor does:
//
//	stack      a tilted stack is made straight by whole pixels; the box of voxels other than 0 HU is cut out
//	normalise  clip((HU), low, high), minus mean, over standard deviation
//	resample   to the spacing of the network: cubic B-splines, nearest along the slices where they are thick (axis.go)
//	tiles      patches that overlap by half, with Gaussian weights; mirrored runs and folds are averaged (tiles.go)
//	back       logits to the source pixels: linear, nearest along thick slices (back.go)
//	half       the precision in which nnU-Net adds logits up (half.go)
//
// Slices of the source are never changed: what comes back lies on their own pixels. Only patches that touch the cavity are run,
// and the logits of one patch's depth are in memory at a time.
package nnunet

import (
	"context"
	"fmt"
	"runtime/debug"

	"ichor/models/bundle"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
)

// Net is one fold: patches in, logits out; see window.Net.
type Net = window.Net

// maxVoxels bounds the head at the spacing of the network: 1 GiB of float32.
const maxVoxels = 1 << 28

// Reader is a network with its settings.
type Reader struct {
	Spec     *bundle.Network
	Folds    []Net                 // one for each of Spec.Folds
	Runs     window.Runs           // patches in one run, and runs at the same time
	Progress func(done, total int) // after each patch; nil: not told
}

// Read calls visit for the slices of v, from the feet, with two values of each pixel of the slice: the certainty of blood, and the
// finding.Subtype that it would be. The certainty is 1 / (1 + exp(none - blood)), where blood is the largest logit of the classes
// that are blood, and none that of the others: it is at least 0.5 exactly where nnU-Net's mask shows blood. Both slices are valid only
// during the call. within restricts the work: pixels that are 0 in it, and slices without any, may be left out; nil reads all.
func (r *Reader) Read(ctx context.Context, v *volume.Volume, within *volume.Mask, visit func(slice int, blood []float32, kind []uint8)) error {
	s := newStack(v, r.Spec)
	if s == nil {
		return nil // nothing but 0 HU
	}
	g, err := newGrid(s, r.Spec)
	if err != nil {
		return err
	}
	planes, err := g.planes(ctx)
	if err != nil {
		return err
	}
	if r.Spec.Wide() {
		debug.FreeOSMemory() // what earlier steps left; Go does not see that the library needs a gigabyte for a patch
	}
	boxes := g.boxes(within)
	b := newBack(g, r.Spec, within, visit)
	t := newTiles(g, r, planes, boxes)
	if err := t.run(ctx, b.plane); err != nil {
		return fmt.Errorf("nnU-Net %s: %w", r.Spec.NNUNet.Configuration, err)
	}
	return nil
}
