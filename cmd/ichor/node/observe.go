package node

import (
	"fmt"

	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/metrics"
	"ichor/scp"
)

// observer counts what the parts of the node report. No metric names a patient, a study or a peer that is not configured.
type observer struct {
	registry     metrics.Registry
	associations *metrics.Counter   // result: accepted, rejected, released, aborted
	objects      *metrics.Counter   // result: stored, known, conflict, refused
	bytes        *metrics.Counter   // of objects stored
	contexts     *metrics.Counter   // reason: SOP class, transfer syntax
	refusals     *metrics.Counter   // status: as DIMSE has it
	seconds      *metrics.Histogram // from the command set of a C-STORE to its response
	deliveries   *metrics.Counter   // destination: as configured; outcome: stored, retry, dead
}

func newObserver() *observer {
	o := &observer{}
	r := &o.registry
	o.associations = r.Counter("ichor_associations_total", "Associations of peers, by what became of them.", "result")
	o.objects = r.Counter("ichor_objects_received_total", "C-STORE requests, by result. known: the same object was there before; conflict: other content under its UID was.", "result")
	o.bytes = r.Counter("ichor_received_bytes_total", "Bytes of the data sets stored.")
	o.refusals = r.Counter("ichor_refusals_total", "Requests of peers answered with a failure, by status.", "status")
	o.contexts = r.Counter("ichor_contexts_rejected_total", "Presentation contexts of peers that were not accepted, by reason.", "reason")
	o.seconds = r.Histogram("ichor_store_seconds", "From the command of a C-STORE to its response, the object being on disk.",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60)
	o.deliveries = r.Counter("ichor_delivery_attempts_total", "Attempts to send a result, by destination and outcome.", "destination", "outcome")
	return o
}

// received counts an event of the server.
func (o *observer) received(e scp.Event) {
	switch e.Kind {
	case scp.Accepted, scp.Rejected, scp.Released, scp.Aborted:
		o.associations.Add(1, e.Kind.String())
	case scp.Stored:
		result := "stored"
		switch {
		case !e.Fresh:
			result = "known"
		case e.Conflict:
			result = "conflict"
		}
		o.objects.Add(1, result)
		if e.Fresh {
			o.bytes.Add(float64(e.Bytes))
		}
		o.seconds.Observe(e.Took.Seconds())
	case scp.Unsupported:
		o.contexts.Add(float64(e.Count), e.Reason)
	case scp.Refused:
		o.refusals.Add(1, fmt.Sprintf("%04XH", uint16(e.Status)))
		o.objects.Add(1, "refused")
	}
}

// sent is called for every delivery attempt.
func (n *Node) sent(e deliver.Event) {
	n.observer.deliveries.Add(1, e.Delivery.Destination, string(e.Outcome))
	if e.Outcome == deliver.Stored {
		n.results.Stored()
	}
}

// gauges declares the metrics that are read when they are asked for.
func (n *Node) gauges() {
	r := &n.observer.registry
	one := func(name, help string, read func() float64) {
		r.Gauge(name, help, func(set func(float64, ...string)) { set(read()) })
	}
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	one("ichor_ready", "1 when studies can be received and analysed, as /readyz says.", func() float64 { return yes(n.Ready() == nil) })
	one("ichor_associations", "Associations of peers at this moment.", func() float64 { return float64(n.server.Associations()) })
	one("ichor_spool_writable", "1 when objects are taken; 0: senders are answered A700H.", func() float64 { return yes(n.spool.Ready() == nil) })
	one("ichor_spool_bytes", "What received studies take on disk.", func() float64 { return float64(n.spool.Bytes()) })
	one("ichor_spool_damaged", "Stored records that were found damaged.", func() float64 { return float64(len(n.spool.Damaged())) })
	r.Gauge("ichor_spool_free_bytes", "What the disk has left.", func(set func(float64, ...string)) {
		if free, err := n.spool.Free(); err == nil {
			set(float64(free))
		}
	})
	r.Gauge("ichor_cases", "Cases by phase.", func(set func(float64, ...string)) {
		if c, err := n.store.Counts(); err == nil {
			for _, p := range state.Phases {
				set(float64(c.Cases[p]), "phase", string(p))
			}
		}
	})
	r.Gauge("ichor_deliveries", "Results by destination and state. Those that are pending are the backlog.", func(set func(float64, ...string)) {
		c, err := n.store.Counts()
		if err != nil {
			return
		}
		for _, d := range n.config.Destinations {
			for _, s := range []state.DeliveryState{state.Pending, state.Stored, state.Committed, state.Dead} {
				set(float64(c.Deliveries[d.Name][s]), "destination", d.Name, "state", string(s))
			}
		}
	})
	r.Gauge("ichor_destination_up", "0 while a destination does not take results.", func(set func(float64, ...string)) {
		for _, s := range n.deliverer.Status() {
			set(yes(!s.Down), "destination", s.Name)
		}
	})
	r.Gauge("ichor_certificate_expiry_timestamp_seconds", "When the first certificate in each file of dicom.tls expires, or the next revocation list is due.", func(set func(float64, ...string)) {
		for _, e := range n.expiries() {
			set(float64(e.NotAfter.Unix()), "file", e.File)
		}
	})
}
