package node

import (
	"testing"

	"ichor/config"
	"ichor/pipeline/finding"
)

func TestIsReported(t *testing.T) {
	refused := func(modalities ...string) finding.Finding {
		f := finding.Finding{Status: finding.Refused}
		for _, m := range modalities {
			f.Candidates = append(f.Candidates, finding.Candidate{Modality: m})
		}
		return f
	}
	for _, c := range []struct {
		name          string
		f             finding.Finding
		ct, all, none bool
	}{
		{"analyzed", finding.Finding{Status: finding.Analyzed}, true, true, true},
		{"chest CT", refused("CT"), true, true, false},
		{"CT with its dose report", refused("SR", "CT"), true, true, false},
		{"ultrasound", refused("US", "SR"), false, true, false},
		{"all files damaged", refused(), true, true, false},
	} {
		for mode, want := range map[string]bool{config.RefusalsCT: c.ct, config.RefusalsAll: c.all, config.RefusalsNone: c.none} {
			if got := isReported(c.f, mode); got != want {
				t.Errorf("%s, refusals %s: %v", c.name, mode, got)
			}
		}
	}
}
