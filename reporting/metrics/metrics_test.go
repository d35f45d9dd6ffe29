package metrics

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestText declares one metric of each type and reads them as Prometheus does.
func TestText(t *testing.T) {
	r := New()
	objects := r.Counter("test_objects_total", "Objects by result.", "result", "why")
	r.Counter("test_received_bytes_total", "Bytes.")
	r.Gauge("test_free_bytes", "Free.", []string{"disk"}, func(set func(float64, ...string)) { set(1.5e12, "a"); set(-2, "b") })
	r.Total("test_cases_total", "Cases.", nil, func(set func(float64, ...string)) { set(7) })
	seconds := r.Histogram("test_seconds", "Time.", []float64{0.01, 0.1, 1})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { objects(1, "stored", "") })
	}
	wg.Wait()
	objects(1, "refused", "a \"b\\c\nd")
	for _, v := range []float64{0.005, 0.01, 0.5, 7} {
		seconds(v)
	}
	want := `# HELP test_cases_total Cases.
# TYPE test_cases_total counter
test_cases_total 7
# HELP test_free_bytes Free.
# TYPE test_free_bytes gauge
test_free_bytes{disk="a"} 1.5e+12
test_free_bytes{disk="b"} -2
# HELP test_objects_total Objects by result.
# TYPE test_objects_total counter
test_objects_total{result="refused",why="a \"b\\c\nd"} 1
test_objects_total{result="stored",why=""} 3
# HELP test_received_bytes_total Bytes.
# TYPE test_received_bytes_total counter
test_received_bytes_total 0
# HELP test_seconds Time.
# TYPE test_seconds histogram
test_seconds_bucket{le="0.01"} 2
test_seconds_bucket{le="0.1"} 2
test_seconds_bucket{le="1"} 3
test_seconds_bucket{le="+Inf"} 4
test_seconds_sum 7.515
test_seconds_count 4
`
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Body.String(); !strings.Contains(got, want) || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%s\n%s\nwant\n%s", w.Header(), got, want)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_start_time_seconds"} {
		if !strings.Contains(w.Body.String(), "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if len(r.Families) != 5 || r.Families[0].Type != "counter" || r.Families[2].Labels[0] != "disk" {
		t.Errorf("%+v", r.Families)
	}
}

// TestOneBadMetric: a value given twice, as of one file in two roles, takes no other metric with it.
func TestOneBadMetric(t *testing.T) {
	r := New()
	r.Gauge("test_expiry_timestamp_seconds", "Twice.", []string{"file"}, func(set func(float64, ...string)) { set(1, "a"); set(1, "a") })
	r.Counter("test_received_bytes_total", "Bytes.")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Body.String(); w.Code != 200 || !strings.Contains(got, "\ntest_received_bytes_total 0\n") || strings.Count(got, "\ntest_expiry_timestamp_seconds{") != 1 {
		t.Errorf("%d\n%s", w.Code, got)
	}
}
