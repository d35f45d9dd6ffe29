package measure

import (
	"cmp"
	"slices"
	"sync"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// MinLesionML is the smallest volume of a connected part, and of a clot, for which any bundle can list a lesion.
const MinLesionML = 0.1

// part is a connected part of one subtype.
type part struct {
	subtype finding.Subtype
	ml      float64
	runs    []volume.Run
}

// Lesions lists the connected parts (26 neighbours) of each subtype that have at least leastML, the largest first. The largest part of
// each clot of MinLesionML or more is listed too, whatever its own volume, so that a reported hemorrhage has a lesion. Others count for
// the volumes only: most of them are seams between two subtypes. clots are the reported hemorrhages of any subtype before their edge
// was cut; nil if it was not. The shape of the cavity gives each lesion its side and place.
func Lesions(labels *volume.Mask, clots *volume.Components, cavity *volume.Mask, g *volume.Grid, leastML float64) []finding.Lesion {
	volumes := Volumes(labels, g)
	if volumes.Total == 0 {
		return nil
	}
	pose := make(chan *skull, 1)
	go func() { pose <- landmarks(cavity, g) }() // takes as long as the rest
	head := sync.OnceValue(func() *skull { return <-pose })
	defer head() // waits for the goroutine
	if clots == nil {
		clots = volume.ComponentsOf(labels, volume.Corners, 0)
	}
	var out []finding.Lesion
	for _, p := range listed(parts(labels, volumes, g), clots, g, leastML) {
		l := lesion(p.subtype, p.ml, p.runs, g)
		l.Side, l.Sites, l.Position = head().place(p.subtype, head().views(p.runs, g))
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b finding.Lesion) int { return cmp.Compare(b.VolumeML, a.VolumeML) })
	return out
}

func parts(labels *volume.Mask, volumes finding.Volumes, g *volume.Grid) []part {
	var out []part
	for _, s := range finding.Kinds {
		if volumes.Of(s) == 0 {
			continue
		}
		c := volume.ComponentsOf(labels, volume.Corners, uint8(s))
		of := make([]part, c.Count)
		for i, ml := range c.VolumesML(g) {
			of[i] = part{subtype: s, ml: ml}
		}
		for _, r := range c.Runs {
			of[r.Component].runs = append(of[r.Component].runs, r)
		}
		out = append(out, of...)
	}
	return out
}

// listed returns the parts that are lesions; see Lesions.
func listed(all []part, clots *volume.Components, g *volume.Grid, leastML float64) []part {
	largest := make([]*part, clots.Count)
	for i := range all {
		p := &all[i]
		if clot := clots.At(p.runs[0]); largest[clot] == nil || p.ml > largest[clot].ml {
			largest[clot] = p
		}
	}
	clotML := clots.VolumesML(g)
	var out []part
	for i := range all {
		p := &all[i]
		clot := clots.At(p.runs[0])
		if p.ml >= leastML || p == largest[clot] && clotML[clot] >= MinLesionML {
			out = append(out, *p)
		}
	}
	return out
}

func lesion(s finding.Subtype, ml float64, runs []volume.Run, g *volume.Grid) finding.Lesion {
	l := finding.Lesion{Subtype: s, VolumeML: ml, Slices: [2]int{int(runs[0].Slice), int(runs[len(runs)-1].Slice)},
		CentroidMM: centroid(runs, g), ExtentMM: extent(runs, g)}
	var cuts []cut
	for slice := range bySlice(runs) {
		c := newCut(slice, g)
		cuts = append(cuts, c)
		if c.diameterMM > l.MaxDiameterMM {
			l.MaxDiameterMM, l.WidthMM = c.diameterMM, c.widthMM
		}
	}
	l.ABC2ML = abc2(cuts)
	return l
}

// bySlice gives the runs of one slice after the other.
func bySlice(runs []volume.Run) func(yield func([]volume.Run) bool) {
	return func(yield func([]volume.Run) bool) {
		for begin := 0; begin < len(runs); {
			end := begin
			for end < len(runs) && runs[end].Slice == runs[begin].Slice {
				end++
			}
			if !yield(runs[begin:end]) {
				return
			}
			begin = end
		}
	}
}

// centroid is the mean place of the runs' volume, in patient coordinates.
func centroid(runs []volume.Run, g *volume.Grid) volume.Vec {
	var sum volume.Vec
	weight := 0.0
	for _, r := range runs {
		w := float64(r.End-r.Begin) * g.VoxelML(int(r.Slice))
		sum = sum.Add(g.Point(int(r.Slice), float64(r.Row), float64(r.Begin+r.End-1)/2).Scale(w))
		weight += w
	}
	if weight > 0 {
		sum = sum.Scale(1 / weight)
	}
	return sum
}
