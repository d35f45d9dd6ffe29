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
	if s := detail.String(); !strings.Contains(s, "no memory left. What follows is the result of an earlier revision.") {
		t.Errorf("told as\n%s", s)
	}
}

// TestStatusCountsDuplicates: what a destination said to have already is counted, as it was not sent.
func TestStatusCountsDuplicates(t *testing.T) {
	stored := func(destination string, cause state.Cause) state.Delivery {
		return state.Delivery{DeliveryKey: state.DeliveryKey{Destination: destination}, State: state.Stored, Cause: cause}
	}
	d := web.Detail{Deliveries: []state.Delivery{stored("A", state.Present), stored("A", ""), stored("A", state.Present), stored("B", "")}}
	var b strings.Builder
	if err := printDetail(&b, d); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "A answered for 2 objects that it has them already (0111H)") || strings.Contains(s, "B answered") {
		t.Errorf("told as\n%s", s)
	}
}

// TestStatusOfPeers: a sender whose pauses are learnt has a quiet period of its own, a new one that of the configuration.
func TestStatusOfPeers(t *testing.T) {
	var b strings.Builder
	err := printPeers(&b, []web.Sender{{AETitle: "CT1", Studies: 40, Late: 1, LongestPauseS: 8.04, QuietPeriodS: 12.5, Learnt: true}, {AETitle: "CT2", Studies: 3, QuietPeriodS: 30}})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"quiet period", "8.0 s          12.5 s", "30 s (as configured, too few studies yet)"} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d: %q, want ... %q", i, lines[i], want)
		}
	}
}
