// Package metrics counts what happens, and writes it in the text format that Prometheus reads (version 0.0.4).
//
// Whoever counts declares the metric beside its code, with a fixed list of label values: no value comes from a peer.
package metrics

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Registry holds metrics in the order they were declared. It is safe for concurrent use.
type Registry struct {
	mu       sync.Mutex
	families []family
}

// family is all samples of one name.
type family struct {
	name, help, kind string
	collect          func(sample func(suffix string, v float64, labels ...string))
}

func (r *Registry) add(f family) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.families = append(r.families, f)
}

// Counter only grows.
type Counter struct {
	mu     sync.Mutex
	labels []string // names
	counts map[string]float64
}

// Counter declares one; labels are the names of its labels. Without labels it is there from the start, as 0.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := &Counter{labels: labels, counts: map[string]float64{}}
	if len(labels) == 0 {
		c.counts[""] = 0
	}
	r.add(family{name, help, "counter", c.collect})
	return c
}

// Add counts n more, for the values of the labels.
func (c *Counter) Add(n float64, values ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[strings.Join(values, "\x00")] += n
}

func (c *Counter) collect(sample func(string, float64, ...string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]string, 0, len(c.counts))
	for k := range c.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		sample("", c.counts[k], pairs(c.labels, strings.Split(k, "\x00"))...)
	}
}

func pairs(names, values []string) (list []string) {
	for i, name := range names {
		list = append(list, name, values[i])
	}
	return list
}

// Gauge declares a value that is looked up when it is asked for. set is called once for each combination of labels,
// which are given as name, value, name, value.
func (r *Registry) Gauge(name, help string, read func(set func(v float64, labels ...string))) {
	r.add(family{name, help, "gauge", func(sample func(string, float64, ...string)) {
		read(func(v float64, labels ...string) { sample("", v, labels...) })
	}})
}

// Histogram counts values by size.
type Histogram struct {
	mu     sync.Mutex
	bounds []float64
	counts []uint64 // one more than bounds
	sum    float64
}

// Histogram declares one; bounds grow.
func (r *Registry) Histogram(name, help string, bounds ...float64) *Histogram {
	h := &Histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
	r.add(family{name, help, "histogram", h.collect})
	return h
}

// Observe counts one value.
func (h *Histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v) // the first bound that is not below v
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[i]++
	h.sum += v
}

func (h *Histogram) collect(sample func(string, float64, ...string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var n uint64
	for i, bound := range append(slices.Clone(h.bounds), math.Inf(1)) {
		n += h.counts[i]
		sample("_bucket", float64(n), "le", number(bound))
	}
	sample("_sum", h.sum)
	sample("_count", float64(n))
}

// WriteTo writes all metrics.
func (r *Registry) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	families := slices.Clone(r.families)
	r.mu.Unlock()
	counted := &counting{w: w}
	b := bufio.NewWriter(counted)
	for _, f := range families {
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, escape(f.help, false), f.name, f.kind)
		f.collect(func(suffix string, v float64, labels ...string) {
			b.WriteString(f.name + suffix)
			for i := 0; i+1 < len(labels); i += 2 {
				b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + labels[i] + `="` + escape(labels[i+1], true) + `"`)
			}
			if len(labels) > 1 {
				b.WriteString("}")
			}
			b.WriteString(" " + number(v) + "\n")
		})
	}
	err := b.Flush()
	return counted.n, err
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ServeHTTP answers with all metrics.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = r.WriteTo(w) // the client went away
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// escape keeps a text on its line, and a label value in its quotes.
func escape(s string, quoted bool) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "\n", `\n`)
	if quoted {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}
