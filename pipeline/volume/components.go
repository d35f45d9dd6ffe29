package volume

import (
	"cmp"
	"slices"
)

// Connectivity says which voxels touch.
type Connectivity int

const (
	Faces   Connectivity = 6  // voxels that share a face
	Corners Connectivity = 26 // or an edge, or a corner
)

// Run is a stretch of neighbouring voxels in one row: columns Begin to End, End not included.
type Run struct {
	Slice, Row, Begin, End int32
	Component              int32 // counted from 0
}

// Components are the connected parts of a mask. They are held as runs along rows: a head has a thousand times fewer runs
// than voxels.
type Components struct {
	Count int
	Runs  []Run // by slice, row, column
}

// ComponentsOf finds the connected parts of the voxels of m that have the given value; 0 stands for any but 0.
// Components are numbered by their first voxel.
func ComponentsOf(m *Mask, c Connectivity, value uint8) *Components {
	slices := m.Slices()
	out := &Components{}
	first := make([]int32, slices*m.Rows+1) // of the runs of each row
	for line := range slices * m.Rows {
		first[line] = int32(len(out.Runs))
		row := m.Voxels[line*m.Columns : (line+1)*m.Columns]
		for x := 0; x < len(row); {
			if !is(row[x], value) {
				x++
				continue
			}
			begin := x
			for x < len(row) && is(row[x], value) {
				x++
			}
			out.Runs = append(out.Runs, Run{Slice: int32(line / m.Rows), Row: int32(line % m.Rows), Begin: int32(begin), End: int32(x)})
		}
	}
	first[slices*m.Rows] = int32(len(out.Runs))

	parent := make([]int32, len(out.Runs))
	for i := range parent {
		parent[i] = int32(i)
	}
	join := joiner{out.Runs, first, parent}
	for k := range slices {
		for r := range m.Rows {
			line := k*m.Rows + r
			if first[line] == first[line+1] {
				continue
			}
			if c == Faces {
				join.lines(line, line-1, 0, r > 0)
				join.lines(line, line-m.Rows, 0, k > 0)
				continue
			}
			join.lines(line, line-1, 1, r > 0)
			join.lines(line, line-m.Rows-1, 1, k > 0 && r > 0)
			join.lines(line, line-m.Rows, 1, k > 0)
			join.lines(line, line-m.Rows+1, 1, k > 0 && r < m.Rows-1)
		}
	}
	number := make([]int32, len(out.Runs))
	for i := range out.Runs {
		root := find(parent, int32(i))
		if root == int32(i) { // roots are the first runs of their parts
			number[i] = int32(out.Count)
			out.Count++
		}
		out.Runs[i].Component = number[root]
	}
	return out
}

func is(voxel, value uint8) bool { return voxel != 0 && (value == 0 || voxel == value) }

type joiner struct {
	runs   []Run
	first  []int32
	parent []int32
}

// lines joins the runs of line a with those of line b that overlap them, or come within reach.
func (j *joiner) lines(a, b int, reach int32, exists bool) {
	if !exists {
		return
	}
	p, pEnd, q, qEnd := j.first[a], j.first[a+1], j.first[b], j.first[b+1]
	for p < pEnd && q < qEnd {
		u, v := &j.runs[p], &j.runs[q]
		if u.Begin < v.End+reach && v.Begin < u.End+reach {
			union(j.parent, p, q)
		}
		if u.End < v.End {
			p++
		} else {
			q++
		}
	}
}

func find(parent []int32, i int32) int32 {
	for parent[i] != i {
		parent[i] = parent[parent[i]]
		i = parent[i]
	}
	return i
}

// union keeps the earlier run as root.
func union(parent []int32, a, b int32) {
	a, b = find(parent, a), find(parent, b)
	if a < b {
		parent[b] = a
	} else {
		parent[a] = b
	}
}

// At returns the component that holds the first voxel of r, a run of the same grid. There must be one.
func (c *Components) At(r Run) int32 {
	i, _ := slices.BinarySearchFunc(c.Runs, r, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.Slice, b.Slice), cmp.Compare(a.Row, b.Row), cmp.Compare(a.End, b.Begin+1))
	})
	return c.Runs[i].Component
}

// VolumesML are the volumes of the components in mL.
func (c *Components) VolumesML(g *Grid) []float64 {
	ml := make([]float64, c.Count)
	for _, r := range c.Runs {
		ml[r.Component] += float64(r.End-r.Begin) * g.VoxelML(int(r.Slice))
	}
	return ml
}

// Keep clears the voxels of all components that keep says no to.
func (c *Components) Keep(m *Mask, keep func(component int) bool) {
	for _, r := range c.Runs {
		if !keep(int(r.Component)) {
			clear(m.Row(r))
		}
	}
}

// Row returns the voxels of a run; it aliases the mask.
func (m *Mask) Row(r Run) []uint8 {
	line := (int(r.Slice)*m.Rows + int(r.Row)) * m.Columns
	return m.Voxels[line+int(r.Begin) : line+int(r.End)]
}

// KeepLargest clears all but the largest component, by volume, voxels touching by their faces.
func KeepLargest(m *Mask, g *Grid) {
	c := ComponentsOf(m, Faces, 0)
	best := 0
	ml := c.VolumesML(g)
	for i := range ml {
		if ml[i] > ml[best] {
			best = i
		}
	}
	c.Keep(m, func(i int) bool { return i == best })
}

// FillHoles fills, in each slice, what the mask encloses: background that no path over faces leads out of the slice.
func FillHoles(m *Mask) {
	var stack []int32
	var seen []bool
	for k := range m.Slices() {
		s := m.Slice(k)
		r0, r1, c0, c1 := bounds(s, m.Columns)
		rows, columns := r1-r0+2, c1-c0+2 // one pixel of background all around
		if r1 <= r0 {
			continue
		}
		seen = append(seen[:0], make([]bool, rows*columns)...)
		inside := func(p int32) bool {
			r, c := int(p)/columns+r0-1, int(p)%columns+c0-1
			return r >= r0 && r < r1 && c >= c0 && c < c1 && s[r*m.Columns+c] != 0
		}
		stack = append(stack[:0], 0)
		seen[0] = true
		visit := func(p int32) {
			if !seen[p] && !inside(p) {
				seen[p] = true
				stack = append(stack, p)
			}
		}
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			r, c := int(p)/columns, int(p)%columns
			if r > 0 {
				visit(p - int32(columns))
			}
			if r < rows-1 {
				visit(p + int32(columns))
			}
			if c > 0 {
				visit(p - 1)
			}
			if c < columns-1 {
				visit(p + 1)
			}
		}
		for r := r0; r < r1; r++ {
			for c := c0; c < c1; c++ {
				if i := r*m.Columns + c; s[i] == 0 && !seen[(r-r0+1)*columns+c-c0+1] {
					s[i] = 1
				}
			}
		}
	}
}

// bounds is the box of the pixels of a slice that are not 0, ends not included; empty where all are.
func bounds(s []uint8, columns int) (r0, r1, c0, c1 int) {
	r0, c0 = len(s)/columns, columns
	for i, v := range s {
		if v == 0 {
			continue
		}
		r, c := i/columns, i%columns
		r0, r1, c0, c1 = min(r0, r), max(r1, r+1), min(c0, c), max(c1, c+1)
	}
	return r0, r1, c0, c1
}
