package measure

import (
	"ichor/pipeline/finding"
	"math"

	"ichor/pipeline/volume"
)

// region is a part of the cavity that has a name.
type region int

const (
	nowhere region = iota
	frontal
	parietal
	temporal
	occipital
	deep
	posterior
)

func (r region) String() string {
	return [...]string{"", finding.Frontal, finding.Parietal, finding.Temporal, finding.Occipital, finding.Deep, finding.Posterior}[r]
}

// regionOf names a place in head coordinates. The borders are straight and those of an average adult: the tentorium as an
// arch, the petrous ridge, the Sylvian fissure, the central sulcus and the parieto-occipital sulcus as planes.
func regionOf(p volume.Vec) region {
	x, y, z := p[0], p[1], p[2]
	if x < 0 {
		x = -x
	}
	nuclei := (x-18)*(x-18)/(18*18) + y*y/(28*28) + (z-16)*(z-16)/(20*20)
	switch {
	case z < tentorium(x, y) && y > 2+0.58*(x-13):
		return posterior
	case nuclei < 1:
		return deep
	case x > 20 && y > -42 && y < 46 && z < 12+0.38*y:
		return temporal
	case y > 47 && z < 55:
		return occipital
	case y < -20+0.35*z:
		return frontal
	}
	return parietal
}

// tentorium is the height of the tentorium above x and y.
func tentorium(x, y float64) float64 { return 16 - 0.0085*x*x - 0.0045*(y-20)*(y-20) }

// doubtMM is how far the head coordinates may be off, x, y, z: what is said must hold for the lesion moved that far
// either way.
var doubtMM = volume.Vec{7, 12, 12}

// view is what a lesion looks like at one place: the shares of its volume.
type view struct {
	left, middle float64 // beyond the sagittal plane; within 12 mm of it
	of           [posterior + 1]float64

	falx, tentorium, cisterns, sylvian float64 // see count

	narrow                                   float64 // within 6 mm of the sagittal plane
	lateralLeft, lateralRight, third, fourth float64 // ventricles, if it is blood in them
}

// count adds a voxel of weight w at p, in head coordinates, to what lies where. The falx reaches 8 mm to either side of the
// sagittal plane, the tentorium 8 mm up and down. The basal cisterns are a box about the sella, the Sylvian fissure lies
// between the temporal and the frontal lobe. The ventricles are those of the synthetic heads: the third is a slit between the
// thalami, the fourth lies before the cerebellum, and the lateral ones are the rest.
func (v *view) count(p volume.Vec, w float64) {
	x, y, z := math.Abs(p[0]), p[1], p[2]
	if p[0] > 0 {
		v.left += w
	}
	if x < 12 {
		v.middle += w
	}
	v.of[regionOf(p)] += w
	if x < 6 {
		v.narrow += w
	}
	switch {
	case x < 18 && y > 12 && z < 2:
		v.fourth += w
	case x < 6 && y > -18 && y < 20 && z < 29:
		v.third += w
	case p[0] > 0:
		v.lateralLeft += w
	default:
		v.lateralRight += w
	}
	tent := tentorium(x, y)
	if x < 8 && z > tent+8 {
		v.falx += w
	}
	if x < 50 && y > 2 && math.Abs(z-tent) < 8 {
		v.tentorium += w
	}
	if x < 30 && y > -32 && y < 28 && z < 12 {
		v.cisterns += w
	}
	if fissure := 12 + 0.38*y; x >= 24 && y > -36 && y < 36 && math.Abs(z-fissure) < 12 {
		v.sylvian += w
	}
}

// views looks at the lesion where it seems to lie and moved by the doubt along each axis. A part of the voxels stands for
// all of a large one.
func (s *skull) views(runs []volume.Run, g *volume.Grid) []view {
	voxels := 0
	for _, r := range runs {
		voxels += int(r.End - r.Begin)
	}
	step := int32(1 + voxels/20000)
	views := make([]view, 1+2*len(doubtMM))
	total := 0.0
	for _, r := range runs {
		w := g.SupportMM[r.Slice]
		for c := r.Begin + r.Row%step; c < r.End; c += step {
			p := s.head(g.Point(int(r.Slice), float64(r.Row), float64(c)))
			total += w
			for i := range views {
				q := p
				if i > 0 {
					q[(i-1)/2] += doubtMM[(i-1)/2] * float64(2*(i%2)-1)
				}
				views[i].count(q, w)
			}
		}
	}
	if total == 0 {
		return nil
	}
	for i := range views {
		v := &views[i]
		for _, share := range []*float64{&v.left, &v.middle, &v.falx, &v.tentorium, &v.cisterns, &v.sylvian, &v.narrow, &v.lateralLeft, &v.lateralRight,
			&v.third, &v.fourth} {
			*share /= total
		}
		for r := range v.of {
			v.of[r] /= total
		}
	}
	return views
}

func all(views []view, yes func(*view) bool) bool {
	for i := range views {
		if !yes(&views[i]) {
			return false
		}
	}
	return len(views) > 0
}
