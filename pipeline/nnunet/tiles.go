package nnunet

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"
)

// tiles runs the network over the planes, patch by patch, and hands on the plane of logits when no later patch adds to it. It adds
// up and averages in the order and precision of nnU-Net's predictor.
type tiles struct {
	r       *Reader
	planes  [][]float32
	boxes   [][2]span
	size    [3]int // of the planes
	padded  [3]int // at least a patch
	patch   [3]int
	before  [3]int // padding of a head smaller than a patch
	steps   [3][]int
	weights []float32 // of the voxels of a patch
	classes int
	ring    []half // plane modulo the depth of a patch: weighted logits of each class of each fold, then the sum of the weights
	sum     []float32
	flips   [][3]bool
}

func newTiles(g *grid, r *Reader, planes [][]float32, boxes [][2]span) *tiles {
	t := &tiles{r: r, planes: planes, boxes: boxes, patch: r.Spec.Patch(), classes: len(r.Spec.Output.Channels)}
	for i := range t.size {
		t.size[i] = g.axes[i].m
		t.before[i] = max(t.patch[i]-t.size[i], 0) / 2
		t.padded[i] = max(t.size[i], t.patch[i])
		t.steps[i] = steps(t.padded[i], t.patch[i])
	}
	t.weights = gaussian(t.patch)
	t.ring = make([]half, t.patch[0]*t.channels()*t.area())
	t.sum = make([]float32, t.classes*t.voxels())
	t.flips = [][3]bool{{}}
	for _, a := range r.Spec.NNUNet.MirrorAxes {
		for _, f := range t.flips {
			f[a] = true
			t.flips = append(t.flips, f)
		}
	}
	return t
}

// steps are the first samples of patches of size patch that overlap by at least half and cover n.
func steps(n, patch int) []int {
	if patch == 1 { // 2d: every slice
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out
	}
	count := int(math.Ceil(float64(n-patch)/(float64(patch)*0.5))) + 1
	out := make([]int, count)
	for i := 1; i < count; i++ {
		out[i] = int(math.RoundToEven(float64(n-patch) / float64(count-1) * float64(i)))
	}
	return out
}

// gaussian returns the weights of a patch: 10 in the middle, with a standard deviation of an eighth of each side. nnU-Net rounds
// them to half precision, and takes the least that is not 0 in place of 0.
func gaussian(patch [3]int) []float32 {
	w := make([]float32, 0, patch[0]*patch[1]*patch[2])
	square := func(i, n int) float64 {
		d := float64(i-n/2) / (float64(n) / 8)
		return d * d
	}
	least := float32(10)
	for z := range patch[0] {
		for y := range patch[1] {
			for x := range patch[2] {
				g := toHalf(float32(10 * math.Exp(-(square(z, patch[0])+square(y, patch[1])+square(x, patch[2]))/2))).float()
				if g > 0 {
					least = min(least, g)
				}
				w = append(w, g)
			}
		}
	}
	for i := range w {
		w[i] = max(w[i], least)
	}
	return w
}

func (t *tiles) area() int { return t.padded[1] * t.padded[2] }

func (t *tiles) voxels() int { return len(t.weights) }

// channels is the number of values of a voxel in the ring.
func (t *tiles) channels() int { return len(t.r.Folds)*t.classes + 1 }

// run calls done for each plane of the head in order, with its logits: class, row, column. Only what lies in the plane's box is valid.
func (t *tiles) run(ctx context.Context, done func(plane int, logits []float32)) error {
	total, ran := t.count(), 0
	q := t.r.atOnce()
	var waiting [][3]int
	finished := 0
	plane := make([]float32, t.classes*t.size[1]*t.size[2])
	for i, z := range t.steps[0] {
		for _, y := range t.steps[1] {
			for _, x := range t.steps[2] {
				at := [3]int{z, y, x}
				if !t.needed(at) {
					continue
				}
				if waiting = append(waiting, at); len(waiting)*len(t.flips) >= q {
					if err := t.compute(ctx, waiting); err != nil {
						return err
					}
					waiting = waiting[:0]
				}
				if ran++; t.r.Progress != nil {
					t.r.Progress(ran, total)
				}
			}
		}
		if err := t.compute(ctx, waiting); err != nil {
			return err
		}
		waiting = waiting[:0]
		end := t.padded[0]
		if i+1 < len(t.steps[0]) {
			end = t.steps[0][i+1]
		}
		for ; finished < end; finished++ {
			t.finish(finished, plane, done)
		}
	}
	return nil
}

// count is the number of patches that will run.
func (t *tiles) count() int {
	n := 0
	for _, z := range t.steps[0] {
		for _, y := range t.steps[1] {
			for _, x := range t.steps[2] {
				if t.needed([3]int{z, y, x}) {
					n++
				}
			}
		}
	}
	return n
}

// needed reports whether a patch touches the box of any plane.
func (t *tiles) needed(at [3]int) bool {
	for z := max(at[0]-t.before[0], 0); z < min(at[0]-t.before[0]+t.patch[0], t.size[0]); z++ {
		inside := t.boxes[z][0].n() > 0
		for i, b := range t.boxes[z] {
			first := at[i+1] - t.before[i+1]
			inside = inside && first < b.end && first+t.patch[i+1] > b.first
		}
		if inside {
			return true
		}
	}
	return false
}

// finish hands on plane z of the padded head and clears its place in the ring.
func (t *tiles) finish(z int, plane []float32, done func(int, []float32)) {
	at := z - t.before[0]
	if at >= 0 && at < t.size[0] {
		box := t.boxes[at]
		weights := t.slot(t.channels()-1, z)
		for c := range t.classes {
			for r := box[0].first; r < box[0].end; r++ {
				out := plane[(c*t.size[1]+r)*t.size[2]:]
				first := (r+t.before[1])*t.padded[2] + t.before[2]
				for x := box[1].first; x < box[1].end; x++ {
					out[x] = t.logit(c, z, first+x, weights[first+x].float())
				}
			}
		}
	}
	clear(t.ring[z%t.patch[0]*t.channels()*t.area():][:t.channels()*t.area()])
	if at >= 0 && at < t.size[0] {
		done(at, plane)
	}
}

// logit is the mean of the folds.
func (t *tiles) logit(class, z, i int, weight float32) float32 {
	var mean half
	for fold := range t.r.Folds {
		mean = toHalf(mean.float() + toHalf(t.slot(fold*t.classes+class, z)[i].float()/weight).float())
	}
	return toHalf(mean.float() / float32(len(t.r.Folds))).float()
}

// slot is the place of a plane of one channel in the ring.
func (t *tiles) slot(channel, z int) []half {
	i := z%t.patch[0]*t.channels() + channel
	return t.ring[i*t.area() : (i+1)*t.area()]
}

// atOnce is the number of runs of which the results are in memory.
func (r *Reader) atOnce() int {
	if r.Spec.Wide() {
		return 1
	}
	return max(r.Runs.Batch, 1) * max(r.Runs.Lanes, 1)
}

// compute runs the folds over patches, each in every mirrored form, and adds what they answer to the ring.
func (t *tiles) compute(ctx context.Context, patches [][3]int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	runs := len(patches) * len(t.flips)
	input := make([]float32, min(t.r.atOnce(), runs)*t.voxels())
	for fold := range t.r.Folds {
		for first := 0; first < runs; first += t.r.atOnce() {
			n := min(t.r.atOnce(), runs-first)
			for i := range n {
				t.cut(input[i*t.voxels():(i+1)*t.voxels()], patches[(first+i)/len(t.flips)], t.flips[(first+i)%len(t.flips)])
			}
			logits, err := t.answers(ctx, fold, input[:n*t.voxels()], n)
			if err != nil {
				return fmt.Errorf("fold %d of %d: %w", fold+1, len(t.r.Folds), err)
			}
			for i, l := range logits {
				flip := (first + i) % len(t.flips)
				t.gather(l, t.flips[flip], flip == 0)
				if flip == len(t.flips)-1 {
					t.add(fold, patches[(first+i)/len(t.flips)])
				}
			}
		}
	}
	return nil
}

// answers runs a fold over n patches, in lanes side by side, and returns the logits of each.
func (t *tiles) answers(ctx context.Context, fold int, input []float32, n int) ([][]float32, error) {
	g, inner := errgroup.WithContext(ctx)
	each, size := t.classes*t.voxels(), max(t.r.Runs.Batch, 1)
	out := make([][]float32, n)
	for first := 0; first < n; first += size {
		count := min(size, n-first)
		g.Go(func() error {
			logits, err := t.r.Folds[fold].Run(inner, input[first*t.voxels():(first+count)*t.voxels()], count)
			if err != nil {
				return err
			}
			if len(logits) != each*count {
				return fmt.Errorf("network answered %d values, not %d", len(logits), each*count)
			}
			for i := range count {
				out[first+i] = logits[i*each : (i+1)*each]
			}
			return nil
		})
	}
	return out, g.Wait()
}

// cut writes the patch at a place to dst; beyond the head it is 0.
func (t *tiles) cut(dst []float32, at [3]int, f [3]bool) {
	clear(dst)
	for z := range t.patch[0] {
		from := at[0] + z - t.before[0]
		if from < 0 || from >= t.size[0] {
			continue
		}
		p := t.planes[from]
		for y := range t.patch[1] {
			row := at[1] + y - t.before[1]
			if row < 0 || row >= t.size[1] {
				continue
			}
			to := dst[(flip(z, t.patch[0], f[0])*t.patch[1]+flip(y, t.patch[1], f[1]))*t.patch[2]:][:t.patch[2]]
			first := at[2] - t.before[2]
			src := p[row*t.size[2]:][:t.size[2]]
			for x := max(-first, 0); x < min(t.patch[2], t.size[2]-first); x++ {
				to[flip(x, t.patch[2], f[2])] = src[first+x]
			}
		}
	}
}

// gather adds the logits of a mirrored patch to the sum of its forms, turned back.
func (t *tiles) gather(logits []float32, f [3]bool, first bool) {
	if first {
		copy(t.sum, logits)
		return
	}
	rows, width := t.patch[0]*t.patch[1], t.patch[2]
	for i := range t.classes * rows {
		z, y := i%rows/t.patch[1], i%t.patch[1]
		from := logits[(i/rows*rows+flip(z, t.patch[0], f[0])*t.patch[1]+flip(y, t.patch[1], f[1]))*width:][:width]
		to := t.sum[i*width : (i+1)*width]
		if f[2] {
			for x := range to {
				to[x] += from[len(from)-1-x]
			}
			continue
		}
		for x := range to {
			to[x] += from[x]
		}
	}
}

// add adds the mean of the forms of a patch, weighted, to the ring; of the first fold also the weights.
func (t *tiles) add(fold int, at [3]int) {
	n := float32(len(t.flips))
	width := t.patch[2]
	for z := range t.patch[0] {
		for y := range t.patch[1] {
			row := (z*t.patch[1] + y) * width
			weights := t.weights[row : row+width]
			first := (at[1]+y)*t.padded[2] + at[2]
			for c := range t.classes {
				from := t.sum[c*t.voxels()+row:][:width]
				to := t.slot(fold*t.classes+c, at[0]+z)[first:][:width]
				for x, w := range weights {
					to[x] = toHalf(to[x].float() + from[x]/n*w)
				}
			}
			if fold == 0 {
				to := t.slot(t.channels()-1, at[0]+z)[first:][:width]
				for x, w := range weights {
					to[x] = toHalf(to[x].float() + w)
				}
			}
		}
	}
}

func flip(i, n int, yes bool) int {
	if yes {
		return n - 1 - i
	}
	return i
}
