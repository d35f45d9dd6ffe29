package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ichor/pipeline"
	"ichor/scp/dcm"
)

// stillAfter is far longer than an analysis takes between two slices, however many it has and however slow the machine is.
const stillAfter = 30 * time.Minute

// progress watches the analyses of this process: each must decode an image or run a network now and then. How long an analysis
// takes as a whole does not matter. The zero value is ready.
type progress struct {
	mu      sync.Mutex
	running map[*moving]bool
}

// moving is one analysis.
type moving struct {
	begun time.Time
	moved atomic.Int64 // time since begun
}

type movingKey struct{}

// begin adds an analysis. Its steps are known by the context.
func (p *progress) begin(ctx context.Context) (_ context.Context, end func()) {
	m := &moving{begun: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = map[*moving]bool{}
	}
	p.running[m] = true
	return context.WithValue(ctx, movingKey{}, m), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, m)
	}
}

// stuck returns an error if, at a time, an analysis has not moved for too long.
func (p *progress) stuck(at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.running {
		if still := at.Sub(m.begun) - time.Duration(m.moved.Load()); still > stillAfter {
			return fmt.Errorf("an analysis that began %v ago has not moved for %v", at.Sub(m.begun).Round(time.Second), still.Round(time.Second))
		}
	}
	return nil
}

// moved says that the analysis of a context has moved.
func moved(ctx context.Context) {
	if m, ok := ctx.Value(movingKey{}).(*moving); ok {
		m.moved.Store(int64(time.Since(m.begun)))
	}
}

// watchedNet is a network whose runs are progress.
type watchedNet struct{ pipeline.Net }

func (n watchedNet) Run(ctx context.Context, input []float32, batch int) ([]float32, error) {
	defer moved(ctx)
	return n.Net.Run(ctx, input, batch)
}

// watchedDecoder is a decoder whose images are progress.
type watchedDecoder struct{ pipeline.Decoder }

func (d watchedDecoder) Pixels(ctx context.Context, f *dcm.File) ([]byte, error) {
	defer moved(ctx)
	return d.Decoder.Pixels(ctx, f)
}
