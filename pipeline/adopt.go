package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/volume"
)

// ErrForeign is returned by Adopt for a result that does not belong to the study as this machine reads it.
var ErrForeign = errors.New("the result is not of this study")

// Elsewhere is what another machine found in a study, without the voxels of the study itself.
type Elsewhere struct {
	Finding finding.Finding
	Sources []volume.Source // of each slice of the masks; none for a refusal
	Labels  []uint8         // see analysis.Analysis
	Cavity  []uint8
}

// ElsewhereOf returns what another machine needs to adopt a.
func ElsewhereOf(a *analysis.Analysis) Elsewhere {
	e := Elsewhere{Finding: a.Finding}
	if a.Volume != nil {
		e.Sources, e.Labels, e.Cavity = a.Volume.Sources, a.Labels.Voxels, a.Cavity.Voxels
	}
	return e
}

// Adopt returns the analysis of a study from a result of another machine. It reads the study again, which costs little beside the
// networks, and returns ErrForeign if the result has other settings, another bundle, or masks of other slices.
func (a *Analyzer) Adopt(ctx context.Context, study Study, e Elsewhere) (*analysis.Analysis, error) {
	return a.conclude(ctx, study, func(ctx context.Context, study Study, r *running) error {
		if e.Finding.Bundle.Digest != r.Finding.Bundle.Digest || !maps.Equal(e.Finding.Parameters, r.Finding.Parameters) ||
			e.Finding.Study.StudyInstanceUID != study.UID {
			return fmt.Errorf("bundle, settings or study differ: %w", ErrForeign)
		}
		if err := a.read(ctx, study, r); err != nil {
			return err
		}
		found := e.Finding
		found.Complete = study.Complete
		if found.Status == finding.Refused {
			r.Finding, r.Volume = found, nil
			return nil
		}
		n := r.Volume.Rows * r.Volume.Columns * r.Volume.Slices()
		if !slices.Equal(e.Sources, r.Volume.Sources) || len(e.Labels) != n || len(e.Cavity) != n {
			return fmt.Errorf("%d slices with masks of %d and %d voxels, the series has %d slices with %d: %w", len(e.Sources), len(e.Labels), len(e.Cavity),
				r.Volume.Slices(), n, ErrForeign)
		}
		r.Finding = found
		mask := func(voxels []uint8) *volume.Mask {
			return &volume.Mask{Rows: r.Volume.Rows, Columns: r.Volume.Columns, Voxels: voxels}
		}
		r.Labels, r.Cavity = mask(e.Labels), mask(e.Cavity)
		return nil
	})
}
