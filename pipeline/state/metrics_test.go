package state

import (
	"testing"
	"time"

	"ichor/pipeline/finding"
)

// read collects what Measure declares, by name and label values.
type read map[string]map[string]float64

func (r read) Gauge(name, _ string, _ []string, collect func(set func(float64, ...string))) {
	r[name] = map[string]float64{}
	collect(func(v float64, values ...string) {
		key := ""
		for _, value := range values {
			key += "/" + value
		}
		if _, twice := r[name][key]; twice {
			panic(name + key + " is set twice")
		}
		r[name][key] = v
	})
}

func (r read) Total(name, help string, labels []string, collect func(set func(float64, ...string))) {
	r.Gauge(name, help, labels, collect)
}

// TestMeasure: ages are those of the oldest, also behind another try; totals and the last success outlive a restart and
// what is forgotten.
func TestMeasure(t *testing.T) {
	path := t.TempDir() + "/state.db"
	s := open(t, path)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(d time.Duration) time.Time { run(s, t0.Add(d)); return t0.Add(d) }
	finished(t, s, "1.2.1", t0, "A", "gone")
	finished(t, s, "1.2.2", t0.Add(time.Minute), "A")
	must(s.Queue("1.2.3", 5, "quiet 5s", at(2*time.Minute)))(t)
	must(s.Queue("1.2.4", 5, "quiet 5s", at(4*time.Minute)))(t)
	must(s.Receive("1.2.5", at(4*time.Minute)))(t)
	must(s.Queue("1.2.6", 5, "quiet 5s", at(4*time.Minute)))(t)
	ok(s.Finish(IDOf("1.2.6"), 1, Conclusion{Finding: finding.Finding{Status: finding.Refused, Code: finding.Contrast}}, at(4*time.Minute)))
	for _, uid := range []string{"1.2.1.SC", "1.2.1.SR", "1.2.2.SC", "1.2.2.SR"} {
		ok(s.MarkStored(DeliveryKey{uid, "A"}, "", at(5*time.Minute)))
	}
	ok(s.MarkFailed([]Failure{{Key: DeliveryKey{"1.2.1.SEG", "A"}, Wait: time.Hour, Err: "no"}}, at(6*time.Minute))) // its age goes on
	ok(s.MarkFailed([]Failure{{Key: DeliveryKey{"1.2.1.SEG", "gone"}, Dead: true, Cause: Unconfigured}}, at(6*time.Minute)))
	ok(s.Close())
	s = open(t, path)
	at(10 * time.Minute)
	got := read{}
	s.Measure(got, []string{"A", "new"})
	for name, want := range map[string]map[string]float64{
		"ichor_cases":                         {"/receiving": 1, "/queued": 2, "/analyzed": 2, "/refused": 1, "/failed": 0},
		"ichor_case_phases_total":             {"/receiving": 1, "/queued": 5, "/analyzed": 2, "/refused": 1, "/failed": 0},
		"ichor_refused_studies_total":         {"/contrast": 1},
		"ichor_oldest_job_age_seconds":        {"": 8 * 60},
		"ichor_oldest_pending_age_seconds":    {"/A": 10 * 60, "/gone": 10 * 60, "/new": 0},
		"ichor_last_stored_timestamp_seconds": {"/A": float64(t0.Add(5 * time.Minute).Unix())},
		"ichor_dead_letters":                  {"/gone/unconfigured": 1},
	} {
		if len(got[name]) != len(want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
		for k, v := range want {
			if got[name][k] != v {
				t.Errorf("%s%s is %v, want %v", name, k, got[name][k], v)
			}
		}
	}
	if d := got["ichor_deliveries"]; d["/A/pending"] != 2 || d["/A/stored"] != 4 || d["/gone/dead"] != 1 || d["/gone/pending"] != 2 || len(d) != 3*4 {
		t.Errorf("deliveries %v", d)
	}
	ok(s.MarkStored(DeliveryKey{"1.2.1.SEG", "A"}, "", at(11*time.Minute)))
	if age, err := s.Oldest("A"); err != nil || age != 10*time.Minute { // of the second case
		t.Errorf("oldest %v, %v", age, err)
	}
	must(s.Requeue(IDOf("1.2.6"), at(11*time.Minute)))(t)
	if c := must(s.Counts())(t); c.Ever[Refused] != 1 || c.Cases[Refused] != 0 || c.Refusals[finding.Contrast] != 1 {
		t.Errorf("%+v", c)
	}
}
