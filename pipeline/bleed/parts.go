package bleed

import (
	"context"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// Part is a connected region (26 neighbours) of voxels to which the network gives the same subtype.
type Part struct {
	Kind  finding.Subtype
	Clot  int // index of its clot
	Signs Signs
}

// Parts are the clots that a network marked and their parts. A clot is a connected region (26 neighbours) of marked voxels of any
// subtype.
type Parts struct {
	Of      []Part
	Clots   []Signs
	Kept    []bool             // for each clot: whether it is reported
	Contact map[[2]int]float64 // number of voxel faces that two parts share, the lower index first

	marks *Marks
	runs  []volume.Run // Component is the index of the part
}

// Parts finds the parts at the threshold of the bundle, computes their signs and decides which clots to keep. The bundle must name by
// anatomy.
func (m *Marks) Parts(ctx context.Context) (*Parts, error) {
	labels := m.at(Chosen)
	clots := volume.ComponentsOf(labels, volume.Corners, 0)
	ml := clots.VolumesML(m.grid)
	clots.Keep(labels, func(i int) bool { return ml[i] >= m.spec.Post.MinComponentML })
	PoolExtraAxial(labels, m.grid)
	clots = volume.ComponentsOf(labels, volume.Corners, 0)
	p := &Parts{Kept: make([]bool, clots.Count), Contact: map[[2]int]float64{}, marks: m}
	for _, s := range finding.Subtypes {
		c := volume.ComponentsOf(labels, volume.Corners, uint8(s))
		first := int32(len(p.Of))
		p.Of = append(p.Of, make([]Part, c.Count)...)
		for i := range c.Count {
			p.Of[int(first)+i].Kind = s
		}
		for _, r := range c.Runs {
			r.Component += first
			p.runs = append(p.runs, r)
		}
	}
	if err := p.look(ctx, clots); err != nil {
		return nil, err
	}
	p.decide(clots)
	return p, nil
}

// decide decides which clots to keep: by evidence if the bundle has it, else by volume.
func (p *Parts) decide(clots *volume.Components) {
	e := p.marks.spec.Post.Evidence
	if e == nil {
		p.Kept = p.marks.enough(clots)
		return
	}
	cut := p.marks.spec.Cut()
	total := 0.0
	for _, c := range p.Clots {
		total += c.Mass
	}
	for i, c := range p.Clots {
		p.Kept[i] = c.ML >= p.marks.spec.Post.KeptML() || e.Of(c.evidence(total-c.Mass)) >= cut
	}
}

// look computes signs, clots and contacts, slice by slice.
func (p *Parts) look(ctx context.Context, clots *volume.Components) error {
	if len(p.Of) == 0 {
		return nil
	}
	m := p.marks
	c := newCrop(m.volume, m.cavity)
	middle := c.middle()
	of := make([]sums, len(p.Of)+1)
	for i := range of {
		of[i].rowMax = -1
	}
	bySlice, clotRuns := runsBySlice(p.runs, m.grid.Slices()), runsBySlice(clots.Runs, m.grid.Slices())
	clotOf := make([]int32, m.grid.Rows*m.grid.Columns) // 0 none, else clot + 1
	partOf := make([]int32, len(clotOf))
	own, below := make([]int32, c.rows*c.columns), make([]int32, c.rows*c.columns)
	for k := range m.grid.Slices() {
		if err := ctx.Err(); err != nil {
			return err
		}
		own, below = below, own
		clear(own)
		if len(bySlice[k]) == 0 {
			continue
		}
		paint(clotOf, m.grid.Columns, clotRuns[k], true)
		paint(partOf, m.grid.Columns, bySlice[k], true)
		for _, r := range bySlice[k] {
			p.Of[r.Component].Clot = int(clotOf[int(r.Row)*m.grid.Columns+int(r.Begin)]) - 1
		}
		c.each(func(i, at int) { own[i] = partOf[at] })
		paint(clotOf, m.grid.Columns, clotRuns[k], false)
		paint(partOf, m.grid.Columns, bySlice[k], false)
		c.gather(of, own, k, m.any.Slice(k), middle)
		p.touch(own, below, c.columns)
	}
	whole := make([]sums, clots.Count)
	for i := range p.Of {
		p.Of[i].Signs = of[i+1].signs()
		whole[p.Of[i].Clot].add(&of[i+1])
	}
	for i := range whole {
		p.Clots = append(p.Clots, whole[i].signs())
	}
	return nil
}

// touch counts the faces that different parts share within a slice and with the slice below.
func (p *Parts) touch(own, below []int32, columns int) {
	count := func(a, b int32) {
		if a != b && b != 0 {
			p.Contact[[2]int{int(min(a, b)) - 1, int(max(a, b)) - 1}]++
		}
	}
	for i, a := range own {
		if a == 0 {
			continue
		}
		if (i+1)%columns != 0 {
			count(a, own[i+1])
		}
		if i+columns < len(own) {
			count(a, own[i+columns])
		}
		count(a, below[i])
	}
}

func runsBySlice(runs []volume.Run, slices int) [][]volume.Run {
	out := make([][]volume.Run, slices)
	for _, r := range runs {
		out[r.Slice] = append(out[r.Slice], r)
	}
	return out
}

// paint writes the components of the runs of one slice, counted from 1, or clears them.
func paint(dst []int32, columns int, runs []volume.Run, on bool) {
	for _, r := range runs {
		value := int32(0)
		if on {
			value = r.Component + 1
		}
		row := dst[int(r.Row)*columns:]
		for i := r.Begin; i < r.End; i++ {
			row[i] = value
		}
	}
}

// Labels returns a new mask of the kept clots in which part i has the subtype names[i]. A stricter level has fewer voxels of each
// clot, a more lenient one more: added voxels get the subtype with most volume in the clot. No new clots appear.
func (p *Parts) Labels(names []finding.Subtype, level Level) *volume.Mask {
	labels := volume.NewMask(p.marks.grid)
	for _, r := range p.runs {
		if !p.Kept[p.Of[r.Component].Clot] {
			continue
		}
		marks, row := p.marks.voxels.Row(r), labels.Row(r)
		for i := range row {
			if levelOf(marks[i]) >= level {
				row[i] = uint8(names[r.Component])
			}
		}
	}
	if level < Chosen {
		p.grow(labels, level)
	}
	return labels
}

// grow adds to the clots in labels the connected voxels that reach a more lenient level.
func (p *Parts) grow(labels *volume.Mask, level Level) {
	all := p.marks.at(level)
	c := volume.ComponentsOf(all, volume.Corners, 0)
	ml := make([][len(finding.Kinds) + 1]float64, c.Count)
	for _, r := range c.Runs {
		voxel := p.marks.grid.VoxelML(int(r.Slice))
		for _, l := range labels.Row(r) {
			ml[r.Component][l] += voxel
		}
	}
	for _, r := range c.Runs {
		most := finding.None
		for _, s := range finding.Subtypes {
			if ml[r.Component][s] > 0 && (most == finding.None || ml[r.Component][s] > ml[r.Component][most]) {
				most = s
			}
		}
		row := labels.Row(r)
		for i, l := range row {
			if l == 0 {
				row[i] = uint8(most)
			}
		}
	}
}

// at returns the voxels that reach a level, each with its own subtype.
func (m *Marks) at(level Level) *volume.Mask {
	labels := volume.NewMask(m.grid)
	for i, mark := range m.voxels.Voxels {
		if levelOf(mark) >= level {
			labels.Voxels[i] = mark & (1<<levelShift - 1)
		}
	}
	return labels
}

// certainty converts a probability to a byte.
func certainty(p float32) uint8 { return uint8(min(max(p, 0), 1)*255 + 0.5) }
