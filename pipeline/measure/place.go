package measure

import (
	"cmp"
	"slices"
	"strings"

	"ichor/pipeline/finding"
)

// Places beside the regions of the brain. They are the names in finding.Lesion.Sites.
const (
	Ventricles = "ventricles" // where the scan shows too little of the head to tell which
	Cisterns   = "basal cisterns"
	Sylvian    = "Sylvian fissure"
	Falx       = "falx"
	Tentorium  = "tentorium"
)

const (
	supratentorial = "supratentorial"
	infratentorial = "infratentorial"
)

// place says where a lesion lies, from the patient's side: side, sites, and both in words. It is approximate, from the
// shape of the cavity alone. The side is always said. Sites are left out where the scan shows too little of the head.
//
// What holds for the lesion moved by doubtMM is preferred. Where nothing does, the place where it seems to lie is said.
//
// Measured on 840 balls of 6 to 20 mm radius anywhere in the cavities of 60 synthetic heads, against the known pose of
// the head, before the less certain ones were said as well: the side was right for 631 of 633, the side of the tentorium
// for 546 of 546, a region (15 % of the ball or more within it) for 499 of 500. The borders of the regions themselves are
// not those of any one brain. The constants of pitch and yaw in skull.go were fitted on these same heads, so others will
// do somewhat worse; no real head was looked at.
func (s *skull) place(t finding.Subtype, views []view) (side finding.Side, sites []string, words string) {
	if t == finding.IVH && len(views) > 0 {
		return s.ventricles(&views[0])
	}
	side = sideOf(views)
	if !s.mapped || len(views) == 0 {
		return side, nil, string(side)
	}
	if w := wallOf(t, &views[0]); w != "" {
		words = join(w, string(side))
		if w == Falx || w == Tentorium {
			words = join("along the "+w, string(side))
		}
		return side, []string{w}, words
	}
	within := t == finding.IPH || t == finding.ICH
	for _, r := range regionsOf(views, within) {
		sites = append(sites, r.String())
	}
	where, level := strings.Join(sites, " and "), levelOf(views)
	if where == "" {
		return side, nil, join(string(side), level)
	}
	if slices.Contains(sites, finding.Posterior) {
		return side, sites, join(sided(side, where), level)
	}
	switch t {
	case finding.SDH, finding.EDH:
		where = "over the " + sided(side, where+" convexity")
	case finding.SAH:
		where = sided(side, where+" sulci")
	default:
		where = sided(side, where)
	}
	return side, sites, join(where, level)
}

// ventricles says in which of them blood lies, and on which side. The lateral ventricles are so near to the sagittal plane that
// sideOf would call blood in one of them median; the third and the fourth are median, whatever the doubt about the plane.
func (s *skull) ventricles(v *view) (side finding.Side, sites []string, words string) {
	of := func(left, right float64) finding.Side {
		switch share := left / (left + right); {
		case share >= 0.75:
			return finding.Left
		case share <= 0.25:
			return finding.Right
		}
		return finding.BothSides
	}
	if !s.mapped {
		if side = of(v.left, 1-v.left); v.narrow >= 0.8 {
			side = finding.Midline
		}
		return side, []string{Ventricles}, join(Ventricles, string(side))
	}
	type part struct {
		name  string
		share float64
	}
	parts := []part{{finding.LateralVentricle, v.lateralLeft + v.lateralRight}, {finding.ThirdVentricle, v.third}, {finding.FourthVentricle, v.fourth}}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.share, a.share) })
	side = finding.Midline
	var said []string
	for i, p := range parts {
		if i > 0 && p.share < 0.25 {
			continue
		}
		where := p.name
		if p.name == finding.LateralVentricle {
			side = of(v.lateralLeft, v.lateralRight)
			where = sided(side, where)
		}
		sites, said = append(sites, p.name), append(said, where)
	}
	if side == finding.Midline {
		return side, sites, join(strings.Join(said, " and "), string(side))
	}
	return side, sites, strings.Join(said, " and ")
}

// sided puts the side where it stands in English.
func sided(side finding.Side, where string) string {
	switch side {
	case finding.Left, finding.Right:
		return string(side) + " " + where
	case finding.BothSides:
		return where + " on both sides"
	}
	return where + " at the midline"
}

func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
}

// sideOf is the side of nine tenths of the volume however it is moved, both where each has at least a fifth. A lesion about the
// sagittal plane is median unless it lies on one side of it and reaches away from it. Where nothing of this holds, the side of
// three quarters of the volume is said.
func sideOf(views []view) finding.Side {
	if len(views) == 0 {
		return finding.Midline
	}
	at := &views[0]
	switch {
	case all(views, func(v *view) bool { return v.left >= 0.9 }):
		return finding.Left
	case all(views, func(v *view) bool { return v.left <= 0.1 }):
		return finding.Right
	case at.middle >= 0.9 && (at.narrow >= 0.8 || at.left > 0.2 && at.left < 0.8):
		return finding.Midline
	case all(views, func(v *view) bool { return v.left >= 0.2 && v.left <= 0.8 }):
		return finding.BothSides
	case at.left >= 0.75:
		return finding.Left
	case at.left <= 0.25:
		return finding.Right
	}
	return finding.BothSides
}

// wallOf is the fold of the dura or the space of the subarachnoid blood that holds at least half of the lesion; "" where
// none does.
func wallOf(t finding.Subtype, v *view) string {
	switch {
	case t == finding.SDH && v.falx >= 0.5:
		return Falx
	case t == finding.SDH && v.tentorium >= 0.5:
		return Tentorium
	case t == finding.SAH && v.cisterns >= 0.5:
		return Cisterns
	case t == finding.SAH && v.sylvian >= 0.5:
		return Sylvian
	}
	return ""
}

// regionsOf are those that hold at least a quarter of the volume however it is moved, the largest first. Where none does,
// it is those that hold two fifths of it, or the largest. Blood over the brain is not within it: such a lesion has no part in
// the deep region.
func regionsOf(views []view, within bool) []region {
	share := func(v *view, r region) float64 {
		if r == deep && !within {
			return 0
		}
		return v.of[r]
	}
	var sure, likely []region
	largest := frontal
	for r := frontal; r <= posterior; r++ {
		if all(views, func(v *view) bool { return share(v, r) >= 0.25 }) {
			sure = append(sure, r)
		}
		if share(&views[0], r) >= 0.4 {
			likely = append(likely, r)
		}
		if share(&views[0], r) > share(&views[0], largest) {
			largest = r
		}
	}
	if len(sure) == 0 {
		sure = likely
	}
	if len(sure) == 0 && share(&views[0], largest) > 0 {
		sure = append(sure, largest)
	}
	slices.SortStableFunc(sure, func(a, b region) int {
		if views[0].of[a] > views[0].of[b] {
			return -1
		}
		return 1
	})
	return sure
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
