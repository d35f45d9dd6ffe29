package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/state"
	"ichor/scp/spool"
)

// gated is an analysis that tells when it begins and waits to be let go.
type gated struct {
	counting
	began   chan pipeline.Study
	release chan func() error
}

func (g *gated) Analyze(ctx context.Context, study pipeline.Study) (*analysis.Analysis, error) {
	g.began <- study
	select {
	case ending := <-g.release:
		if err := ending(); err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.counting.Analyze(ctx, study)
}

func ok() error { return nil }

// earlyNode is a small node with early analyses, which run until the test ends.
func earlyNode(t *testing.T) (*Node, *gated) {
	t.Helper()
	n, _, _ := smallNode(t, t.TempDir())
	g := &gated{began: make(chan pipeline.Study), release: make(chan func() error)}
	n.engine.Analyzer = g
	n.early = newEarly(1, n.analyseEarly)
	n.computing = make(chan struct{}, 2)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.early.run(ctx, n.receivingObjects) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n, g
}

// ripen receives objects of a study that then seems to be complete.
func (n *Node) ripen(t *testing.T, study string, objects int) {
	t.Helper()
	n.receive(t, study, objects)
	if _, err := n.store.Receive(study, now()); err != nil {
		t.Fatal(err)
	}
	n.early.begin(study)
}

// job analyses the whole study as the queue does.
func (n *Node) job(t *testing.T, study string, objects int) <-chan error {
	t.Helper()
	job, ended := n.queued(t, study, objects), make(chan error, 1)
	go func() { ended <- n.analyse(t.Context(), job) }()
	return ended
}

func (n *Node) findingOf(t *testing.T, study string) state.Case {
	t.Helper()
	c, err := n.store.Case(state.IDOf(study))
	if err != nil || c.Finding == nil {
		t.Fatalf("%+v, error %v", c, err)
	}
	return c
}

// TestEarly: the job of a study takes the result of its early analysis, also one that is still running, and says by which rule
// the study was complete.
func TestEarly(t *testing.T) {
	for name, wait := range map[string]bool{"finished": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			const study = "1.2.1"
			n, g := earlyNode(t)
			n.ripen(t, study, 3)
			if s := <-g.began; !s.Early || len(s.Objects) != 3 {
				t.Errorf("early %t, %d objects; want true, 3", s.Early, len(s.Objects))
			}
			if !wait {
				g.release <- ok
			}
			ended := n.job(t, study, 3)
			if wait {
				g.release <- ok
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if c := n.findingOf(t, study); c.Finding.Complete != "quiet 5s" || g.analyses != 1 {
				t.Errorf("complete %q, %d analyses; want quiet 5s, 1", c.Finding.Complete, g.analyses)
			}
			if len(n.early.guesses) != 0 {
				t.Error("the early result is kept although it was taken")
			}
		})
	}
}

// TestEarlyDropped: when another object arrives, the early analysis is stopped, and the job analyses all objects.
func TestEarlyDropped(t *testing.T) {
	const study = "1.2.1"
	n, g := earlyNode(t)
	n.ripen(t, study, 3)
	<-g.began
	n.receive(t, study, 4)
	received := n.spool.Study(study)
	sink{n.assembler, n.store, n.early, nil}.Received(1, received[len(received)-1], true)
	ended := n.job(t, study, 4) // begins only after the stopped analysis gave up its place
	if s := <-g.began; s.Early || len(s.Objects) != 4 {
		t.Errorf("early %t, %d objects; want false, 4", s.Early, len(s.Objects))
	}
	g.release <- ok
	if err := <-ended; err != nil || g.analyses != 1 {
		t.Errorf("%d analyses, error %v; want 1", g.analyses, err)
	}
}

// TestEarlyOfOtherObjects: an early result of fewer objects is not used, even if dropping it was missed.
func TestEarlyOfOtherObjects(t *testing.T) {
	const study = "1.2.1"
	n, g := earlyNode(t)
	n.ripen(t, study, 3)
	<-g.began
	g.release <- ok
	n.receive(t, study, 4)
	ended := n.job(t, study, 4)
	<-g.began
	g.release <- ok
	if err := <-ended; err != nil || g.analyses != 2 {
		t.Errorf("%d analyses, error %v; want 2", g.analyses, err)
	}
}

// TestEarlyFails: whatever becomes of an early analysis, the job of the study runs.
func TestEarlyFails(t *testing.T) {
	for name, ending := range map[string]func() error{
		"partial": func() error { return pipeline.ErrPartial },
		"error":   func() error { return errors.New("no memory") },
		"panic":   func() error { panic("bug") },
	} {
		t.Run(name, func(t *testing.T) {
			const study = "1.2.1"
			n, g := earlyNode(t)
			n.ripen(t, study, 3)
			<-g.began
			g.release <- ending
			ended := n.job(t, study, 3)
			<-g.began
			g.release <- ok
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if c := n.findingOf(t, study); c.Tries != 0 {
				t.Errorf("counted as %d failed tries", c.Tries)
			}
		})
	}
}

// TestEarlyRoom: a second study waits until the result of the first is taken or dropped, because results are large. A study
// that is complete by then is not begun.
func TestEarlyRoom(t *testing.T) {
	n, g := earlyNode(t)
	n.ripen(t, "1.2.1", 3)
	<-g.began
	g.release <- ok
	n.ripen(t, "1.2.2", 3)
	n.ripen(t, "1.2.3", 3)
	n.queued(t, "1.2.2", 3)
	select {
	case <-g.began:
		t.Fatal("a second one began")
	case <-time.After(50 * time.Millisecond):
	}
	n.early.drop("1.2.1")
	if s := <-g.began; s.UID != "1.2.3" {
		t.Errorf("began %s, want 1.2.3", s.UID)
	}
	g.release <- ok
}

// TestNoEarly: a node with little memory has none.
func TestNoEarly(t *testing.T) {
	var e *early
	e.begin("1")
	e.drop("1")
	if got := e.take(t.Context(), "1", []spool.Object{{}}); got != nil || e.run(t.Context(), nil) != nil {
		t.Error("not nothing")
	}
	if slices.Contains(digests([]spool.Object{{SHA256: "a"}}), digests([]spool.Object{{SHA256: "b"}})[0]) {
		t.Error("other objects have equal digests")
	}
}
