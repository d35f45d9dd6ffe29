package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/assembly"
	"ichor/pipeline/finding"
	"ichor/pipeline/queue"
	"ichor/pipeline/state"
	"ichor/reporting/deliver"
	"ichor/reporting/outcome"
	"ichor/scp/dcm"
	"ichor/scp/spool"
)

// counting is an analysis without networks: it refuses every study and counts them.
type counting struct {
	analyses  int
	unwatched int // analyses whose progress nobody sees
	timing    map[string]int64
}

func (c *counting) Analyze(ctx context.Context, study pipeline.Study) (*analysis.Analysis, error) {
	c.analyses++
	if ctx.Value(movingKey{}) == nil {
		c.unwatched++
	}
	header := &dcm.DataSet{}
	header.SetStrings(dcm.StudyInstanceUID, "UI", study.UID)
	return &analysis.Analysis{Header: header, Finding: finding.Finding{Status: finding.Refused, TimingMS: c.timing, Code: finding.Undecodable, Reason: "no network here"}}, nil
}

// smallNode is as much of a node as jobs need, on a state folder that may have been used before.
func smallNode(t *testing.T, dir string, destinations ...config.Destination) (*Node, *counting, *strings.Builder) {
	t.Helper()
	c, log := config.Default(), &strings.Builder{}
	c.State, c.DICOM.ReserveMiB, c.DICOM.PreparedMiB = dir, 0, 0
	c.Destinations = destinations
	counted := &counting{}
	n := &Node{config: c, log: slog.New(slog.NewTextHandler(log, nil)), engine: &Engine{Analyzer: counted}, observer: newObserver(), computing: make(chan struct{}, 1)}
	n.look()
	var err error
	if n.store, err = state.Open(filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	if n.results, err = outcome.New(n.resultOptions("test")); err != nil {
		t.Fatal(err)
	}
	if n.spool, err = spool.Open(t.Context(), spoolOptions(c, n.log)); err != nil {
		t.Fatal(err)
	}
	if n.queue, err = queue.Start(t.Context(), queue.Options{Dir: filepath.Join(dir, "queue"), Node: n.store.Node(), Failed: n.failed, PutOff: n.putOff, Logger: n.log}); err != nil {
		t.Fatal(err)
	}
	n.assembler = assembly.New(assembly.Options{Begin: n.begin, Complete: n.complete})
	n.deliverer = deliver.New(deliver.Options{State: n.store})
	t.Cleanup(func() {
		if counted.unwatched > 0 {
			t.Errorf("%d analyses whose progress nobody watches", counted.unwatched)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, counted, log
}

// receive stores objects of a study, each of so many bytes of pixels, as C-STORE does.
func (n *Node) receive(t *testing.T, study string, objects int) { n.receiveOf(t, study, objects, "") }

// receiveOf puts objects of a patient into the spool.
func (n *Node) receiveOf(t *testing.T, study string, objects int, patientID string) {
	t.Helper()
	s := n.spool.Intake()
	defer s.Close()
	for i := range objects {
		d := &dcm.DataSet{}
		instance := study + "." + strings.Repeat("1", i+1)
		for tag, uid := range map[dcm.Tag]string{dcm.SOPClassUID: dcm.CTImageStorage, dcm.SOPInstanceUID: instance, dcm.StudyInstanceUID: study, dcm.SeriesInstanceUID: study + ".9"} {
			d.SetStrings(tag, "UI", uid)
		}
		if patientID != "" {
			d.SetStrings(dcm.PatientID, "LO", patientID)
		}
		var b bytes.Buffer
		if err := dcm.WriteDataSet(&b, d, dcm.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		w, err := s.Create(dcm.CTImageStorage, instance, dcm.ExplicitVRLittleEndian, "CT1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// queued records a study as complete with so many objects and returns its job.
func (n *Node) queued(t *testing.T, study string, objects int) queue.Job {
	t.Helper()
	c, err := n.store.Queue(study, objects, "quiet 5s", now())
	if err != nil {
		t.Fatal(err)
	}
	return queue.Job{CaseID: c.ID, StudyInstanceUID: study, Revision: c.Revision, Complete: c.Complete}
}

// TestJobOfUnknownCase: a job that this node knows nothing of, as that of another node on the same queue, is not
// acknowledged: it stays with the queue.
func TestJobOfUnknownCase(t *testing.T) {
	n, counted, log := smallNode(t, t.TempDir())
	const study = "1.2.1"
	if err := n.queue.Submit(t.Context(), queue.Job{CaseID: state.IDOf(study), StudyInstanceUID: study, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	handled := make(chan error, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- n.queue.Work(ctx, 1, func(ctx context.Context, job queue.Job) error {
			err := n.analyse(ctx, job)
			handled <- err
			return err
		})
	}()
	if err := <-handled; err == nil {
		t.Error("acknowledged")
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stats, err := n.queue.Stats(t.Context())
	if err != nil || stats.Waiting != 1 || counted.analyses != 0 {
		t.Errorf("%+v, %d analyses, %v", stats, counted.analyses, err)
	}
	if lines := strings.Count(log.String(), "this node does not know the case"); lines != 1 {
		t.Errorf("told %d times:\n%s", lines, log)
	}
}

// TestLostObjects: objects that were acknowledged and are gone, found by a job. What is left is not analysed, costs no try,
// and the log names both numbers; a former result stands.
func TestLostObjects(t *testing.T) {
	const study = "1.2.1"
	for name, c := range map[string]struct {
		former bool
		want   state.Phase
	}{"never analysed": {false, state.Failed}, "analysed before": {true, state.Refused}} {
		t.Run(name, func(t *testing.T) {
			n, counted, log := smallNode(t, t.TempDir())
			n.receive(t, study, 3)
			before := 0
			if c.former {
				if err := n.analyse(t.Context(), n.queued(t, study, 3)); err != nil {
					t.Fatal(err)
				}
				before = 1
			}
			if err := n.analyse(t.Context(), n.queued(t, study, 5)); err != nil { // of five objects three are left
				t.Fatal(err)
			}
			got, err := n.store.Case(state.IDOf(study))
			if err != nil || got.Phase != c.want || !strings.Contains(got.Error, "3 of the 5 objects") || (got.Finding != nil) != c.former {
				t.Errorf("%+v, %v", got, err)
			}
			if counted.analyses != before || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "objects=3 of=5") {
				t.Errorf("%d analyses\n%s", counted.analyses, log)
			}
			if err := n.Retry(t.Context(), got.ID); !errors.Is(err, state.ErrTransition) || !strings.Contains(err.Error(), "send the whole study again") {
				t.Errorf("retry: %v", err)
			}
			n.receive(t, study, 5) // the sender repeats the study
			if err := n.Retry(t.Context(), got.ID); err != nil {
				t.Errorf("retry of the whole study: %v", err)
			}
		})
	}
}

// TestDamagedObject: one byte of a study rots after it was analysed. Neither the scrub of the spool nor two restarts make
// the result worse, or analyse anything.
func TestDamagedObject(t *testing.T) {
	const study = "1.2.1"
	dir := t.TempDir()
	life := func(t *testing.T, do func(n *Node, counted *counting, log *strings.Builder)) {
		t.Run("life", func(t *testing.T) {
			n, counted, log := smallNode(t, dir)
			do(n, counted, log)
		})
	}
	life(t, func(n *Node, _ *counting, _ *strings.Builder) {
		n.receive(t, study, 3)
		if err := n.analyse(t.Context(), n.queued(t, study, 3)); err != nil {
			t.Fatal(err)
		}
	})
	rot(t, filepath.Join(dir, "spool"), study+".11")
	for range 2 {
		life(t, func(n *Node, counted *counting, log *strings.Builder) {
			if err := n.spool.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := n.resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer stop()
			if err := n.queue.Work(ctx, 1, n.analyse); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			c, err := n.store.Case(state.IDOf(study))
			if err != nil || c.Phase != state.Refused || c.Finding == nil || c.Revision != 1 || counted.analyses != 0 {
				t.Errorf("%+v, %d analyses, %v", c, counted.analyses, err)
			}
			if n.objects(study) != 2 || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "objects=2 of=3") {
				t.Errorf("%d objects\n%s", n.objects(study), log)
			}
		})
	}
}

// rot changes one byte of the data set of an object.
func rot(t *testing.T, dir, instance string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		element := append([]byte{'U', 'I', byte(len(instance)), 0}, instance...) // of even length
		if at := bytes.Index(data, element); err == nil && at >= 0 {
			found = true
			data[at+len(element)-1] ^= 4
			err = os.WriteFile(path, data, 0o600)
		}
		return err
	})
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
}
