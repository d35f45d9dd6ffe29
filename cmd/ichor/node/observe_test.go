package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/metrics"
	"ichor/reporting/web"
	"ichor/scp"
	"ichor/scp/dcm/codec"
	"ichor/scp/dimse"
	"ichor/scp/receiver"
	"ichor/scp/ul"
)

var update = flag.Bool("update", false, "rewrite docs/operate-metrics.md")

// TestMetricsTable compares docs/operate-metrics.md with what a node declares: names, types and labels change on purpose only.
func TestMetricsTable(t *testing.T) {
	n := &Node{observer: newObserver()}
	n.measure("", "")
	n.measureState()
	families := slices.Clone(n.observer.Families)
	slices.SortFunc(families, func(a, b metrics.Family) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	b.WriteString("# Metrics\n\n" +
		"`/metrics` answers in the text format of Prometheus. The table is written by a test from the declarations:\n" +
		"`go test ./cmd/ichor/node -run TestMetricsTable -update`. Metrics of the process and of the Go runtime\n" +
		"(`process_*`, `go_*`) are there as well. Label values come from the fixed lists in the column Meaning or from the\n" +
		"configuration; none names a patient or a study. A metric that cannot be read is left out.\n\n" +
		"| Name | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, strings.Join(f.Labels, ", "), f.Help)
	}
	path := filepath.Join("..", "..", "..", "docs", "operate-metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != b.String() {
		t.Errorf("%s is not what is declared (error %v); run with -update and read the diff:\n%s", path, err, b.String())
	}
}

// scrape returns what /metrics answers.
func (n *Node) scrape(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	n.web().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// await asks until the answer has all these beginnings of lines; queue and deliveries count a moment later.
func (n *Node) await(t *testing.T, lines ...string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text := n.scrape(t)
		at := slices.IndexFunc(lines, func(l string) bool { return !strings.Contains(text, "\n"+l) })
		if at >= 0 && time.Now().After(deadline) {
			t.Errorf("%s is not in\n%s", lines[at], text)
		}
		if at < 0 || t.Failed() {
			return text
		}
	}
}

// TestMetricsOfOneStudy: a study that is received, refused, and delivered to one of two destinations shows in the metrics.
func TestMetricsOfOneStudy(t *testing.T) {
	const study = "1.2.1"
	pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pacs.Close() })
	n, counted, _ := smallNode(t, t.TempDir(),
		config.Destination{Name: "pacs", Address: pacs.Address(), AETitle: "PACS"},
		config.Destination{Name: "away", Address: "127.0.0.1:1", AETitle: "AWAY"})
	counted.timing = map[string]int64{"read": 40, "selection": 2}
	n.engine.Bundle, n.engine.Decoder = &bundle.Bundle{}, &codec.Decoder{}
	n.engine.Bundle.Name, n.engine.Bundle.Version, n.engine.Bundle.Digest = "heads", "1.2", "sha256:abc"
	n.look()
	if n.server, err = n.newServer(n.spool, sink{n.assembler, n.store, nil, nil}, n.callback); err != nil {
		t.Fatal(err)
	}
	n.deliverer = n.newDeliverer()
	n.measure("9.9", "0123abcd")
	n.measureState()

	n.receive(t, study, 3)
	job := n.queued(t, study, 3)
	if err := n.queue.Submit(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	before := n.await(t, `ichor_queue_jobs{state="waiting"} 1`, `ichor_cases{phase="queued"} 1`, `ichor_oldest_pending_age_seconds{destination="away"} 0`)
	if strings.Contains(before, "\nichor_oldest_job_age_seconds 0\n") {
		t.Error("the job that waits has no age")
	}
	if err := n.analyse(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.deliverer.Run(ctx) }()
	text := n.await(t,
		`ichor_build_info{commit="0123abcd",goversion="go`, `ichor_bundle_info{digest="sha256:abc",name="heads",version="1.2"} 1`,
		`ichor_cases{phase="refused"} 1`, `ichor_case_phases_total{phase="queued"} 1`, `ichor_case_phases_total{phase="refused"} 1`,
		`ichor_refused_studies_total{code="undecodable"} 1`, `ichor_oldest_job_age_seconds 0`,
		`ichor_analysis_seconds_sum{stage="read"} 0.04`, `ichor_analysis_seconds_count{stage="selection"} 1`, `ichor_result_seconds_count 1`,
		`ichor_result_delivered_seconds_count{destination="pacs"} 1`, `ichor_delivery_attempts_total{destination="away",outcome="retry"} `,
		`ichor_deliveries{destination="pacs",state="pending"} 0`, `ichor_oldest_pending_age_seconds{destination="pacs"} 0`,
		`ichor_last_stored_timestamp_seconds{destination="pacs"} 1`, `ichor_destination_up{destination="away"} 0`, `ichor_destination_up{destination="pacs"} 1`,
		`ichor_ready 1`, `ichor_open_associations 0`, `ichor_spool_free_bytes `, `ichor_spool_bytes `, `process_resident_memory_bytes `, `go_goroutines `,
	)
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if regexp.MustCompile(`\nichor_oldest_pending_age_seconds\{destination="away"\} 0\n`).MatchString(text) {
		t.Error("what waits for a destination that is away has no age")
	}
	if strings.Contains(text, "ichor_last_stored_timestamp_seconds{destination=\"away\"}") {
		t.Error("a destination that never stored anything has a last success")
	}
	if strings.Contains(text, study) || strings.Contains(text, string(state.IDOf(study))) {
		t.Errorf("names a study:\n%s", text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestMetricsOfDeadLetters: what is given up is counted by destination and cause, also of a destination that the
// configuration has no longer.
func TestMetricsOfDeadLetters(t *testing.T) {
	dir := t.TempDir()
	t.Run("before", func(t *testing.T) {
		n, _, _ := smallNode(t, dir, config.Destination{Name: "old", Address: "127.0.0.1:1", AETitle: "OLD"})
		n.receive(t, "1.2.1", 3)
		if err := n.analyse(t.Context(), n.queued(t, "1.2.1", 3)); err != nil {
			t.Fatal(err)
		}
		all, err := n.store.Deliveries(state.IDOf("1.2.1"))
		if err != nil || len(all) < 1 {
			t.Fatal(all, err)
		}
		if err := n.store.MarkFailed([]state.Failure{{Key: all[0].DeliveryKey, Dead: true, Cause: state.BadObject}}, now()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		n, _, _ := smallNode(t, dir)
		letters, err := n.DeadLetters(t.Context())
		if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Remedy, "to the configuration again") {
			t.Fatalf("%+v, %v", letters, err)
		}
		if _, err := n.Replay(t.Context(), web.Selection{Groups: []string{letters[0].Group}}); err == nil || !strings.Contains(err.Error(), `destination "old" is not in the configuration`) {
			t.Errorf("replay of what cannot be sent: %v", err)
		}
		if count, err := n.Replay(t.Context(), web.Selection{}); err != nil || count != 0 {
			t.Errorf("replay of all: %d, %v", count, err)
		}
		n.store.Measure(n.observer, nil)
		text := n.scrape(t)
		for _, w := range []string{`ichor_dead_letters{cause="bad object",destination="old"} 1`, `ichor_deliveries{destination="old",state="dead"} 1`,
			`ichor_oldest_pending_age_seconds{destination="old"} `, `ichor_case_phases_total{phase="refused"} 1`} {
			if !strings.Contains(text, "\n"+w) {
				t.Errorf("%s is not in\n%s", w, text)
			}
		}
	})
}

// TestEventsAreCounted: events of reception and of commitments, by reason and status.
func TestEventsAreCounted(t *testing.T) {
	n := &Node{observer: newObserver()}
	received, sent := n.observer.received, n.observer.attempted
	received(scp.Event{Kind: scp.Refused, Status: dimse.OutOfResources})
	received(scp.Event{Kind: scp.Rejected, Err: fmt.Errorf("calling %q: %w", "X", &ul.RejectError{Result: ul.RejectedPermanent, Source: ul.RejectSourceUser, Reason: ul.ReasonCalledAE})})
	received(scp.Event{Kind: scp.Accepted})
	received(scp.Event{Kind: scp.Unsupported, Reason: scp.UnsupportedTransferSyntax, Count: 2})
	for _, o := range []deliver.Outcome{deliver.Committed, deliver.NotCommitted, deliver.Committed, deliver.Retry} {
		sent(deliver.Event{Delivery: state.Delivery{DeliveryKey: state.DeliveryKey{Destination: "pacs"}}, Outcome: o})
	}
	w := httptest.NewRecorder()
	n.observer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`ichor_refused_requests_total{status="A700H"} 1`, `ichor_objects_received_total{result="refused"} 1`, `ichor_objects_received_total{result="stored"} 0`,
		`ichor_associations_rejected_total{reason="called-ae"} 1`, `ichor_associations_rejected_total{reason="calling-ae"} 0`,
		`ichor_associations_total{result="rejected"} 1`, `ichor_associations_total{result="accepted"} 1`,
		`ichor_contexts_rejected_total{reason="SOP class"} 0`, `ichor_contexts_rejected_total{reason="transfer syntax"} 2`,
		`ichor_commitments_total{destination="pacs",outcome="committed"} 2`, `ichor_commitments_total{destination="pacs",outcome="not committed"} 1`,
		`ichor_delivery_attempts_total{destination="pacs",outcome="retry"} 1`,
	} {
		if !strings.Contains(w.Body.String(), "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, w.Body)
		}
	}
}
