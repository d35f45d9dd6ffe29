package window

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Runs says how a network is run.
type Runs struct {
	Batch int // slabs in one run; 0 means 1, which is as fast as more on a CPU
	Lanes int // runs at the same time, each on one core; 0 means 1
}

// Each runs net over the slabs for which wanted returns true, and calls visit for each of them with its outputs x N x N
// probabilities. outputs is the number of output channels. Calls of visit run at the same time and in any order; each has its
// own p. The input of further slabs is prepared meanwhile.
//
// Slabs that show only air all have the same input, all zeros. The network runs once for all of them.
func (s *Stack) Each(ctx context.Context, net Net, runs Runs, outputs int, wanted func(slab int) bool, visit func(slab int, p []float32) error) error {
	size := s.in.Size() * s.in.Size()
	e := &each{net: net, element: s.in.Channels() * size, output: outputs * size, of: s.Slabs(), visit: visit}
	batch, lanes := max(runs.Batch, 1), max(runs.Lanes, 1)
	g, ctx := errgroup.WithContext(ctx)
	filled, free := make(chan filling), make(chan filling, lanes+1)
	for range lanes + 1 {
		free <- filling{}
	}
	g.Go(func() error { // Fill needs the slabs in order, one at a time
		defer close(filled)
		for z := 0; z < s.Slabs(); {
			var b filling
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			b.index, b.input = b.index[:0], slices.Grow(b.input[:0], min(batch, s.Slabs())*e.element)
			for ; z < s.Slabs() && len(b.index) < batch; z++ {
				if !wanted(z) {
					continue
				}
				n := len(b.input)
				b.input = b.input[:n+e.element]
				s.Fill(b.input[n:], z)
				b.index = append(b.index, z)
			}
			if len(b.index) == 0 {
				return nil
			}
			select {
			case filled <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range lanes {
		g.Go(func() error {
			for b := range filled {
				if err := e.run(ctx, b); err != nil {
					return err
				}
				free <- b // has room for all
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// filling is the input of one run.
type filling struct {
	index []int
	input []float32
}

// each is one call of Each.
type each struct {
	net             Net
	element, output int // values of one slab
	of              int
	visit           func(slab int, p []float32) error

	once     sync.Once
	empty    []float32 // output for an input of zeros
	emptyErr error
}

// run computes the slabs of b. Empty ones are left out of the run.
func (e *each) run(ctx context.Context, b filling) error {
	var index []int
	input := b.input[:0]
	for i, z := range b.index {
		one := b.input[i*e.element : (i+1)*e.element]
		if !slices.ContainsFunc(one, func(v float32) bool { return v != 0 }) {
			e.once.Do(func() { e.empty, e.emptyErr = e.compute(ctx, one, z, 1) })
			if e.emptyErr != nil {
				return e.emptyErr
			}
			if err := e.visit(z, e.empty); err != nil {
				return err
			}
			continue
		}
		index, input = append(index, z), append(input, one...) // moves slabs forward, over those left out
	}
	if len(index) == 0 {
		return nil
	}
	p, err := e.compute(ctx, input, index[0], len(index))
	if err != nil {
		return err
	}
	for i, z := range index {
		if err := e.visit(z, p[i*e.output:(i+1)*e.output]); err != nil {
			return err
		}
	}
	return nil
}

func (e *each) compute(ctx context.Context, input []float32, z, n int) ([]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := e.net.Run(ctx, input, n)
	if err != nil {
		return nil, fmt.Errorf("slab %d of %d: %w", z+1, e.of, err)
	}
	if len(p) != n*e.output {
		return nil, fmt.Errorf("slab %d of %d: network answered %d values, not %d", z+1, e.of, len(p), n*e.output)
	}
	return p, nil
}
