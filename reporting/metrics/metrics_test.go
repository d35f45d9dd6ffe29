package metrics

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const want = `# HELP objects_total Objects\\n by result.
# TYPE objects_total counter
objects_total{result="refused",why="a \"b\\c\nd"} 1
objects_total{result="stored",why=""} 3
# HELP bytes_total Bytes.
# TYPE bytes_total counter
bytes_total 0
# HELP free_bytes Free.
# TYPE free_bytes gauge
free_bytes 1.5e+12
free_bytes{disk="b"} -2
# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{le="0.01"} 2
seconds_bucket{le="0.1"} 2
seconds_bucket{le="1"} 3
seconds_bucket{le="+Inf"} 4
seconds_sum 7.515
seconds_count 4
`

func TestText(t *testing.T) {
	var r Registry
	c := r.Counter("objects_total", `Objects\n by result.`, "result", "why")
	r.Counter("bytes_total", "Bytes.")
	r.Gauge("free_bytes", "Free.", func(set func(float64, ...string)) { set(1.5e12); set(-2, "disk", "b") })
	h := r.Histogram("seconds", "Time.", 0.01, 0.1, 1)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { c.Add(1, "stored", "") })
	}
	wg.Wait()
	c.Add(1, "refused", "a \"b\\c\nd")
	for _, v := range []float64{0.005, 0.01, 0.5, 7} {
		h.Observe(v)
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Body.String(); got != want || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%s\n%s", w.Header(), got)
	}
}
