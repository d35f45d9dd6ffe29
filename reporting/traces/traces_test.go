package traces

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP collector in this process.
type receiver struct {
	*httptest.Server
	got chan *collector.ExportTraceServiceRequest
}

func receive(t *testing.T, status int) *receiver {
	t.Helper()
	r := &receiver{got: make(chan *collector.ExportTraceServiceRequest, 10)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(q.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		request := &collector.ExportTraceServiceRequest{}
		if err != nil || q.URL.Path != "/v1/traces" || proto.Unmarshal(raw, request) != nil {
			t.Errorf("%s: %v", q.URL, err)
		}
		r.got <- request
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func open(t *testing.T, r *receiver, log io.Writer) *Tracer {
	t.Helper()
	tracer, err := Open(t.Context(), Options{Endpoint: r.URL, Service: "ichor", Version: "1.2", Instance: "node", Interval: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

// TestSpans: the spans of one revision of a case, sent by two processes, are one tree.
func TestSpans(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC)
	r := receive(t, http.StatusOK)
	first, second := open(t, r, io.Discard), open(t, r, io.Discard)
	first.Case("a1", 2, Span{Name: "analyse", Start: at, End: at.Add(3 * time.Second), Attributes: []slog.Attr{slog.Int("slices", 32), slog.Bool("early", true), slog.Float64("ml", 1.5)},
		Steps: []Span{{Name: "cavity", Start: at, End: at.Add(time.Second)}}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second.Case("a1", 2, Span{Name: "deliver", Start: at, End: at.Add(time.Minute), Failed: true, Attributes: []slog.Attr{slog.String("destination", "pacs")}})
	second.Root("a1", 2, Span{Name: "case", Start: at, End: at.Add(time.Minute)})
	second.Case("a1", 3, Span{Name: "other", Start: at, End: at})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	spans := map[string]*otlp.Span{}
	for len(spans) < 5 {
		for _, x := range (<-r.got).ResourceSpans {
			if s := x.Resource.String(); !strings.Contains(s, `"ichor"`) || !strings.Contains(s, `"1.2"`) {
				t.Errorf("resource %s", s)
			}
			for _, y := range x.ScopeSpans {
				for _, s := range y.Spans {
					spans[s.Name] = s
				}
			}
		}
	}
	root := hex.EncodeToString(spans["case"].SpanId)
	for name, parent := range map[string]string{"case": "", "analyse": root, "deliver": root, "cavity": hex.EncodeToString(spans["analyse"].SpanId)} {
		s := spans[name]
		if hex.EncodeToString(s.ParentSpanId) != parent || !bytes.Equal(s.TraceId, spans["case"].TraceId) || s.StartTimeUnixNano != uint64(at.UnixNano()) {
			t.Errorf("%s: %v", name, s)
		}
	}
	if bytes.Equal(spans["other"].TraceId, spans["case"].TraceId) {
		t.Error("another revision is in the same trace")
	}
	a := spans["analyse"].String()
	for _, want := range []string{`"ichor.case"`, `"a1"`, `"ichor.slices"`, "int_value:32", "bool_value:true", "double_value:1.5"} {
		if !strings.Contains(strings.ReplaceAll(a, ":  ", ":"), want) {
			t.Errorf("no %s in %s", want, a)
		}
	}
	if spans["deliver"].Status.GetCode() != otlp.Status_STATUS_CODE_ERROR || spans["analyse"].Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("status: %v", spans)
	}
}

// TestAway: a collector that refuses or is gone costs one line in the log and nothing else.
func TestAway(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := receive(t, http.StatusServiceUnavailable)
	tracer := open(t, r, &log)
	tracer.Case("a1", 1, Span{Name: "receive"})
	<-r.got
	r.Close()
	tracer.Case("a1", 1, Span{Name: "write"})
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
	var none *Tracer
	none.Case("a1", 1, Span{})
	none.Root("a1", 1, Span{})
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
