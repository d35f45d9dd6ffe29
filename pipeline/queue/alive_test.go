package queue

import (
	"context"
	"testing"
	"time"
)

// TestStuck: a worker with one job for hours is stuck unless it waits for what is watched elsewhere; one without a job that asks
// for the next is not.
func TestStuck(t *testing.T) {
	q := start(t, Options{})
	begun, end := make(chan bool), make(chan bool)
	stop := work(t, q, 1, func(ctx context.Context, _ Job) error {
		Await(ctx, func() { begun <- true; <-end })
		begun <- true
		<-end
		return nil
	})
	defer stop()
	if err := q.Submit(t.Context(), job(1)); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := q.Stuck(time.Now().Add(24 * time.Hour)); err != nil {
		t.Errorf("a day in Await: %v", err)
	}
	end <- true
	<-begun
	if err := q.Stuck(time.Now().Add(30 * time.Minute)); err != nil {
		t.Errorf("half an hour: %v", err)
	}
	if q.Stuck(time.Now().Add(2*time.Hour)) == nil {
		t.Error("two hours of one analysis pass as work")
	}
	close(end)
	// It asks for the next job now. If it did not for ten minutes, that would be noticed.
	eventually(t, "a worker that does not ask is noticed", func() bool { return q.Stuck(time.Now().Add(10*time.Minute)) != nil })
	if err := q.Stuck(time.Now().Add(time.Minute)); err != nil {
		t.Errorf("an idle worker: %v", err)
	}
}
