package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"ichor/pipeline/state"
)

// stoppable starts a worker and returns what SIGTERM does: it ends the context, and waits for Run.
func (c *cluster) stoppable(e *Engine, ackWait time.Duration) (stop func() error) {
	c.t.Helper()
	w, err := NewWorker(c.t.Context(), Options{Config: c.config(ackWait), Version: "1", Engine: e, Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil))})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(w.Run(ctx), w.Close()) }()
	return func() error { cancel(); return <-ended }
}

// TestWorkerDrains: a worker that is stopped ends the study that it has begun and takes no other. One that cannot end in time gives
// its job back at once: another worker has it long before the ack wait, and it does not count as a failed try.
func TestWorkerDrains(t *testing.T) {
	c := newCluster(t)
	const ackWait = 5 * time.Minute
	here, _, _ := standInEngine(t, 0, nil)
	n := c.node(here, ackWait)
	e, runs, _ := standInEngine(t, 20*time.Millisecond, nil)
	stop := c.stoppable(e, ackWait)
	first := sendStudies(t, n, 1)
	until(t, "the analysis runs", func() bool { return runs.Load() > 0 })
	second := sendStudies(t, n, 1)
	awaitPhase(t, n, second, state.Queued)
	if err := stop(); err != nil {
		t.Error(err)
	}
	awaitPhase(t, n, first, state.Analyzed) // its result came before the worker ended
	if got, err := n.store.Case(second[0]); err != nil || got.Phase != state.Queued || got.Tries != 0 {
		t.Errorf("the other study: %+v, %v", got, err)
	}

	e, runs, stuck := standInEngine(t, 0, nil)
	stuck.Store(true)
	stop = c.stoppable(e, ackWait)
	until(t, "the second analysis runs", func() bool { return runs.Load() > 0 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	other, _, _ := standInEngine(t, 0, nil)
	c.worker(other, "1", ackWait)
	awaitPhase(t, n, second, state.Analyzed)
	if took := time.Since(begun); took > ackWait/2 {
		t.Errorf("a job that was given back was taken up after %v", took)
	}
	if got, err := n.store.Case(second[0]); err != nil || got.Tries != 0 {
		t.Errorf("an interrupted analysis counts as a failed try: %+v, %v", got, err)
	}
}
