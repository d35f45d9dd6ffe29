package main

import (
	"net/http"
	"strings"
	"testing"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/state"
	"ichor/reporting/events"
)

// TestCanary: the self-test passes through the whole node, reaches no PACS, and leaves neither study nor case; a failure is an
// alarm, and the node is not ready until a self-test passes.
func TestCanary(t *testing.T) {
	pacs := startPACS(t)
	c := toPACS(t, pacs)
	c.DICOM.Peers = []config.Peer{{AETitle: "CT1", Addresses: []string{"10.0.0.1"}}} // the canary is let in all the same
	c.Assembly.QuietPeriod *= 200                                                    // its objects are counted, so it does not wait for silence
	n := startNode(t, c)
	ichor := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := command(t, append(args, "--http", n.HTTPAddr())...)
		if code != want {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
		return out + errs
	}
	if out := ichor(0, "canary"); !strings.Contains(out, "passed in") || !strings.Contains(out, "mL true") {
		t.Error(out)
	}
	if cases, err := n.State().Cases(10); err != nil || len(cases) != 0 {
		t.Errorf("cases are left: %+v, %v", cases, err)
	}
	if got := pacs.Objects(); len(got) != 0 {
		t.Errorf("the PACS got %d objects", len(got))
	}
	if letters, err := n.State().DeadLetters(); err != nil || len(letters) != 0 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
	good := n.Engine().Analyzer
	n.Engine().Analyzer = nil // panics, which the queue takes for a failure
	if out := ichor(1, "canary"); !strings.Contains(out, "the analysis failed") {
		t.Error(out)
	}
	answer, err := http.Get("http://" + n.HTTPAddr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready after a failed self-test: %d", answer.StatusCode)
	}
	if out := ichor(0, "status"); !strings.Contains(out, "NOT READY: self-test: the analysis failed") || !strings.Contains(out, "critical  canary: ") {
		t.Error(out)
	}
	n.Engine().Analyzer = good
	ichor(0, "canary")
	if err := n.Ready(); err != nil {
		t.Error(err)
	}
	outcomes := map[string]int{}
	if err := events.Read(node.EventsDir(c), 0, func(e events.Event) error {
		if e.Kind == events.Canary {
			outcomes[e.Outcome]++
		}
		return nil
	}); err != nil || outcomes["passed"] != 2 || outcomes["failed"] != 1 {
		t.Errorf("%v, %v", outcomes, err)
	}
}

// TestCanaryToTestPACS: its results reach a destination that canary.deliver names, and no other.
func TestCanaryToTestPACS(t *testing.T) {
	pacs, test := startPACS(t), startPACS(t)
	c := toPACS(t, pacs)
	c.Destinations = append(c.Destinations, config.Destination{Name: "test", Address: test.Address(), AETitle: "PACS"})
	c.Canary.Deliver = []string{"test"}
	n := startNode(t, c)
	if r, err := n.Canary(t.Context()); err != nil || !r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := test.Wait(within(t), 4); err != nil {
		t.Fatal(err)
	}
	if got := pacs.Objects(); len(got) != 0 {
		t.Errorf("the other PACS got %d objects", len(got))
	}
	dir, _ := sampleStudy(t, "normal") // and a patient's results go to both, and to no canary
	id := state.IDOf(send(t, n.Addr(), dir)[0].StudyInstanceUID)
	if _, err := delivered(within(t), n.State(), id, func() {}); err != nil {
		t.Fatal(err)
	}
	all, err := n.State().Deliveries(id)
	if err != nil || len(all) != 4 {
		t.Errorf("%d deliveries, %v", len(all), err)
	}
}
