package bundle

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// evidence is the JSON of a valid post.evidence.
func evidence() object {
	weights, points := object{}, object{}
	for i, name := range Signs {
		weights[name] = float64(i) / 10
	}
	for i, name := range OperatingPoints {
		points[string(name)] = object{"cut": 0.2 + 0.3*float64(i), "sensitivity": 0.9, "false_ml": 0.1, "heads": 60}
	}
	return object{"intercept": -1.5, "weights": weights, "always_ml": 5.0, "operating_points": points}
}

// withEvidence gives the bleed network evidence, after edit has had its post.
func withEvidence(t *testing.T, edit func(post, evidence object)) string {
	return write(t, func(_ string, m object) {
		for _, v := range m["networks"].([]any) {
			if n := v.(object); n["role"] == string(Bleed) {
				e := evidence()
				post := object{"min_component_ml": 0.1, "subtype_per": "anatomy", "evidence": e}
				if edit != nil {
					edit(post, e)
				}
				n["post"] = post
			}
		}
	})
}

func TestOperatingPoints(t *testing.T) {
	b, err := Open(withEvidence(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]bool{}
	for i, p := range OperatingPoints {
		at, err := b.At(p)
		if err != nil {
			t.Fatal(err)
		}
		n := at.Network(Bleed)
		cut := 0.2 + 0.3*float64(i)
		if n.OperatingPoint() != p || math.Abs(n.Cut()-math.Log(cut/(1-cut))) > 1e-12 {
			t.Errorf("%s: point %s, cut %g", p, n.OperatingPoint(), n.Cut())
		}
		digests[at.Digest] = true
	}
	if len(digests) != len(OperatingPoints) {
		t.Errorf("results of three operating points share UIDs: %v", digests)
	}
	if balanced, err := b.At(Balanced); err != nil || balanced.Digest != b.Digest || b.Network(Bleed).OperatingPoint() != Balanced {
		t.Errorf("the balanced point is not that of the bundle: %v", err)
	}
	if _, err := b.At("keen"); err == nil || !strings.Contains(err.Error(), "analysis.operating_point") {
		t.Errorf("%v", err)
	}
	var ones [len(Signs)]float64
	for i := range ones {
		ones[i] = 1
	}
	if got := b.Network(Bleed).Post.Evidence.Of(ones); math.Abs(got-(4.5-1.5)) > 1e-12 {
		t.Errorf("evidence %g, want 3", got)
	}
}

func TestOperatingPointsNeedEvidence(t *testing.T) {
	b, err := Open(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := b.At(Balanced); err != nil || same.Digest != b.Digest || same.Network(Bleed).OperatingPoint() != "" {
		t.Errorf("%v", err)
	}
	if _, err := b.At(Specific); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "analysis.operating_point to balanced") {
		t.Errorf("%v", err)
	}
}

func TestEvidenceIsRefused(t *testing.T) {
	point := func(e object, name string) object { return e["operating_points"].(object)[name].(object) }
	for _, c := range []struct {
		name, field string
		edit        func(post, e object)
	}{
		{"a weight is missing", "post.evidence.weights.falx", func(_, e object) { delete(e["weights"].(object), "falx") }},
		{"an unknown weight", "post.evidence.weights", func(_, e object) { e["weights"].(object)["age"] = 1.0 }},
		{"a weight beyond reason", "post.evidence.weights.mean", func(_, e object) { e["weights"].(object)["mean"] = 1e9 }},
		{"large clots might be dropped", "post.evidence.always_ml", func(_, e object) { e["always_ml"] = 6.0 }},
		{"a point is missing", "post.evidence.operating_points", func(_, e object) { delete(e["operating_points"].(object), "specific") }},
		{"a cut of 1", "post.evidence.operating_points.specific.cut", func(_, e object) { point(e, "specific")["cut"] = 1.0 }},
		{"cuts out of order", "post.evidence.operating_points.balanced.cut", func(_, e object) { point(e, "balanced")["cut"] = 0.1 }},
		{"an impossible figure", "post.evidence.operating_points.balanced", func(_, e object) { point(e, "balanced")["sensitivity"] = 1.2 }},
		{"two rules at once", "post.evidence", func(post, _ object) { post["sure_threshold"] = 0.75 }},
		{"names without anatomy", "post.evidence", func(post, _ object) { post["subtype_per"] = "voxel" }},
		{"anatomy and opening", "post.opening_mm", func(post, _ object) { delete(post, "evidence"); post["opening_mm"] = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(withEvidence(t, c.edit))
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.field+" ") {
				t.Errorf("%v, want a refusal that names %s", err, c.field)
			}
		})
	}
}
