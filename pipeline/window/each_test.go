package window

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"ichor/pipeline/volume"
)

// ramp is a stack of 7 slices, slice k of 10 k HU; slices in empty are air.
func ramp(empty ...int) *Stack {
	v := &volume.Volume{Grid: volume.Grid{Rows: 16, Columns: 16, AlongRow: volume.Vec{1, 0, 0}, AlongColumn: volume.Vec{0, 1, 0}, SpacingMM: [2]float64{1, 1}}}
	for k := range 7 {
		v.Origins = append(v.Origins, volume.Vec{0, 0, float64(5 * k)})
		hu := int16(10*k + 10)
		if slices.Contains(empty, k) {
			hu = volume.AirHU
		}
		for range 256 {
			v.HU = append(v.HU, hu)
		}
	}
	return NewStack(v, input(16, 1, 1, 0, [2]float64{0, 100}), 7.5, 7.5)
}

// middle is a network that answers its middle channel, plus 0.001, and counts the slabs it sees.
func middle(seen *atomic.Int64) net {
	return func(_ context.Context, in []float32, n int) ([]float32, error) {
		seen.Add(int64(n))
		var out []float32
		for i := range n {
			for _, v := range in[(3*i+1)*256 : (3*i+2)*256] {
				out = append(out, v+0.001)
			}
		}
		return out, nil
	}
}

func all(int) bool { return true }

func TestEach(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		batch, lanes int
		empty        []int
		wanted       func(int) bool
		want         []int
		runs         int64
	}{
		{0, 0, nil, all, []int{0, 1, 2, 3, 4, 5, 6}, 7},
		{1, 3, nil, all, []int{0, 1, 2, 3, 4, 5, 6}, 7},
		{2, 1, nil, all, []int{0, 1, 2, 3, 4, 5, 6}, 7},
		{3, 2, nil, all, []int{0, 1, 2, 3, 4, 5, 6}, 7},
		{9, 2, nil, all, []int{0, 1, 2, 3, 4, 5, 6}, 7},
		{2, 2, nil, func(z int) bool { return z > 1 && z != 4 }, []int{2, 3, 5, 6}, 4},
		{1, 2, nil, func(int) bool { return false }, nil, 0},
		{1, 2, []int{3, 4, 5, 6}, all, []int{0, 1, 2, 3, 4, 5, 6}, 5}, // 4, 5 and 6 are all zeros, neighbours included: one run for them
		{4, 1, []int{0, 1, 2, 3, 4, 5, 6}, all, []int{0, 1, 2, 3, 4, 5, 6}, 1},
	} {
		t.Run(fmt.Sprintf("batch %d, lanes %d, empty %v, %d slabs", c.batch, c.lanes, c.empty, len(c.want)), func(t *testing.T) {
			var seen atomic.Int64
			var mu sync.Mutex
			var got []int
			err := ramp(c.empty...).Each(t.Context(), middle(&seen), Runs{Batch: c.batch, Lanes: c.lanes}, 1, c.wanted, func(slab int, p []float32) error {
				mu.Lock()
				defer mu.Unlock()
				want := 0.001
				if !slices.Contains(c.empty, slab) {
					want += 0.1 * float64(slab+1)
				}
				if math.Abs(float64(p[100])-want) > 1e-6 {
					t.Errorf("slab %d has %v, want %v", slab, p[100], want)
				}
				got = append(got, slab)
				return nil
			})
			slices.Sort(got)
			if err != nil || !slices.Equal(got, c.want) || seen.Load() != c.runs {
				t.Errorf("slabs %v in %d runs, error %v; want %v in %d", got, seen.Load(), err, c.want, c.runs)
			}
		})
	}
}

func TestEachErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	none := func(int, []float32) error { return nil }
	for name, n := range map[string]net{
		"failing": func(context.Context, []float32, int) ([]float32, error) { return nil, broken },
		"short":   func(context.Context, []float32, int) ([]float32, error) { return make([]float32, 9), nil },
	} {
		for _, empty := range [][]int{nil, {0, 1, 2, 3, 4, 5, 6}} {
			if err := ramp(empty...).Each(t.Context(), n, Runs{Batch: 2, Lanes: 2}, 1, all, none); err == nil {
				t.Errorf("%s network, empty %v: no error", name, empty)
			}
		}
	}
	var seen atomic.Int64
	if err := ramp().Each(t.Context(), middle(&seen), Runs{Lanes: 2}, 1, all, func(int, []float32) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("failing visit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen.Store(0)
	err := ramp().Each(ctx, net(func(_ context.Context, in []float32, n int) ([]float32, error) {
		seen.Add(1)
		cancel()
		return make([]float32, n*256), nil
	}), Runs{Batch: 2}, 1, all, none)
	if !errors.Is(err, context.Canceled) || seen.Load() != 1 {
		t.Errorf("cancelled: %d runs, %v", seen.Load(), err)
	}
}
