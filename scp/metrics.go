package scp

import (
	"errors"
	"fmt"

	"ichor/scp/ul"
)

// Meter declares metrics; the functions that it returns count.
type Meter interface {
	Counter(name, help string, labels ...string) (add func(n float64, values ...string))
	Histogram(name, help string, bounds []float64, labels ...string) (observe func(v float64, values ...string))
}

// rejections names the reasons for which associations are rejected (PS3.8 Table 9-21).
var rejections = map[ul.RejectError]string{
	{Source: ul.RejectSourceUser, Reason: ul.ReasonCallingAE}:          "calling-ae",
	{Source: ul.RejectSourceUser, Reason: ul.ReasonCalledAE}:           "called-ae",
	{Source: ul.RejectSourceACSE, Reason: ul.ReasonACSENone}:           "user-identity",
	{Source: ul.RejectSourcePresentation, Reason: ul.ReasonLocalLimit}: "limit",
	{Source: ul.RejectSourceUser, Reason: ul.ReasonApplicationContext}: "application-context",
	{Source: ul.RejectSourceACSE, Reason: ul.ReasonProtocolVersion}:    "protocol-version",
}

// Count returns a function for Options.Events that counts in metrics of m.
func Count(m Meter) func(Event) {
	associations := m.Counter("ichor_associations_total", "Associations of peers, by what became of them: accepted, rejected, released, aborted.", "result")
	rejected := m.Counter("ichor_associations_rejected_total",
		"Associations rejected, by reason: calling-ae (unknown title, address or certificate), called-ae, user-identity, limit (of associations), application-context, protocol-version.", "reason")
	contexts := m.Counter("ichor_contexts_rejected_total", "Presentation contexts of peers that were not accepted, by reason: SOP class, transfer syntax.", "reason")
	objects := m.Counter("ichor_objects_received_total",
		"C-STORE requests, by result: stored; known, the same object was there before; conflict, other content under its UID was; refused.", "result")
	bytes := m.Counter("ichor_received_bytes_total", "Bytes of the data sets stored.")
	requests := m.Counter("ichor_refused_requests_total", "Requests of peers answered with a failure, by DIMSE status.", "status")
	seconds := m.Histogram("ichor_store_seconds", "From the command of a C-STORE to its response, the object being on disk.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60})
	for _, k := range []EventKind{Accepted, Rejected, Released, Aborted} {
		associations(0, k.String())
	}
	for _, reason := range rejections {
		rejected(0, reason)
	}
	for _, result := range []string{"stored", "known", "conflict", "refused"} {
		objects(0, result)
	}
	contexts(0, UnsupportedClass)
	contexts(0, UnsupportedTransferSyntax)
	return func(e Event) {
		switch e.Kind {
		case Accepted, Rejected, Released, Aborted:
			associations(1, e.Kind.String())
			if r := new(ul.RejectError); e.Kind == Rejected && errors.As(e.Err, &r) {
				rejected(1, rejections[ul.RejectError{Source: r.Source, Reason: r.Reason}])
			}
		case Stored:
			result := "stored"
			switch {
			case !e.Fresh:
				result = "known"
			case e.Conflict:
				result = "conflict"
			}
			objects(1, result)
			if e.Fresh {
				bytes(float64(e.Bytes))
			}
			seconds(e.Took.Seconds())
		case Unsupported:
			contexts(float64(e.Count), e.Reason)
		case Refused:
			requests(1, fmt.Sprintf("%04XH", uint16(e.Status)))
			objects(1, "refused")
		}
	}
}
