package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestBeats: systemd hears of the node only after checks that succeed. A check that hangs or fails ends the beats, is told
// once, and is not repeated while it hangs.
func TestBeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		tick := make(chan time.Time)
		answers := make(chan error)
		checks, beaten := 0, 0
		var lost []error
		ended := make(chan bool)
		go func() {
			beats(ctx, tick, func() error { checks++; return <-answers }, func() { beaten++ }, func(err error) { lost = append(lost, err) })
			close(ended)
		}()
		bad := errors.New("state: damaged")
		for i, step := range []struct {
			answer         any // nil: none comes; true: success; an error
			beaten, checks int
			lost           []error
		}{
			{true, 1, 1, nil},
			{bad, 1, 2, []error{bad}},
			{bad, 1, 3, []error{bad}}, // told already
			{true, 2, 4, []error{bad}},
			{nil, 2, 5, []error{bad}}, // hangs from here on
			{nil, 2, 5, []error{bad, errHangs}},
			{nil, 2, 5, []error{bad, errHangs}},
			{true, 3, 5, []error{bad, errHangs}}, // the check of three ticks ago returns
			{bad, 3, 6, []error{bad, errHangs, bad}},
		} {
			tick <- time.Time{}
			synctest.Wait()
			switch a := step.answer.(type) {
			case bool:
				answers <- nil
			case error:
				answers <- a
			}
			synctest.Wait()
			if beaten != step.beaten || checks != step.checks || !slices.Equal(lost, step.lost) {
				t.Errorf("step %d: %d beats after %d checks, lost %v; want %+v", i, beaten, checks, lost, step)
			}
		}
		stop()
		<-ended
	})
}
