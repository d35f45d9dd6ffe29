package node

import (
	"context"
	"runtime"
	"time"

	"ichor/pipeline/analysis"
	"ichor/reporting"
	"ichor/reporting/deliver"
	"ichor/reporting/metrics"
	"ichor/scp"
)

// observer holds the metrics. The parts of the node declare theirs beside the code they count; what belongs to no part
// is declared here. No metric names a patient, a study or a peer that is not configured.
type observer struct {
	*metrics.Registry
	received                 func(scp.Event)
	attempted                func(deliver.Event)
	stage, result, delivered func(seconds float64, values ...string)
}

// wait are the bounds for what a reader waits for, in seconds.
var wait = []float64{5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600}

func newObserver() *observer {
	r := metrics.New()
	return &observer{
		Registry:  r,
		received:  scp.Count(r),
		attempted: deliver.Count(r),
		stage: r.Histogram("ichor_analysis_seconds", "Time of an analysis by stage: read, selection, volume, cavity, quality, bleed, measure.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320}, "stage"),
		result: r.Histogram("ichor_result_seconds", "From the last image of a study to its result being stored on this node, repeated analyses included.", wait),
		delivered: r.Histogram("ichor_result_delivered_seconds", "From the last image of a study to its structured report being stored, by destination; repeated analyses included.",
			wait, "destination"),
	}
}

// analysed counts an analysis whose result is stored.
func (n *Node) analysed(study string, r *analysis.Analysis) {
	for stage, ms := range r.Finding.TimingMS {
		n.observer.stage(float64(ms)/1000, stage)
	}
	n.observer.result(n.sinceLast(study).Seconds())
}

// sinceLast is how long ago the last image of a study was received.
func (n *Node) sinceLast(study string) time.Duration {
	_, last, _ := n.arrived(study)
	return max(now().Sub(last), 0) // the clock may have been set back
}

// sent is called for every delivery attempt.
func (n *Node) sent(e deliver.Event) {
	if e.Outcome != deliver.Stored {
		return
	}
	n.results.Stored()
	if e.Delivery.Kind != string(reporting.SR) { // of which each result has one for each destination
		return
	}
	if c, err := n.store.Case(e.Delivery.Case); err == nil && n.objects(c.StudyInstanceUID) > 0 {
		n.observer.delivered(n.sinceLast(c.StudyInstanceUID).Seconds(), e.Delivery.Destination)
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// measure declares the metrics that can also be read while the state folder is not open. commit is that of the source, ""
// when unknown.
func (n *Node) measure(version, commit string) {
	r := n.observer.Registry
	r.Gauge("ichor_alarm", "1 for each alarm, by name, severity (critical, warning) and subject: a destination or a file. docs/operate.md lists the alarms.", []string{"name", "severity", "subject"},
		func(set func(float64, ...string)) {
			for _, a := range n.alarmsNow() {
				set(1, a.Name, string(a.Severity), a.Subject)
			}
		})
	r.Gauge("ichor_build_info", "Always 1; the labels are the version of ichor, the commit of its source and the version of Go.", []string{"version", "commit", "goversion"},
		func(set func(float64, ...string)) { set(1, version, commit, runtime.Version()) })
	r.Gauge("ichor_bundle_info", "Always 1; the labels are name, version and digest of the model bundle in use.", []string{"name", "version", "digest"},
		func(set func(float64, ...string)) {
			b := n.engine.Bundle
			set(1, b.Name, b.Version, b.Digest)
		})
	r.Gauge("ichor_ready", "1 when studies can be received and analysed, as /readyz says.", nil, func(set func(float64, ...string)) { set(yes(n.Ready() == nil)) })
	r.Gauge("ichor_certificate_expiry_timestamp_seconds", "When the first certificate in each file of dicom.tls expires, or the next revocation list is due, in Unix time.",
		[]string{"file"}, func(set func(float64, ...string)) {
			for _, e := range n.expiries() {
				set(float64(e.NotAfter.Unix()), e.File)
			}
		})
}

// measureState declares the metrics of the open state: its values are looked up when they are asked for.
func (n *Node) measureState() {
	r := n.observer.Registry
	r.Gauge("ichor_canary_success", "1 when the last self-test passed, 0 when it failed; missing before the first.", nil, func(set func(float64, ...string)) {
		if c := n.canary.last(); c != nil {
			set(yes(c.OK))
		}
	})
	r.Gauge("ichor_canary_timestamp_seconds", "When the last self-test began, in Unix time; missing before the first.", nil, func(set func(float64, ...string)) {
		if c := n.canary.last(); c != nil {
			set(float64(c.At.Unix()))
		}
	})
	one := func(name, help string, read func() float64) {
		r.Gauge(name, help, nil, func(set func(float64, ...string)) { set(read()) })
	}
	one("ichor_open_associations", "Associations of peers at this moment.", func() float64 { return float64(n.server.Associations()) })
	one("ichor_spool_writable", "1 when objects are accepted; 0: senders are answered A700H.", func() float64 { return yes(n.spool.Ready() == nil) })
	one("ichor_spool_bytes", "Bytes of received studies on disk.", func() float64 { return float64(n.spool.Bytes()) })
	one("ichor_spool_damaged", "Stored records that were found damaged.", func() float64 { return float64(len(n.spool.Damaged())) })
	r.Gauge("ichor_spool_free_bytes", "Free bytes of the disk of received studies.", nil, func(set func(float64, ...string)) {
		if free, err := n.spool.Free(); err == nil {
			set(float64(free))
		}
	})
	r.Gauge("ichor_queue_jobs", "Analysis jobs by state: waiting, working.", []string{"state"}, func(set func(float64, ...string)) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s, err := n.queue.Stats(ctx); err == nil {
			set(float64(s.Waiting), "waiting")
			set(float64(s.Working), "working")
		}
	})
	n.measurePair()
	n.store.Measure(r, destinationNames(n.config))
	n.deliverer.Measure(r)
}
