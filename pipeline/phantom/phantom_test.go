package phantom

import (
	"math"
	"testing"

	"ichor/pipeline/finding"
)

func TestShippedStudies(t *testing.T) {
	infos, err := List()
	if err != nil {
		t.Fatal(err)
	}
	bleeds := map[bool]int{}
	for _, info := range infos {
		t.Run(info.Name, func(t *testing.T) {
			s, err := Load(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			bleeds[info.TruthML.Total > 0]++
			g := s.Grid()
			labels, cavity := s.Truth()
			sum := 0.0
			for _, sub := range finding.Subtypes {
				ml := 0.0
				for k := range labels.Slices() {
					for _, l := range labels.Slice(k) {
						if l == uint8(sub) {
							ml += g.VoxelML(k)
						}
					}
				}
				sum += ml
				if math.Abs(ml-info.TruthML.Of(sub)) > 0.01 {
					t.Errorf("%s: %v mL in the labels, study.json says %v", sub, ml, info.TruthML.Of(sub))
				}
			}
			if math.Abs(sum-info.TruthML.Total) > 0.01 || math.Abs(cavity.VolumeML(&g)-info.CavityML) > 0.1 {
				t.Errorf("total %v and cavity %v mL, study.json says %v and %v", sum, cavity.VolumeML(&g), info.TruthML.Total, info.CavityML)
			}
			for i, hu := range s.HU {
				if hu < -1024 || hu > 3071 {
					t.Fatalf("voxel %d has %d HU", i, hu)
				}
			}
		})
	}
	if bleeds[true] == 0 || bleeds[false] == 0 {
		t.Errorf("studies with and without hemorrhage: %v", bleeds)
	}
	if _, err := Load("../phantom"); err == nil {
		t.Error("a study of no such name was loaded")
	}
}
