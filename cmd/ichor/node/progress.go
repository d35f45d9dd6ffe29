package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ichor/pipeline"
	"ichor/pipeline/analysis"
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

	mu       sync.Mutex
	networks []analysis.Step // one for each, from its first run to its last
}

// ran counts a run of a network.
func (m *moving) ran(name string, start, end time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.networks, func(s analysis.Step) bool { return s.Name == name })
	if i < 0 {
		i = len(m.networks)
		m.networks = append(m.networks, analysis.Step{Name: name, Start: start})
	}
	s := &m.networks[i]
	s.Runs++
	if start.Before(s.Start) { // runs overlap
		s.Start = start
	}
	if end.After(s.End) {
		s.End = end
	}
}

// steps returns the networks that have run.
func (m *moving) steps() []analysis.Step {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.networks)
}

type movingKey struct{}

// begin adds an analysis. What moves it is known by the context.
func (p *progress) begin(ctx context.Context) (_ context.Context, _ *moving, end func()) {
	m := &moving{begun: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = map[*moving]bool{}
	}
	p.running[m] = true
	return context.WithValue(ctx, movingKey{}, m), m, func() {
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

// movingOf returns the analysis of a context, nil for none.
func movingOf(ctx context.Context) *moving {
	m, _ := ctx.Value(movingKey{}).(*moving)
	return m
}

// move says that an analysis has moved.
func (m *moving) move() {
	if m != nil {
		m.moved.Store(int64(time.Since(m.begun)))
	}
}

// watchedNet is a network whose runs are progress.
type watchedNet struct {
	pipeline.Net
	name string
}

func (n watchedNet) Run(ctx context.Context, input []float32, batch int) ([]float32, error) {
	m, start := movingOf(ctx), time.Now()
	out, err := n.Net.Run(ctx, input, batch)
	if m != nil {
		m.move()
		m.ran(n.name, start, time.Now())
	}
	return out, err
}

// watchedDecoder is a decoder whose images are progress.
type watchedDecoder struct{ pipeline.Decoder }

func (d watchedDecoder) Pixels(ctx context.Context, f *dcm.File) ([]byte, error) {
	defer movingOf(ctx).move()
	return d.Decoder.Pixels(ctx, f)
}

// analyze runs an analysis under watch. Its result names the networks that ran.
func (p *progress) analyze(ctx context.Context, a Analyzer, study pipeline.Study) (*analysis.Analysis, error) {
	ctx, m, end := p.begin(ctx)
	defer end()
	result, err := a.Analyze(ctx, study)
	if result != nil {
		result.Steps = append(result.Steps, m.steps()...)
	}
	return result, err
}
