package node

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ichor/scp/dcm"
)

// still is a network and a decoder.
type still struct{}

func (still) Run(context.Context, []float32, int) ([]float32, error) { return nil, nil }
func (still) Pixels(context.Context, *dcm.File) ([]byte, error)      { return nil, nil }

// TestProgress: an analysis that takes hours is alive as long as it decodes images or runs networks; one that does neither is stuck,
// even if another moves.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p progress
		movingOf(t.Context()).move() // outside of an analysis
		slow, m, endSlow := p.begin(t.Context())
		for i := range 24 {
			time.Sleep(stillAfter - time.Minute)
			if err := p.stuck(time.Now()); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if i%2 == 0 {
				_, _ = watchedNet{still{}, "bleed"}.Run(slow, nil, 1)
			} else {
				_, _ = watchedDecoder{still{}}.Pixels(slow, nil)
			}
		}
		if steps := m.steps(); len(steps) != 1 || steps[0].Name != "bleed" || steps[0].Runs != 12 || steps[0].End.Sub(steps[0].Start) != 22*(stillAfter-time.Minute) {
			t.Errorf("networks: %+v", steps)
		}
		_, _, endHung := p.begin(t.Context())
		time.Sleep(stillAfter + time.Minute)
		movingOf(slow).move()
		if err := p.stuck(time.Now()); err == nil || !strings.Contains(err.Error(), "has not moved for 31m0s") {
			t.Errorf("an analysis that hangs beside one that moves: %v", err)
		}
		endHung()
		if err := p.stuck(time.Now()); err != nil {
			t.Errorf("after it has ended: %v", err)
		}
		endSlow()
		if err := p.stuck(time.Now().Add(24 * time.Hour)); err != nil {
			t.Errorf("without analyses: %v", err)
		}
	})
}
