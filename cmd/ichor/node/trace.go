package node

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"ichor/config"
	"ichor/pipeline/analysis"
	"ichor/pipeline/finding"
	"ichor/pipeline/state"
	"ichor/reporting/traces"
)

// openTraces returns nil if traces are off.
func openTraces(ctx context.Context, c config.Config, service, version, instance string, log *slog.Logger) (*traces.Tracer, error) {
	if c.Tracing.Endpoint == "" {
		return nil, nil
	}
	return traces.Open(ctx, traces.Options{Endpoint: c.Tracing.Endpoint, Service: service, Version: version, Instance: instance, Logger: log})
}

// arrived returns when the first and the last object of a study were received; false: none is here.
func (n *Node) arrived(study string) (first, last time.Time, ok bool) {
	for i, o := range n.spool.Study(study) {
		if i == 0 || o.Received.Before(first) {
			first = o.Received
		}
		if o.Received.After(last) {
			last = o.Received
		}
	}
	return first, last, !first.IsZero()
}

// traceStudy tells of the reception of a study, and of the wait until it counted as complete.
func (n *Node) traceStudy(c state.Case, how string) {
	if n.traces == nil {
		return
	}
	first, last, ok := n.arrived(c.StudyInstanceUID)
	if !ok {
		return
	}
	id := string(c.ID)
	n.traces.Case(id, c.Revision, traces.Span{Name: "receive", Start: first, End: last, Attributes: []slog.Attr{slog.Int("objects", c.Objects)}})
	n.traces.Case(id, c.Revision, traces.Span{Name: "complete", Start: last, End: now(), Attributes: []slog.Attr{slog.String("how", how)}})
}

// traceAnalysis tells of an analysis that began at or before start: an early one is older. result is nil if it failed.
func traceAnalysis(to *traces.Tracer, id state.CaseID, revision int, start time.Time, result *analysis.Analysis, err error) {
	if to == nil {
		return
	}
	span := traces.Span{Name: "analyse", Start: start, End: now(), Failed: err != nil}
	if result != nil && len(result.Steps) > 0 {
		span.Start = result.Steps[0].Start
		span.End = slices.MaxFunc(result.Steps, func(a, b analysis.Step) int { return a.End.Compare(b.End) }).End
		span.Attributes = append(span.Attributes, slog.Bool("early", span.Start.Before(start)))
		span.Steps = stepSpans(result.Steps)
	}
	to.Case(string(id), revision, span)
}

// stepSpans puts each network into the stage in which it ran.
func stepSpans(steps []analysis.Step) (spans []traces.Span) {
	for _, s := range steps {
		if s.Runs == 0 {
			spans = append(spans, traces.Span{Name: s.Name, Start: s.Start, End: s.End})
			continue
		}
		network := traces.Span{Name: "network " + s.Name, Start: s.Start, End: s.End, Attributes: []slog.Attr{slog.Int("runs", s.Runs)}}
		in := slices.IndexFunc(spans, func(x traces.Span) bool { return !s.Start.Before(x.Start) && !s.End.After(x.End) })
		if in < 0 {
			spans = append(spans, network)
			continue
		}
		spans[in].Steps = append(spans[in].Steps, network)
	}
	return spans
}

// traceWritten tells that the objects of a result are written, and of the case as a whole.
func (n *Node) traceWritten(c state.Case, start time.Time, f finding.Finding, err error) {
	if n.traces == nil {
		return
	}
	id, end := string(c.ID), now()
	n.traces.Case(id, c.Revision, traces.Span{Name: "write", Start: start, End: end, Failed: err != nil})
	if first, _, ok := n.arrived(c.StudyInstanceUID); ok && err == nil {
		n.traces.Root(id, c.Revision, traces.Span{Name: "case", Start: first, End: end, Attributes: []slog.Attr{
			slog.String("status", string(f.Status)), slog.String("code", f.Code), slog.String("bundle", f.Bundle.Name+" "+f.Bundle.Version)}})
	}
}

// traceDelivery tells of results that a destination has stored, from their being written.
func (n *Node) traceDelivery(c state.Case, destination string, objects int) {
	n.traces.Case(string(c.ID), c.Revision, traces.Span{Name: "deliver", Start: c.Updated, End: now(),
		Attributes: []slog.Attr{slog.String("destination", destination), slog.Int("objects", objects)}})
}
