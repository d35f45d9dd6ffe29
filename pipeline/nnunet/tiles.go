package nnunet

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"
)

// tiles runs the network over the planes, patch by patch, and hands on the plane of logits when no later patch adds to it.
type tiles struct {
	r       *Reader
	planes  [][]float32
	boxes   [][2]span
	size    [3]int // of the planes
	patch   [3]int
	before  [3]int // padding of a head smaller than a patch
	steps   [3][]int
	weights [3][]float32 // of a patch, along each axis; a voxel's weight is their product
	sums    [3][]float32 // of all patches, along each axis of the padded head
	classes int
	ring    []float32 // logits above that of the background, weighted: class, plane modulo the depth of a patch, row, column
	flips   [][3]bool
}

func newTiles(g *grid, r *Reader, planes [][]float32, boxes [][2]span) *tiles {
	t := &tiles{r: r, planes: planes, boxes: boxes, patch: r.Spec.Patch(), classes: len(r.Spec.Output.Channels) - 1}
	for i := range t.size {
		t.size[i] = g.axes[i].m
		t.before[i] = max(t.patch[i]-t.size[i], 0) / 2
		padded := max(t.size[i], t.patch[i])
		t.steps[i], t.weights[i] = steps(padded, t.patch[i]), gaussian(t.patch[i])
		t.sums[i] = make([]float32, padded)
		for _, first := range t.steps[i] {
			for j, w := range t.weights[i] {
				t.sums[i][first+j] += w
			}
		}
	}
	t.ring = make([]float32, t.classes*t.patch[0]*t.area())
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

// gaussian are weights with a standard deviation of an eighth of the patch.
func gaussian(n int) []float32 {
	w := make([]float32, n)
	sigma := float64(n) / 8
	for i := range w {
		d := float64(i-n/2) / sigma
		w[i] = float32(math.Exp(-d * d / 2))
	}
	return w
}

func (t *tiles) area() int { return len(t.sums[1]) * len(t.sums[2]) }

// run calls done for each plane of the head in order, with its logits above that of the background: class, row, column. Only what
// lies in the plane's box is valid.
func (t *tiles) run(ctx context.Context, done func(plane int, logits []float32)) error {
	total, ran := t.count(), 0
	q := &batch{t: t, input: make([]float32, 0, t.r.atOnce()*t.voxels())}
	finished := 0
	plane := make([]float32, t.classes*t.size[1]*t.size[2])
	for i, z := range t.steps[0] {
		for _, y := range t.steps[1] {
			for _, x := range t.steps[2] {
				at := [3]int{z, y, x}
				if !t.needed(at) {
					continue
				}
				for _, f := range t.flips {
					if err := q.add(ctx, at, f); err != nil {
						return err
					}
				}
				if ran++; t.r.Progress != nil {
					t.r.Progress(ran, total)
				}
			}
		}
		if err := q.flush(ctx); err != nil {
			return err
		}
		end := len(t.sums[0])
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

func (t *tiles) voxels() int { return t.patch[0] * t.patch[1] * t.patch[2] }

// finish hands on plane z of the padded head and clears its place in the ring.
func (t *tiles) finish(z int, plane []float32, done func(int, []float32)) {
	width := len(t.sums[2])
	at := z - t.before[0]
	for c := range t.classes {
		slot := t.slot(c, z)
		if at >= 0 && at < t.size[0] {
			box := t.boxes[at]
			for r := box[0].first; r < box[0].end; r++ {
				row := slot[(r+t.before[1])*width:]
				w := t.sums[0][z] * t.sums[1][r+t.before[1]]
				out := plane[(c*t.size[1]+r)*t.size[2]:]
				for x := box[1].first; x < box[1].end; x++ {
					out[x] = row[x+t.before[2]] / (w * t.sums[2][x+t.before[2]])
				}
			}
		}
		clear(slot)
	}
	if at >= 0 && at < t.size[0] {
		done(at, plane)
	}
}

// slot is the place of a plane of one class in the ring.
func (t *tiles) slot(class, z int) []float32 {
	i := class*t.patch[0] + z%t.patch[0]
	return t.ring[i*t.area() : (i+1)*t.area()]
}

// batch collects patches for one run.
type batch struct {
	t     *tiles
	input []float32
	at    [][3]int
	flips [][3]bool
}

func (q *batch) add(ctx context.Context, at [3]int, f [3]bool) error {
	n := len(q.input)
	q.input = q.input[:n+q.t.voxels()]
	q.t.cut(q.input[n:], at, f)
	q.at, q.flips = append(q.at, at), append(q.flips, f)
	if len(q.at) >= q.t.r.atOnce() {
		return q.flush(ctx)
	}
	return nil
}

// atOnce is the number of patches that are computed before any is added up.
func (r *Reader) atOnce() int { return max(r.Runs.Batch, 1) * max(r.Runs.Lanes, 1) }

// flush runs the folds, in lanes side by side, and adds their logits up in order, so that the sum does not depend on the lanes.
func (q *batch) flush(ctx context.Context) error {
	if len(q.at) == 0 {
		return ctx.Err()
	}
	each := (q.t.classes + 1) * q.t.voxels()
	size := max(q.t.r.Runs.Batch, 1)
	for i, net := range q.t.r.Folds {
		g, inner := errgroup.WithContext(ctx)
		logits := make([][]float32, (len(q.at)+size-1)/size)
		for lane := range logits {
			first := lane * size
			n := min(size, len(q.at)-first)
			g.Go(func() (err error) {
				logits[lane], err = net.Run(inner, q.input[first*q.t.voxels():(first+n)*q.t.voxels()], n)
				if err == nil && len(logits[lane]) != each*n {
					err = fmt.Errorf("network answered %d values, not %d", len(logits[lane]), each*n)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("fold %d of %d: %w", i+1, len(q.t.r.Folds), err)
		}
		for j := range q.at {
			from := j % size * each
			q.t.gather(logits[j/size][from:from+each], q.at[j], q.flips[j])
		}
	}
	q.input, q.at, q.flips = q.input[:0], q.at[:0], q.flips[:0]
	return nil
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

// gather adds the logits of one patch to the ring.
func (t *tiles) gather(logits []float32, at [3]int, f [3]bool) {
	width, n := len(t.sums[2]), t.voxels()
	share := 1 / float32(len(t.flips)*len(t.r.Folds))
	for c := range t.classes {
		for z := range t.patch[0] {
			slot := t.slot(c, at[0]+z)
			for y := range t.patch[1] {
				from := (flip(z, t.patch[0], f[0])*t.patch[1] + flip(y, t.patch[1], f[1])) * t.patch[2]
				none, blood := logits[from:from+t.patch[2]], logits[(c+1)*n+from:][:t.patch[2]]
				w := share * t.weights[0][z] * t.weights[1][y]
				to := slot[(at[1]+y)*width+at[2]:][:t.patch[2]]
				if f[2] {
					for x, wx := range t.weights[2] {
						to[x] += w * wx * (blood[len(blood)-1-x] - none[len(none)-1-x])
					}
					continue
				}
				for x, wx := range t.weights[2] {
					to[x] += w * wx * (blood[x] - none[x])
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
