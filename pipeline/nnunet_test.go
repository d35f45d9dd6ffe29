package pipeline

import (
	"context"
	"testing"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
)

// patches is a network of nnU-Net with one class: blood from 50 to 80 HU, which are 1 to 2.5 after normalisation.
type patches struct{}

func (patches) Run(_ context.Context, input []float32, batch int) ([]float32, error) {
	n := len(input) / batch
	out := make([]float32, 2*len(input))
	for b := range batch {
		for i, x := range input[b*n : (b+1)*n] {
			out[(2*b+1)*n+i] = 20*step01(x > 1 && x < 2.5) - 10
		}
	}
	return out, nil
}

// TestAnalyzeWithNNUNet: nnU-Net finds the blood, inside the cavity only; our network names it if the bundle has one.
func TestAnalyzeWithNNUNet(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{false, true} {
		a := analyzer()
		ours := *a.o.Bundle.Network(bundle.Bleed)
		n := a.o.Bundle.Network(bundle.Bleed)
		n.NNUNet = &bundle.NNUNet{Configuration: "3d_fullres", SpacingMM: [3]float64{5, 2, 2}, Mean: 30, Std: 20, Orientation: "LPS", MirrorAxes: []int{2}}
		n.Input = bundle.Input{Shape: []int64{-1, 1, 8, 48, 48}, WindowHU: [2]float64{-20, 120}}
		n.Output.Channels, n.Post = []string{"background", "any"}, bundle.Post{MinComponentML: 0.3}
		a.o.NNUNet = []Net{patches{}, patches{}}
		if named {
			n.Output.Channels, n.Post.SubtypePer = []string{"background", "IPH"}, "component" // as if a network of role subtype were there
			ours.Role = bundle.Subtype
			a.o.Bundle.Networks = append(a.o.Bundle.Networks, ours)
			a.o.Subtype = a.o.Bleed
		}
		a.o.Bleed = nil
		done := 0
		a.o.Progress = func(n, total int) { done = n }
		s := synthetic.Head(shape())
		r, err := a.Analyze(t.Context(), study(t, s, nil))
		if err != nil {
			t.Fatal(err)
		}
		f := r.Finding
		near(t, "total", f.Volumes.Total, s.TruthML.Total, 0.1)
		for i, l := range r.Labels.Voxels {
			if l != 0 && r.Cavity.Voxels[i] == 0 {
				t.Fatal("blood outside the cavity")
			}
		}
		if done == 0 || f.Parameters["nnunet_configuration"] != "3d_fullres" {
			t.Errorf("%d patches told, parameters %v", done, f.Parameters)
		}
		if named {
			if f.Volumes.Untold || f.Volumes.IPH == 0 || f.Volumes.SDH == 0 {
				t.Errorf("volumes %+v", f.Volumes)
			}
		} else if !f.Volumes.Untold || len(f.Lesions) == 0 || f.Lesions[0].Subtype != finding.ICH {
			t.Errorf("volumes %+v, lesions %+v", f.Volumes, f.Lesions)
		}
	}
}
