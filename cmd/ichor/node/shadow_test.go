package node

import (
	"math"
	"testing"

	"ichor/pipeline/finding"
)

func TestAgree(t *testing.T) {
	half := 0.5
	volumes := func(ml float64) *finding.Volumes { return &finding.Volumes{Total: ml} }
	a := Agree([]Compared{
		{Status: finding.Analyzed, Other: finding.Analyzed, Found: volumes(10), Would: volumes(12), Dice: &half},
		{Status: finding.Analyzed, Other: finding.Analyzed, Found: volumes(0), Would: volumes(4)},
		{Status: finding.Analyzed, Other: finding.Analyzed, Found: volumes(3), Would: volumes(0)},
		{Status: finding.Analyzed, Other: finding.Refused, Found: volumes(3)},
		{Status: finding.Analyzed, Error: "panic"},
	})
	if a.Studies != 5 || a.Failed != 1 || a.SameStatus != 3 || a.BothBlood != 1 || a.OnlyInUse != 1 || a.OnlyShadow != 1 || a.BiasML != 1 || a.MedianDice != 0.5 {
		t.Errorf("%+v", a)
	}
	if spread := 1.96 * math.Sqrt(13); math.Abs(a.LimitsML[1]-1-spread) > 1e-9 || math.Abs(a.LimitsML[0]-1+spread) > 1e-9 { // of 2, 4 and -3
		t.Errorf("limits %v", a.LimitsML)
	}
}

func TestDice(t *testing.T) {
	if d := dice([]uint8{0, 1, 2, 0}, []uint8{0, 3, 0, 0}); d == nil || math.Abs(*d-2.0/3) > 1e-9 {
		t.Errorf("%v", d)
	}
	if dice([]uint8{0}, []uint8{0}) != nil || dice([]uint8{1}, []uint8{1, 1}) != nil {
		t.Error("nothing to compare has a Dice")
	}
}
