package measure

import (
	"math"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// vault is the cavity of an average head in head coordinates: a dome above the floor, which lies 32 mm deeper behind than
// in front.
func vault(h volume.Vec) bool {
	floor := -45.0
	if h[1] < 0 {
		floor = -5
	}
	return math.Hypot(math.Hypot(h[0]/66, h[1]/84), (h[2]-18)/77) <= 1 && h[2] > floor
}

// headGrid is a stack whose rows and columns run along the given directions; turned by pitch, in radians, is the head.
func headGrid(alongRow, alongColumn volume.Vec) *volume.Grid {
	return turned(74, 74, [2]float64{3, 3}, alongRow, alongColumn, 0, even(36, 5)...)
}

// draw fills cavity and a ball in head coordinates, chin up by pitch radians.
func draw(g *volume.Grid, pitch float64, s finding.Subtype, at volume.Vec, radius float64) (labels, cavity *volume.Mask) {
	labels, cavity = volume.NewMask(g), volume.NewMask(g)
	sin, cos := math.Sincos(pitch)
	for k := range g.Slices() {
		for i := range g.Rows * g.Columns {
			p := g.Point(k, float64(i/g.Columns), float64(i%g.Columns))
			p[2] -= 18
			h := volume.Vec{p[0], p[1]*cos - p[2]*sin, p[1]*sin + p[2]*cos + 18}
			if !vault(h) {
				continue
			}
			cavity.Slice(k)[i] = 1
			if h.Sub(at).Length() <= radius {
				labels.Slice(k)[i] = uint8(s)
			}
		}
	}
	return labels, cavity
}

func TestPosition(t *testing.T) {
	head := volume.Vec{1, 0, 0}
	for _, c := range []struct {
		name   string
		s      finding.Subtype
		at     volume.Vec
		radius float64
		pitch  float64
		want   string
	}{
		{"left frontal", finding.IPH, volume.Vec{30, -50, 45}, 10, 0, "left frontal, supratentorial"},
		{"right frontal", finding.IPH, volume.Vec{-30, -50, 45}, 10, 0, "right frontal, supratentorial"},
		{"chin up", finding.IPH, volume.Vec{30, -50, 45}, 10, 0.2, "left frontal, supratentorial"},
		{"chin down", finding.IPH, volume.Vec{-30, 30, 68}, 10, -0.2, "right parietal, supratentorial"},
		{"deep", finding.IPH, volume.Vec{19, -3, 20}, 10, 0, "left basal ganglia or thalamus, supratentorial"},
		{"cerebellum", finding.IPH, volume.Vec{-25, 45, -28}, 10, 0, "right posterior fossa, infratentorial"},
		{"temporal", finding.IPH, volume.Vec{45, -4, -7}, 9, 0, "left temporal, supratentorial"},
		{"over the brain", finding.SDH, volume.Vec{-52, -40, 50}, 14, 0, "over the right frontal convexity, supratentorial"},
		{"blood over the brain is not in the nuclei", finding.SAH, volume.Vec{20, -6, 24}, 9, 0, "left, supratentorial"},
		{"thalamus beside the third ventricle", finding.IPH, volume.Vec{10, 0, 18}, 4, 0, "left basal ganglia or thalamus"},
		{"both sides of the third ventricle", finding.IPH, volume.Vec{0, 0, 18}, 8, 0, "basal ganglia or thalamus at the midline"},
		{"body of the left ventricle", finding.IVH, volume.Vec{11, 2, 40}, 5, 0, "left lateral ventricle"},
		{"frontal horn of the left ventricle", finding.IVH, volume.Vec{8, -24, 34}, 5, 0, "left lateral ventricle"},
		{"frontal horn of the right ventricle", finding.IVH, volume.Vec{-8, -24, 34}, 5, 0, "right lateral ventricle"},
		{"occipital horn", finding.IVH, volume.Vec{-22, 40, 28}, 6, 0, "right lateral ventricle"},
		{"temporal horn", finding.IVH, volume.Vec{32, 4, 2}, 5, 0, "left lateral ventricle"},
		{"both lateral ventricles", finding.IVH, volume.Vec{0, 0, 42}, 15, 0, "lateral ventricle on both sides"},
		{"third ventricle", finding.IVH, volume.Vec{0, 0, 18}, 5, 0, "third ventricle, midline"},
		{"fourth ventricle", finding.IVH, volume.Vec{0, 34, -18}, 6, 0, "fourth ventricle, midline"},
		{"between two regions", finding.IPH, volume.Vec{30, 10, 62}, 8, 0, "left frontal, supratentorial"},
		{"side of a lesion near the midline", finding.IPH, volume.Vec{14, -50, 45}, 12, 0, "left frontal, supratentorial"},
		{"across the midline", finding.IPH, volume.Vec{0, -50, 45}, 20, 0, "frontal on both sides, supratentorial"},
		{"falx", finding.SDH, volume.Vec{3, -20, 70}, 6, 0, "along the falx, midline"},
		{"tentorium", finding.SDH, volume.Vec{-25, 30, 9}, 7, 0, "along the tentorium, right"},
		{"cisterns", finding.SAH, volume.Vec{1, -6, 2}, 9, 0, "basal cisterns, midline"},
		{"fissure", finding.SAH, volume.Vec{-38, 0, 12}, 8, 0, "Sylvian fissure, right"},
		{"sulci", finding.SAH, volume.Vec{-30, -50, 45}, 10, 0, "right frontal sulci, supratentorial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for view, axes := range map[string][2]volume.Vec{
				"supine": {head, {0, 1, 0}}, "mirrored": {head.Scale(-1), {0, 1, 0}}, "prone": {head.Scale(-1), {0, -1, 0}}, "lying on the side": {{0, 1, 0}, head},
			} {
				if view != "supine" && !strings.HasSuffix(c.name, "frontal") {
					continue
				}
				g := headGrid(axes[0], axes[1])
				labels, cavity := draw(g, c.pitch, c.s, c.at, c.radius)
				got := Lesions(labels, nil, cavity, g, MinLesionML)
				if len(got) != 1 || got[0].Position != c.want {
					t.Fatalf("%s: %q, want %q", view, got[0].Position, c.want)
				}
				if !strings.Contains(c.want, string(got[0].Side)) || got[0].Side == "" || len(got[0].Sites) > 0 && !strings.Contains(c.want, got[0].Sites[0]) || len(got[0].Sites) == 0 && c.want != "left, supratentorial" {
					t.Errorf("%s: side %q, sites %q of %q", view, got[0].Side, got[0].Sites, c.want)
				}
			}
		})
	}
}

// A scan that leaves out the top or the floor, or shows hardly any cavity, tells the side and no more.
func TestPositionOfAPart(t *testing.T) {
	g := headGrid(volume.Vec{1, 0, 0}, volume.Vec{0, 1, 0})
	labels, cavity := draw(g, 0, finding.IPH, volume.Vec{30, -50, 45}, 10)
	for name, cut := range map[string][2]int{"no top": {0, 30}, "no floor": {18, 37}} {
		part := *g
		part.Origins, part.SupportMM = g.Origins[cut[0]:cut[1]], g.SupportMM[cut[0]:cut[1]]
		n := g.Rows * g.Columns
		of := func(m *volume.Mask) *volume.Mask {
			return &volume.Mask{Rows: m.Rows, Columns: m.Columns, Voxels: m.Voxels[cut[0]*n : cut[1]*n]}
		}
		got := Lesions(of(labels), nil, of(cavity), &part, MinLesionML)
		if len(got) != 1 || got[0].Position != "left" {
			t.Errorf("%s: %+v, want the side alone", name, got)
		}
	}
	for _, l := range Lesions(labels, nil, volume.NewMask(g), g, MinLesionML) {
		if strings.ContainsAny(l.Position, ",") {
			t.Errorf("no cavity, yet %q", l.Position)
		}
	}
}
