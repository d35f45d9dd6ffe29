package main

import (
	"testing"

	"ichor/pipeline/finding"
)

// TestTruthSets: which file of a set is a mask, of which scan, and what its values are.
func TestTruthSets(t *testing.T) {
	t.Parallel()
	sets := map[string]truthSet{}
	for _, s := range truthSets() {
		sets[s.name] = s
	}
	for _, c := range []struct {
		set, path, key string
		mask           bool
	}{
		{"seg-cq500", "data/volumes/CQ500-CT-17/ICH_mask.nii.gz", "CQ500-CT-17", true},
		{"seg-cq500", "data/volumes/CQ500-CT-17/CT.nii", "CQ500-CT-17", false},
		{"seg-cq500", "data/volumes/CQ500CT17 CQ500CT17/ICH_mask.nii", "", true},
		{"hssayeni", "masks/049.nii", "49", true},
		{"hssayeni", "ct_scans/049.nii", "49", false},
		{"hssayeni", "masks/notes.nii", "", true},
		{"bhsd", "label_192/ground truths/ID_0219ef88_ID_e5d4b4ad3c.nii.gz", "ID_0219ef88_ID_e5d4b4ad3c", true},
		{"bhsd", "label_192/images/ID_0219ef88_ID_e5d4b4ad3c.nii.gz", "ID_0219ef88_ID_e5d4b4ad3c", false},
		{"instance", "train_2/label/001.nii.gz", "1", true},
		{"instance", "train_2/data/001.nii.gz", "1", false},
		{"instance", "train_2/label/000.nii.gz", "0", true},
		{"plain", "masks/head1.nii.gz", "head1", true},
		{"plain", "imagesTr/head1_0000.nii.gz", "head1", true},
	} {
		s := sets[c.set]
		if s.key(c.path) != c.key || s.isMask(c.path) != c.mask {
			t.Errorf("%s of %s: scan %q, a mask: %v", c.path, c.set, s.key(c.path), s.isMask(c.path))
		}
	}
	for _, c := range []struct {
		set    string
		values [6]finding.Subtype // of 1, 2, 3, 4, 5, 6
	}{
		{"seg-cq500", [6]finding.Subtype{finding.ICH, finding.ICH, finding.ICH, finding.ICH, finding.ICH, finding.ICH}},
		{"bhsd", [6]finding.Subtype{finding.EDH, finding.IPH, finding.IVH, finding.SAH, finding.SDH, finding.None}},
	} {
		s := sets[c.set]
		for i, want := range c.values {
			if got := s.label(int16(i + 1)); got != uint8(want) {
				t.Errorf("%s: value %d is %d, want %v", c.set, i+1, got, want)
			}
		}
		if s.label(0) != 0 || s.label(-1) != 0 {
			t.Errorf("%s: the background is blood", c.set)
		}
	}
}
