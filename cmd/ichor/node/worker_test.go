package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/pipeline/volume"
	"ichor/pipeline/window"
	"ichor/reporting/web"
	"ichor/scp/dcm/codec"
	"ichor/scp/scptest"
)

// standIn is a network that takes its time and answers by the values of its input: inside the head, and blood.
type standIn struct {
	outputs int
	wait    time.Duration
	runs    *atomic.Int64
	stuck   *atomic.Bool // runs do not end before their context
}

func (n standIn) Run(ctx context.Context, in []float32, batch int) ([]float32, error) {
	n.runs.Add(1)
	wait := n.wait
	if n.stuck.Load() {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	plane := len(in) / batch
	if n.outputs > 1 {
		plane /= 3
	}
	out := make([]float32, batch*n.outputs*plane)
	for b := range batch {
		for i := range plane {
			v := in[b*len(in)/batch+min(plane, len(in)/batch-plane)+i] // the middle channel, or the only one
			if n.outputs == 1 && v > 0 {
				out[b*plane+i] = 0.9
			}
		}
	}
	return out, nil
}

// standInEngine is the shipped bundle with networks that wait, one slice at a time.
func standInEngine(t *testing.T, wait time.Duration, edit func(*bundle.Bundle)) (*Engine, *atomic.Int64, *atomic.Bool) {
	t.Helper()
	b, err := bundle.Open("../../../models/bundles/ichor-synthetic")
	if err != nil {
		t.Skip(err)
	}
	if edit != nil {
		edit(b)
	}
	runs, stuck := new(atomic.Int64), new(atomic.Bool)
	net := func(outputs int) window.Net { return standIn{outputs, wait, runs, stuck} }
	a := pipeline.New(pipeline.Options{Bundle: b, CavityTissue: net(1), CavityBone: net(1), Bleed: net(6), Decoder: &codec.Decoder{}, Selection: SelectionOptions(config.Default().Analysis)})
	return &Engine{Bundle: b, Decoder: &codec.Decoder{}, Analyzer: a, Adopter: a, Precision: bundle.Float32}, runs, stuck
}

// cluster is a NATS server, and certificates for nodes and workers.
type cluster struct {
	t    *testing.T
	url  string
	ca   *scptest.Authority
	file config.Workers
	stop func() // of the server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("no NATS server")
	}
	ca := scptest.NewAuthority(t)
	c := ca.Valid("localhost")
	stop := func() { s.Shutdown(); s.WaitForShutdown() }
	t.Cleanup(stop)
	return &cluster{t, s.ClientURL(), ca, config.Workers{Certificate: c.File, Key: c.Key, CA: ca.CA}, stop}
}

func (c *cluster) config(ackWait time.Duration) config.Config {
	k := config.Default()
	k.State, k.DICOM.Listen, k.HTTP.Listen, k.DICOM.ReserveMiB, k.DICOM.PreparedMiB = c.t.TempDir(), "127.0.0.1:0", "", 0, 0
	k.Assembly.QuietPeriod = 200 * time.Millisecond
	k.Queue.URL, k.Queue.AckWait, k.Workers = c.url, ackWait, c.file
	k.Canary.Start = false
	return k
}

// node starts a node without workers of its own.
func (c *cluster) node(e *Engine, ackWait time.Duration) *Node {
	c.t.Helper()
	k := c.config(ackWait)
	k.Analysis.Workers, k.Workers.Listen = 0, "127.0.0.1:0"
	k.Workers.URL = "https://localhost"
	n, err := New(c.t.Context(), Options{Config: k, Version: "1", Engine: e, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	c.run(n.Run, n.Close)
	return n
}

// worker starts a worker, and returns a function that ends it at once, as a crash would, if it has not ended.
func (c *cluster) worker(e *Engine, version string, ackWait time.Duration) (w *Worker, kill func()) {
	c.t.Helper()
	k := c.config(ackWait)
	w, err := NewWorker(c.t.Context(), Options{Config: k, Version: version, Engine: e, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	c.run(w.Run, w.Close)
	return w, func() { w.puller.Queue.Close() }
}

func (c *cluster) run(run func(context.Context) error, close func() error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(run(ctx), close()) }()
	c.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
}

// sendStudies sends so many small heads and returns their cases.
func sendStudies(t *testing.T, n *Node, studies int) (cases []state.CaseID) {
	t.Helper()
	head := synthetic.Head(synthetic.Shape{Balls: []synthetic.Ball{{Subtype: finding.IPH, CentreMM: volume.Vec{-30, 10, 5}, RadiusMM: 20}}})
	for range studies {
		objects, truth := head.DataSets(synthetic.WriteOptions{})
		store(t, n, objects)
		cases = append(cases, state.IDOf(truth.StudyInstanceUID))
	}
	return cases
}

// awaitPhase waits until all cases are in a phase.
func awaitPhase(t *testing.T, n *Node, cases []state.CaseID, phase state.Phase) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		left := slices.DeleteFunc(slices.Clone(cases), func(id state.CaseID) bool {
			c, err := n.store.Case(id)
			return err == nil && c.Phase == phase
		})
		if len(left) == 0 {
			return
		}
		if time.Since(begun) > 3*time.Minute {
			c, err := n.store.Case(left[0])
			t.Fatalf("%d of %d cases are not %s; the first: %+v, error %v", len(left), len(cases), phase, c, err)
		}
	}
}

// TestWorkers: two workers share the studies of a node, and their findings are those of the node itself. The log says how much
// faster they are, which a busy machine changes.
func TestWorkers(t *testing.T) {
	c := newCluster(t)
	const wait, studies = 60 * time.Millisecond, 4
	here, _, _ := standInEngine(t, 0, nil)
	n := c.node(here, time.Minute)
	var runs []*atomic.Int64 // of each worker
	took := func(workers int) time.Duration {
		cases := sendStudies(t, n, studies)
		awaitPhase(t, n, cases, state.Queued)
		start := time.Now()
		for range workers {
			e, count, _ := standInEngine(t, wait, nil)
			runs = append(runs, count)
			c.worker(e, "1", time.Minute)
		}
		awaitPhase(t, n, cases, state.Analyzed)
		took := time.Since(start)
		for _, id := range cases[:1] {
			got, err := n.store.Case(id)
			if err != nil {
				t.Fatal(err)
			}
			want, err := n.analyzeStudy(t.Context(), got.StudyInstanceUID, got.Complete, n.spool.Study(got.StudyInstanceUID), false)
			if err != nil || !reflect.DeepEqual(got.Finding.Volumes, want.Finding.Volumes) || got.Finding.CavityML != want.Finding.CavityML || got.Tries != 0 {
				t.Errorf("%+v, error %v; want %+v", got.Finding, err, want.Finding)
			}
		}
		return took
	}
	one := took(1)
	two := took(1) // beside the first
	t.Logf("%d studies: %v with one worker, %v with two: %.2f times", studies, one, two, one.Seconds()/two.Seconds())
	for i, count := range runs {
		if count.Load() == 0 {
			t.Errorf("worker %d of %d analysed nothing", i+1, len(runs))
		}
	}
}

// TestWorkerLost: a job whose worker is lost is given to another one after the ack wait.
func TestWorkerLost(t *testing.T) {
	c := newCluster(t)
	const ackWait = 2 * time.Second
	here, _, _ := standInEngine(t, 0, nil)
	n := c.node(here, ackWait)
	e, runs, stuck := standInEngine(t, 0, nil)
	stuck.Store(true)
	_, kill := c.worker(e, "1", ackWait)
	cases := sendStudies(t, n, 1)
	for runs.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	kill()
	lost := time.Now()
	other, _, _ := standInEngine(t, 0, nil)
	c.worker(other, "1", ackWait)
	awaitPhase(t, n, cases, state.Analyzed)
	if took := time.Since(lost); took > 10*ackWait {
		t.Errorf("taken up after %v, the ack wait is %v", took, ackWait)
	}
	stuck.Store(false)
}

// TestWorkerDiffers: a worker of another version, bundle or setting takes no job; node and worker say why. The job stays.
func TestWorkerDiffers(t *testing.T) {
	c := newCluster(t)
	here, _, _ := standInEngine(t, 0, nil)
	n := c.node(here, time.Minute)
	cases := sendStudies(t, n, 1)
	awaitPhase(t, n, cases, state.Queued)
	for name, d := range map[string]struct {
		version, word string
		edit          func(*bundle.Bundle)
	}{
		"version": {"2", "install the same version", nil},
		"bundle":  {"1", "use the same bundle", func(b *bundle.Bundle) { b.Digest = "0" }},
		"setting": {"1", "on the node, \"0.9\" on the worker", func(b *bundle.Bundle) { b.Network(bundle.Bleed).Threshold = 0.9 }},
	} {
		e, runs, _ := standInEngine(t, 0, d.edit)
		w, _ := c.worker(e, d.version, time.Minute)
		for begun := time.Now(); len(w.puller.Refused()) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > time.Minute {
				t.Fatalf("%s: not refused", name)
			}
		}
		for _, why := range w.puller.Refused() {
			if !strings.Contains(why, d.word) {
				t.Errorf("%s: the worker says %q, not %q", name, why, d.word)
			}
		}
		if !slices.ContainsFunc(n.workers(), func(x web.Worker) bool { return strings.Contains(x.Refused, d.word) }) {
			t.Errorf("%s: the node shows %+v", name, n.workers())
		}
		if runs.Load() > 0 {
			t.Errorf("%s: the worker analysed", name)
		}
		if err := w.puller.Queue.Close(); err != nil {
			t.Error(err)
		}
	}
	awaitPhase(t, n, cases, state.Queued)
}

// TestLendingNeedsCertificate: without a certificate of the authority nothing is answered.
func TestLendingNeedsCertificate(t *testing.T) {
	c := newCluster(t)
	here, _, _ := standInEngine(t, 0, nil)
	n := c.node(here, time.Minute)
	stranger := scptest.NewAuthority(t).Valid("localhost")
	k := c.config(time.Minute)
	k.Workers.Certificate, k.Workers.Key = stranger.File, stranger.Key
	w, err := NewWorker(t.Context(), Options{Config: k, Version: "1", Engine: here})
	if err != nil {
		t.Fatal(err)
	}
	defer w.puller.Close()
	if err := w.ask(t.Context(), "POST", n.serves()+workersPath+"hello", strings.NewReader("{}"), nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger: %v", err)
	}
}

// TestResultOnTheWire: what writeResult writes is read again; what is cut off, or promises too much, is an error.
func TestResultOnTheWire(t *testing.T) {
	t.Parallel()
	want := pipeline.Elsewhere{Finding: finding.Finding{Status: finding.Analyzed, Volumes: &finding.Volumes{Total: 3}}, Sources: []volume.Source{{SOPInstanceUID: "1.2", Frame: 1}},
		Labels: bytes.Repeat([]byte{0, 4}, 500), Cavity: bytes.Repeat([]byte{1}, 1000)}
	var b bytes.Buffer
	if err := writeResult(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := readResult(bytes.NewReader(b.Bytes()))
	if err != nil || got.Finding.Volumes.Total != 3 || !reflect.DeepEqual(got.Sources, want.Sources) || !bytes.Equal(got.Labels, want.Labels) || !bytes.Equal(got.Cavity, want.Cavity) {
		t.Errorf("%+v, error %v", got, err)
	}
	for n := range b.Len() - 8 { // the last 8 bytes are the checksum of gzip
		if _, err := readResult(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Fatalf("%d of %d bytes: no error", n, b.Len())
		}
	}
	refused := pipeline.Elsewhere{Finding: finding.Finding{Status: finding.Refused}}
	b.Reset()
	if err := writeResult(&b, refused); err != nil {
		t.Fatal(err)
	}
	if got, err := readResult(&b); err != nil || got.Finding.Status != finding.Refused || got.Labels != nil {
		t.Errorf("%+v, error %v", got, err)
	}
}
