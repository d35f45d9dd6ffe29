package pipeline

import (
	"errors"
	"reflect"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/volume"
)

// TestAdopt: a result that was computed elsewhere becomes the same analysis as one computed here; the networks do not run.
func TestAdopt(t *testing.T) {
	t.Parallel()
	in := study(t, synthetic.Head(shape()), nil)
	want, err := analyzer().Analyze(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	idle := analyzer()
	idle.o.CavityTissue, idle.o.CavityBone, idle.o.Bleed = nil, nil, nil
	in.Complete = "count 20"
	got, err := idle.Adopt(t.Context(), in, ElsewhereOf(want))
	if err != nil {
		t.Fatal(err)
	}
	if got.Finding.Complete != "count 20" {
		t.Errorf("complete %q, want that of the job", got.Finding.Complete)
	}
	got.Finding.Complete = want.Finding.Complete
	if !reflect.DeepEqual(got.Finding, want.Finding) || !reflect.DeepEqual(got.Labels, want.Labels) || !reflect.DeepEqual(got.Cavity, want.Cavity) ||
		!reflect.DeepEqual(got.Volume, want.Volume) || !reflect.DeepEqual(got.Header, want.Header) {
		t.Error("not the same analysis")
	}
	for name, spoil := range map[string]func(*Elsewhere){
		"another bundle":   func(e *Elsewhere) { e.Finding.Bundle.Digest = "0" },
		"other settings":   func(e *Elsewhere) { e.Finding.Parameters = map[string]string{"bleed_threshold": "0.4"} },
		"another study":    func(e *Elsewhere) { e.Finding.Study.StudyInstanceUID = "1.2" },
		"other slices":     func(e *Elsewhere) { e.Sources = append([]volume.Source{e.Sources[1]}, e.Sources[1:]...) },
		"too small a mask": func(e *Elsewhere) { e.Labels = e.Labels[1:] },
		"no mask":          func(e *Elsewhere) { e.Cavity = nil },
	} {
		e := ElsewhereOf(want)
		spoil(&e)
		if _, err := idle.Adopt(t.Context(), in, e); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
	}
	refused := Elsewhere{Finding: want.Finding}
	refused.Finding.Status, refused.Finding.Code = finding.Refused, finding.Metal
	if got, err := idle.Adopt(t.Context(), in, refused); err != nil || got.Finding.Code != finding.Metal || got.Volume != nil || got.Header == nil {
		t.Errorf("refused elsewhere: %+v, error %v", got, err)
	}
	short := in
	short.Objects = in.Objects[:3]
	if got, err := idle.Adopt(t.Context(), short, ElsewhereOf(want)); err != nil || got.Finding.Status != finding.Refused {
		t.Errorf("refused here: %+v, error %v", got, err)
	}
}
