package measure

import (
	"slices"
	"strings"

	"ichor/pipeline/finding"
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
	return [...]string{"", "frontal", "parietal", "temporal", "occipital", "basal ganglia or thalamus", "posterior fossa"}[r]
}

// regionOf names a place in head coordinates. The borders are straight and those of an average adult: the tentorium as an
// arch, the petrous ridge, the Sylvian fissure, the central sulcus and the parieto-occipital sulcus as planes.
func regionOf(p volume.Vec) region {
	x, y, z := p[0], p[1], p[2]
	if x < 0 {
		x = -x
	}
	tentorium := 16 - 0.0085*x*x - 0.0045*(y-20)*(y-20)
	nuclei := (x-18)*(x-18)/(18*18) + y*y/(28*28) + (z-16)*(z-16)/(20*20)
	switch {
	case z < tentorium && y > 2+0.58*(x-13):
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

// doubtMM is how far the head coordinates may be off, x, y, z: what is said must hold for the lesion moved that far
// either way.
var doubtMM = volume.Vec{7, 12, 12}

// view is what a lesion looks like at one place: the shares of its volume.
type view struct {
	left, middle float64 // beyond the sagittal plane; within 12 mm of it
	of           [posterior + 1]float64
}

// position says in words where a lesion lies, from the patient's side: side, lobe or other region, above or below the
// tentorium. It is approximate, from the shape of the cavity alone, and leaves out what its doubt does not let it say.
//
// Measured on 840 balls of 6 to 20 mm radius anywhere in the cavities of 60 synthetic heads, against the known pose of
// the head: the side was said of 633 and right for 631, the side of the tentorium of 546 and right for 546, a region of
// 500 and right (15 % of the ball or more within it) for 499. 12 of the 60 scans ended too high or too low for more
// than the side. The borders of the regions themselves are not those of any one brain.
// The constants of pitch and yaw in skull.go were fitted on these same heads, so others will do somewhat worse; no real
// head was looked at.
func (s *skull) position(t finding.Subtype, runs []volume.Run, g *volume.Grid) string {
	views := s.views(runs, g)
	side := sideOf(views)
	if t == finding.IVH {
		return join("ventricles", side)
	}
	if !s.mapped {
		return side
	}
	regions, level := regionsOf(views), levelOf(views)
	if t != finding.IPH && t != finding.ICH { // blood over the brain is not within it
		regions = slices.DeleteFunc(regions, func(r region) bool { return r == deep })
	}
	var words []string
	for _, r := range regions {
		words = append(words, r.String())
	}
	where := strings.Join(words, " and ")
	if (t == finding.SDH || t == finding.EDH) && level == supratentorial && where != "" && (side == "left" || side == "right") {
		return "over the " + side + " " + where + " convexity, " + level
	}
	if side == bothSides && where != "" {
		return join(where+" on "+side, level)
	}
	return join(strings.TrimSpace(side+" "+where), level)
}

const (
	midline        = "midline"
	bothSides      = "both sides"
	supratentorial = "supratentorial"
	infratentorial = "infratentorial"
)

func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
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
				v := &views[i]
				if q[0] > 0 {
					v.left += w
				}
				if q[0] > -12 && q[0] < 12 {
					v.middle += w
				}
				v.of[regionOf(q)] += w
			}
		}
	}
	if total == 0 {
		return nil
	}
	for i := range views {
		v := &views[i]
		v.left, v.middle = v.left/total, v.middle/total
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

// sideOf is the side of nine tenths of the volume, both where each has at least a fifth.
func sideOf(views []view) string {
	switch {
	case all(views, func(v *view) bool { return v.left >= 0.9 }):
		return "left"
	case all(views, func(v *view) bool { return v.left <= 0.1 }):
		return "right"
	case len(views) > 0 && views[0].middle >= 0.9:
		return midline
	case all(views, func(v *view) bool { return v.left >= 0.2 && v.left <= 0.8 }):
		return bothSides
	}
	return ""
}

// regionsOf are those that hold at least a quarter of the volume however it is moved, the largest first.
func regionsOf(views []view) []region {
	var out []region
	for r := frontal; r <= posterior; r++ {
		if all(views, func(v *view) bool { return v.of[r] >= 0.25 }) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b region) int {
		if views[0].of[a] > views[0].of[b] {
			return -1
		}
		return 1
	})
	return out
}

// levelOf is the side of the tentorium on which nine tenths of the volume lie.
func levelOf(views []view) string {
	switch {
	case all(views, func(v *view) bool { return v.of[posterior] >= 0.9 }):
		return infratentorial
	case all(views, func(v *view) bool { return v.of[posterior] <= 0.1 }):
		return supratentorial
	}
	return ""
}
