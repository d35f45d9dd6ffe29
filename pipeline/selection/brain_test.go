package selection

import (
	"errors"
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// TestBrain: values of another offset or slope are refused by what lies inside the skull; a scanner that is a few HU off is not.
func TestBrain(t *testing.T) {
	t.Parallel()
	s := synthetic.Head(synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, RadiusMM: 30}}}) // 32 HU, blood of 65
	for _, c := range []struct {
		name    string
		f       func(hu int) int
		warning string
		refused bool
	}{
		{"unchanged", func(hu int) int { return hu }, "", false},
		{"8 HU lower", func(hu int) int { return hu - 8 }, "", false},
		{"8 HU higher", func(hu int) int { return hu + 8 }, "", false},
		{"as at birth", func(hu int) int { return hu - 18 }, "inside the skull is 14 HU", false},
		{"with contrast agent", func(hu int) int { return hu + 15 }, "inside the skull is 47 HU", false},
		{"24 HU higher", func(hu int) int { return hu + 24 }, "inside the skull is 56 HU", true},
		{"40 HU higher", func(hu int) int { return hu + 40 }, "inside the skull is 72 HU", true},
		{"24 HU lower", func(hu int) int { return hu - 24 }, "inside the skull is 8 HU", true},
		{"40 HU lower", func(hu int) int { return hu - 40 }, "inside the skull is -8 HU", true},
		{"slope 2", func(hu int) int { return 2 * hu }, "inside the skull is 65 HU", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := &volume.Volume{Grid: s.Grid()}
			for _, hu := range s.HU {
				v.HU = append(v.HU, int16(max(c.f(int(hu)), volume.AirHU)))
			}
			warnings, err := CheckHead(v, true)
			if refusal := new(finding.Refusal); c.refused {
				if !errors.As(err, &refusal) || refusal.Code != finding.NotHounsfield || !strings.Contains(refusal.Reason, c.warning) {
					t.Fatalf("got %v, warnings %q; want a refusal that says %q", err, warnings, c.warning)
				}
				return
			}
			if err != nil || (c.warning == "") != (len(warnings) == 0) || c.warning != "" && !strings.Contains(warnings[0], c.warning) {
				t.Errorf("warnings %q, %v; want %q", warnings, err, c.warning)
			}
		})
	}
}
