package pipeline

import (
	"context"
	"errors"

	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/patient"
	"ichor/pipeline/selection"
)

// Select chooses the series as Analyze does, including the check that its pixels show a head. It needs no networks. The finding
// has the candidates, and the chosen series with its warnings, or why there is none.
func Select(ctx context.Context, study Study, d Decoder, o selection.Options) (finding.Finding, error) {
	r := &running{Analysis: analysis.Analysis{Finding: finding.Finding{Status: finding.Analyzed, Disclaimer: finding.Disclaimer, Study: finding.Study{StudyInstanceUID: study.UID}}}}
	err := func() error {
		in, err := readStudy(ctx, study, o, r)
		if err != nil {
			return err
		}
		if err := patient.One(in.headers); err != nil {
			return err
		}
		choice, err := choose(in, o, r)
		if err != nil {
			return err
		}
		_, err = build(ctx, in, choice, d, r)
		return err
	}()
	if refusal := new(finding.Refusal); errors.As(err, &refusal) {
		r.refuse(refusal)
		err = nil
	}
	return r.Finding, err
}
