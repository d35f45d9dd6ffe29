package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/queue"
	"ichor/reporting/traces"
	"ichor/scp/dcm"
	"ichor/scp/secure"
)

// Worker analyses studies of the nodes that share a NATS server. It keeps nothing: pixels come from the node of a study, and the
// result goes back there. A job whose worker is lost is delivered to another one after queue.ack_wait.
type Worker struct {
	config      config.Config
	version     string
	name        string
	log         *slog.Logger
	engine      *Engine
	observer    *observer
	credentials *secure.Credentials
	client      *http.Client
	puller      *queue.Puller
	busy        atomic.Int64
	progress    progress
	traces      *traces.Tracer
	http        net.Listener
}

// farWait is the wait before a job of a node that cannot be reached is tried again.
const farWait = 10 * time.Second

// NewWorker loads the networks and connects to the NATS server. An Options.Engine is used in place of the configured bundle.
func NewWorker(ctx context.Context, o Options) (_ *Worker, err error) {
	c, log := o.Config, o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Worker{config: c, version: o.Version, log: log, engine: o.Engine, observer: newObserver()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if c.Workers.Certificate == "" || c.Workers.CA == "" {
		return nil, errors.New("workers.certificate, workers.key and workers.ca are empty: a worker and its nodes need certificates of one authority")
	}
	if w.credentials, err = secure.Open(secure.Files{Certificate: c.Workers.Certificate, Key: c.Workers.Key, CA: c.Workers.CA, CRL: c.Workers.CRL}, log); err != nil {
		return nil, fmt.Errorf("workers: %w", err)
	}
	w.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
		DialTLSContext: w.dial}}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	w.name = host + "/" + strconv.Itoa(os.Getpid())
	if w.engine == nil {
		if w.engine, err = OpenEngine(ctx, c.Analysis); err != nil {
			return nil, err
		}
	}
	if w.traces, err = openTraces(ctx, c, "ichor-worker", o.Version, w.name, log); err != nil {
		return nil, err
	}
	w.puller, err = queue.Pull(queueOptions(c, log),
		queue.PullOptions{Agree: w.agree, Analyse: w.analyse, Failed: w.failed, PutOff: w.putOff})
	if err != nil {
		return nil, err
	}
	w.observer.Gauge("ichor_worker_jobs", "Studies that this worker analyses at the moment.", nil, func(set func(float64, ...string)) { set(float64(w.busy.Load())) })
	w.observer.Gauge("ichor_worker_refused_nodes", "Nodes whose jobs this worker does not take, because it cannot reach them or differs from them; its log says why.", nil,
		func(set func(float64, ...string)) { set(float64(len(w.puller.Refused()))) })
	if c.HTTP.Listen != "" {
		w.http, err = listen(ctx, "http.listen", c.HTTP.Listen)
	}
	return w, err
}

// Run works until ctx is done, then finishes the studies that it has begun, within the drain time of the queue.
func (w *Worker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.puller.Work(ctx, w.config.Analysis.Workers) })
	if w.http != nil {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
		mux.Handle("GET /metrics", w.observer)
		g.Go(func() error {
			return serveUntil(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}, w.http)
		})
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close frees what NewWorker opened. Call it after Run has returned.
func (w *Worker) Close() error {
	var errs []error
	if w.http != nil {
		if err := w.http.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if w.puller != nil {
		errs = append(errs, w.puller.Close())
	}
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
	errs = append(errs, w.traces.Close())
	if w.engine != nil {
		errs = append(errs, w.engine.Close())
	}
	return errors.Join(errs...)
}

// Engine returns the loaded bundle.
func (w *Worker) Engine() *Engine { return w.engine }

// dial connects to a node with the current certificates.
func (w *Worker) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: w.credentials.Client(host)}
	return d.DialContext(ctx, network, address)
}

// errGone: the job is done or no longer needed.
var errGone = errors.New("gone")

// ask sends a request about a job to its node. use reads the answer.
func (w *Worker) ask(ctx context.Context, method, target string, body io.Reader, use func(io.Reader) error) (err error) {
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return queue.Later(fmt.Errorf("node not reached: %w", err), farWait)
	}
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostOrder)) // so that the connection can be used again
		err = errors.Join(err, answer.Body.Close())
	}()
	text := func() string {
		raw, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return strings.TrimSpace(string(raw))
	}
	switch answer.StatusCode {
	case http.StatusOK:
		if use == nil {
			return nil
		}
		return use(answer.Body)
	case http.StatusGone:
		return errGone
	case http.StatusUnprocessableEntity:
		return fmt.Errorf("the node does not accept the result: %s", text())
	}
	return queue.Later(fmt.Errorf("the node answers %s: %s", answer.Status, text()), farWait)
}

func (w *Worker) post(ctx context.Context, target string, order, v any) error {
	raw, err := json.Marshal(order)
	if err != nil {
		return err
	}
	return w.ask(ctx, http.MethodPost, target, bytes.NewReader(raw), func(body io.Reader) error {
		if v == nil {
			return nil
		}
		return json.NewDecoder(io.LimitReader(body, 64<<20)).Decode(v)
	})
}

// agree compares this worker with a node.
func (w *Worker) agree(ctx context.Context, o queue.Origin) error {
	if u, err := url.Parse(o.Serves); err != nil || u.Scheme != "https" {
		return fmt.Errorf("node %s serves its studies at %q, which is no https URL; set workers.url there", o.Node, o.Serves)
	}
	ctx, cancel := context.WithTimeout(ctx, farWait)
	defer cancel()
	return w.post(ctx, o.Serves+workersPath+"hello", greeting{w.name, int(w.busy.Load()), w.engine.identity(w.version)}, nil)
}

func jobURL(o queue.Origin, job queue.Job, what string) string {
	return o.Serves + workersPath + "jobs/" + url.PathEscape(string(job.CaseID)) + "/" + strconv.Itoa(job.Revision) + "/" + what
}

// analyse runs one job: it gets the study from its node, analyses it and brings the result back.
func (w *Worker) analyse(ctx context.Context, o queue.Origin, job queue.Job) error {
	w.busy.Add(1)
	defer w.busy.Add(-1)
	start := time.Now()
	err := w.analyseFrom(ctx, o, job)
	if errors.Is(err, errGone) {
		return nil
	}
	if err == nil {
		w.log.Info("study done", "case", job.CaseID, "stage", "analysis", "peer", o.Serves, "took", time.Since(start).Round(time.Millisecond))
	}
	return err
}

func (w *Worker) analyseFrom(ctx context.Context, o queue.Origin, job queue.Job) error {
	var t task
	if err := w.post(ctx, jobURL(o, job, "begin"), struct{}{}, &t); err != nil {
		return err
	}
	study := pipeline.Study{UID: job.StudyInstanceUID, InOrder: true, Complete: job.Complete}
	err := w.ask(ctx, http.MethodGet, jobURL(o, job, "heads"), nil, func(body io.Reader) error {
		for i, object := range t.Objects {
			head, err := readHead(body, object)
			if err != nil {
				return queue.Later(fmt.Errorf("object %d of %d: %w", i+1, len(t.Objects), err), farWait)
			}
			study.Objects = append(study.Objects, farObject{w, ctx, jobURL(o, job, "objects/"+strconv.Itoa(i)), object, head})
		}
		return nil
	})
	if err != nil {
		return err
	}
	start := now()
	result, err := w.progress.analyze(ctx, w.engine.Analyzer, study)
	traceAnalysis(w.traces, job.CaseID, job.Revision, start, result, err)
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	go func() { out.CloseWithError(writeResult(out, pipeline.ElsewhereOf(result))) }() // ends when the request closes its body
	return w.ask(ctx, http.MethodPost, jobURL(o, job, "result"), in, nil)
}

func readHead(r io.Reader, o taskObject) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(length[:]))
	if n != min(o.Size, headBytes) {
		return nil, fmt.Errorf("%d bytes of its head arrived, not %d", n, min(o.Size, headBytes))
	}
	return exactly(r, n)
}

// failed and putOff pass what became of an analysis to the node of the study.
func (w *Worker) failed(ctx context.Context, o queue.Origin, job queue.Job, reason error) (tries int, again bool, err error) {
	var v verdict
	err = w.post(ctx, jobURL(o, job, "failed"), verdict{Reason: reason.Error()}, &v)
	if errors.Is(err, errGone) {
		return 0, false, nil
	}
	return v.Tries, v.Again, err
}

func (w *Worker) putOff(ctx context.Context, o queue.Origin, job queue.Job, reason error) error {
	why := ""
	if reason != nil {
		why = reason.Error()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farWait)
	defer cancel()
	if err := w.post(ctx, jobURL(o, job, "putoff"), verdict{Reason: why}, nil); !errors.Is(err, errGone) {
		return err
	}
	return nil
}

// farObject is an object of a node. Its head is here; the rest is fetched when pixels are read, and verified.
type farObject struct {
	worker *Worker
	ctx    context.Context // of the job
	target string
	taskObject
	head []byte
}

func (o farObject) Open() (pipeline.ObjectReader, error) { return &farReader{farObject: o}, nil }

type farReader struct {
	farObject
	whole []byte
}

func (r *farReader) Size() int64 { return r.taskObject.Size }

func (r *farReader) Close() error { return nil }

func (r *farReader) ReadAt(p []byte, at int64) (int, error) {
	from := r.head
	if r.whole != nil {
		from = r.whole
	} else if at+int64(len(p)) > int64(len(r.head)) && int64(len(r.head)) < r.Size() {
		if err := r.fetch(); err != nil {
			return 0, err
		}
		from = r.whole
	}
	return bytes.NewReader(from).ReadAt(p, at)
}

// fetch gets the whole object and compares its digest.
func (r *farReader) fetch() error {
	return r.worker.ask(r.ctx, http.MethodGet, r.target, nil, func(body io.Reader) error {
		raw, err := exactly(body, r.Size())
		if err != nil {
			return queue.Later(err, farWait)
		}
		f, err := dcm.Read(bytes.NewReader(raw), int64(len(raw)), dcm.Limits{})
		if err != nil {
			return err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, f.Encoded()); err != nil {
			return err
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != r.SHA256 {
			return queue.Later(fmt.Errorf("an object arrived with sha256 %s, not %s", got, r.SHA256), farWait)
		}
		r.whole = raw
		return nil
	})
}
