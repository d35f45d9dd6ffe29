package subtype

import (
	"math"

	"ichor/pipeline/bleed"
	"ichor/pipeline/finding"
)

// A clear part has so many mL, and this share of its clot; from clearMostML on it is large enough in any clot.
const (
	clearML     = 1.0
	clearShare  = 0.1
	clearMostML = 2.0
)

// ballMM times the cube root of the mL is four fifths of the diameter of a ball.
const ballMM = 10.0

// Names gives each part its name, in the place of Settle, if the bundle names by anatomy. A part that is clear and lies where its subtype lies keeps the network's. What is not clear takes
// the name of the clear part that it touches most, of the largest where it touches none. A clot without a clear part is named as a
// whole: by the subtype with most volume among those that its place allows. models/training/ich/product/naming.py does the same.
func Names(p *bleed.Parts) []finding.Subtype {
	out := make([]finding.Subtype, len(p.Of))
	of := make([][]int, len(p.Clots))
	for i, part := range p.Of {
		of[part.Clot] = append(of[part.Clot], i)
	}
	for clot, own := range of {
		enough := min(max(clearML, clearShare*p.Clots[clot].ML), clearMostML)
		var clear, rest []int
		largest := -1
		for _, i := range own {
			part := p.Of[i]
			if part.Signs.ML < enough || !possible(part.Kind, part.Signs, part.Signs.ML/p.Clots[clot].ML) {
				rest = append(rest, i)
				continue
			}
			clear = append(clear, i)
			out[i] = part.Kind
			if largest < 0 || part.Signs.ML > p.Of[largest].Signs.ML {
				largest = i
			}
		}
		whole := finding.None
		if len(clear) == 0 {
			whole = asWhole(p, clot, own)
		}
		for _, i := range rest {
			if out[i] = whole; whole == finding.None {
				out[i] = p.Of[neighbour(p, i, clear, largest)].Kind
			}
		}
	}
	return out
}

// possible tells whether a place allows a subtype. Blood in a ventricle lies deep, and liquor is beside it, or liquor or blood
// opposite to it, or some of both; what is most of a clot, or large, needs less of that. Epidural blood touches the inner table,
// subdural blood that or the falx. Subarachnoid blood is no ball. What lies along the inner table with most of its volume is not in
// the brain. share is the part's of its clot.
func possible(s finding.Subtype, at bleed.Signs, share float64) bool {
	switch s {
	case finding.IPH:
		return at.Table < 0.6
	case finding.IVH:
		opposite := 0.7
		if share >= 0.5 || at.ML >= 5 {
			opposite = 0.5
		}
		both := at.Opposite >= 0.4 && at.Liquor >= 0.1
		return at.DepthMM >= 12 && (at.Opposite >= opposite || at.Liquor >= 0.2 || both)
	case finding.SAH:
		return at.ThicknessMM < ballMM*math.Cbrt(at.ML)
	case finding.SDH:
		return at.Table >= 0.05 || at.Falx >= 0.05
	case finding.EDH:
		return at.Table >= 0.1
	}
	return true
}

// asWhole is the subtype with most volume in a clot among those that are possible there.
func asWhole(p *bleed.Parts, clot int, own []int) finding.Subtype {
	var ml [len(finding.Kinds) + 1]float64
	for _, i := range own {
		ml[p.Of[i].Kind] += p.Of[i].Signs.ML
	}
	best := finding.None
	for _, s := range finding.Subtypes {
		if ml[s] > 0 && possible(s, p.Clots[clot], 1) && (best == finding.None || ml[s] > ml[best]) {
			best = s
		}
	}
	switch {
	case best != finding.None:
		return best
	case p.Clots[clot].DepthMM >= 10:
		return finding.IPH
	}
	return finding.SDH
}

// neighbour is the clear part that part i touches most; the largest where it touches none.
func neighbour(p *bleed.Parts, i int, clear []int, largest int) int {
	best, most := largest, 0.0
	for _, j := range clear {
		if n := p.Contact[[2]int{min(i, j), max(i, j)}]; n > most {
			best, most = j, n
		}
	}
	return best
}
