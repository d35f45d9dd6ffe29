package main

import (
	"strings"
	"testing"

	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/web"
)

// A case that failed, or is analysed again, is not told as if its former result stood.
func TestStatusOfFormerResult(t *testing.T) {
	volumes := &finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{Total: 12.3}, Series: &finding.Series{}}
	refused := &finding.Finding{Status: finding.Refused, Code: finding.Child, Reason: "too young"}
	cases := []state.Case{
		{ID: "a", Phase: state.Failed, Error: "no memory left", Finding: refused},
		{ID: "b", Phase: state.Queued, Finding: volumes},
	}
	var list, detail strings.Builder
	if err := printCases(&list, cases); err != nil {
		t.Fatal(err)
	}
	if s := list.String(); strings.Contains(s, "too young") || strings.Contains(s, "12.3") || !strings.Contains(s, "no memory left") {
		t.Errorf("listed as\n%s", s)
	}
	if err := printDetail(&detail, web.Detail{Case: cases[0]}); err != nil {
		t.Fatal(err)
	}
	if s := detail.String(); !strings.Contains(s, "no memory left. The result below is from an earlier revision.") {
		t.Errorf("told as\n%s", s)
	}
}
