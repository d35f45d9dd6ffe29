// Package traces sends the steps of cases to an OpenTelemetry collector, by OTLP over HTTP.
//
// A trace is one revision of a case. Its ID follows from case and revision, so that steps in several processes, or before and after
// a restart, are in one trace. Spans have no attribute of a patient and no UID; the case ID is a digest, as in the log.
package traces

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options configure a Tracer.
type Options struct {
	Endpoint string // URL of the collector; /v1/traces is added
	Service  string // service.name
	Version  string // service.version
	Instance string // service.instance.id
	Logger   *slog.Logger

	Interval time.Duration // between exports; 5 s
}

// Tracer sends spans. A nil Tracer sends none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

const (
	exportTime = 10 * time.Second // for one request
	closeTime  = 3 * time.Second  // for what waits at the end
)

// Open returns a Tracer. It does not connect: a collector that is away loses spans, never a study. Variables of the OpenTelemetry
// specification, such as OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE, apply.
func Open(ctx context.Context, o Options) (*Tracer, error) {
	target, err := url.JoinPath(o.Endpoint, "v1", "traces")
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	client, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target), otlptracehttp.WithTimeout(exportTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{})) // no retry: spans are dropped, and the next batch tries again
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint %s: %w", o.Endpoint, err)
	}
	if o.Interval <= 0 {
		o.Interval = 5 * time.Second
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(&exporter{SpanExporter: client, log: o.Logger}, sdk.WithBatchTimeout(o.Interval)),
		sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(ids{}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Instance))),
	)
	return &Tracer{provider, provider.Tracer("ichor")}, nil
}

// Close sends what waits, for at most a few seconds.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // the exporter logs its errors; a collector that is away must not fail the end of the node
	return nil
}

// Span is one step of a case that has ended.
type Span struct {
	Name       string
	Start, End time.Time
	Failed     bool
	Attributes []slog.Attr // numbers, truth values and texts
	Steps      []Span      // within it
}

// Case sends a span of a revision of a case, as a child of its root. It does not block: spans that the collector does not take in
// time are dropped.
func (t *Tracer) Case(id string, revision int, s Span) {
	if t == nil {
		return
	}
	t.send(trace.ContextWithRemoteSpanContext(context.Background(), rootOf(id, revision)), id, s)
}

// Root sends the span that holds the others of a revision of a case.
func (t *Tracer) Root(id string, revision int, s Span) {
	if t == nil {
		return
	}
	t.send(context.WithValue(context.Background(), rootKey{}, rootOf(id, revision)), id, s)
}

func (t *Tracer) send(ctx context.Context, id string, s Span) {
	attributes := []attribute.KeyValue{attribute.String("ichor.case", id)}
	for _, a := range s.Attributes {
		attributes = append(attributes, valueOf(a))
	}
	ctx, span := t.tracer.Start(ctx, s.Name, trace.WithTimestamp(s.Start), trace.WithAttributes(attributes...))
	ctx = context.WithValue(ctx, rootKey{}, nil) // of this span only
	for _, step := range s.Steps {
		t.send(ctx, id, step)
	}
	if s.Failed {
		span.SetStatus(codes.Error, "see the log of the case") // the text of an error may come from a peer
	}
	span.End(trace.WithTimestamp(s.End))
}

func valueOf(a slog.Attr) attribute.KeyValue {
	key := "ichor." + a.Key
	switch a.Value.Kind() {
	case slog.KindInt64:
		return attribute.Int64(key, a.Value.Int64())
	case slog.KindFloat64:
		return attribute.Float64(key, a.Value.Float64())
	case slog.KindBool:
		return attribute.Bool(key, a.Value.Bool())
	}
	return attribute.String(key, a.Value.String())
}

// rootOf returns the IDs of the root span of a revision of a case.
func rootOf(id string, revision int) trace.SpanContext {
	sum := sha256.Sum256(fmt.Appendf(nil, "ichor trace %s %d", id, revision))
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

type rootKey struct{}

// ids gives a root span its own IDs, and the others random ones.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if root, ok := ctx.Value(rootKey{}).(trace.SpanContext); ok {
		return root.TraceID(), root.SpanID()
	}
	var id trace.TraceID
	_, _ = rand.Read(id[:]) // never fails
	return id, ids{}.NewSpanID(ctx, id)
}

func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// exporter logs when spans cannot be sent, once until they can again.
type exporter struct {
	sdk.SpanExporter
	log  *slog.Logger
	away atomic.Bool
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !e.away.Swap(true):
		e.log.Warn("traces cannot be sent and are dropped; check tracing.endpoint", "err", err)
	case err == nil && e.away.Swap(false):
		e.log.Info("traces are sent again")
	}
	return nil // the SDK would print it once more
}
