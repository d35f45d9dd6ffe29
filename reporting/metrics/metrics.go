// Package metrics counts what happens, for Prometheus.
//
// Packages declare their metrics beside the code they count, on an interface of their own that *Registry satisfies; they
// do not import this package or a client of Prometheus. Label values come from the fixed lists that the help texts name,
// or from the configuration. No value comes from a peer or a patient.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Family is the declaration of a metric.
type Family struct {
	Name, Type, Help string
	Labels           []string // names
}

// Registry holds the metrics of one node, beside those of the Go runtime and of the process. It is safe for concurrent use.
type Registry struct {
	http.Handler          // answers with all metrics
	Families     []Family // in the order in which they were declared
	registry     *prometheus.Registry
}

// New returns a Registry with go_* and process_* metrics.
func New() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A metric that cannot be read is left out; the others still arrive.
	return &Registry{Handler: promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}), registry: r}
}

func (r *Registry) declare(c prometheus.Collector, kind, name, help string, labels []string) {
	r.registry.MustRegister(c) // panics at the start of a node for a name declared twice, or one that is none
	r.Families = append(r.Families, Family{name, kind, help, labels})
}

// Counter declares a metric that only grows; add adds n to the one with these values of the labels. Without labels it is
// there from the start, as 0.
func (r *Registry) Counter(name, help string, labels ...string) (add func(n float64, values ...string)) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.declare(c, "counter", name, help, labels)
	add = func(n float64, values ...string) { c.WithLabelValues(values...).Add(n) }
	if len(labels) == 0 {
		add(0)
	}
	return add
}

// Histogram declares a metric that counts values by size; bounds grow. observe counts one value.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) (observe func(v float64, values ...string)) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
	r.declare(h, "histogram", name, help, labels)
	if len(labels) == 0 {
		h.WithLabelValues()
	}
	return func(v float64, values ...string) { h.WithLabelValues(values...).Observe(v) }
}

// Gauge declares a metric that read looks up whenever metrics are asked for. read calls set once for each combination of
// values of the labels.
func (r *Registry) Gauge(name, help string, labels []string, read func(set func(v float64, values ...string))) {
	r.declare(collector{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, read}, "gauge", name, help, labels)
}

// Total declares a counter that is looked up as a Gauge is.
func (r *Registry) Total(name, help string, labels []string, read func(set func(v float64, values ...string))) {
	r.declare(collector{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, read}, "counter", name, help, labels)
}

// collector is a metric that is looked up.
type collector struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(set func(v float64, values ...string))
}

func (c collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

func (c collector) Collect(out chan<- prometheus.Metric) {
	c.read(func(v float64, values ...string) { out <- prometheus.MustNewConstMetric(c.desc, c.kind, v, values...) })
}
