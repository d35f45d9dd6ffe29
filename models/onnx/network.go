package onnx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"ichor/models/bundle"
)

// maxBatch is the largest batch that a Network accepts. Larger ones are no faster, and the library keeps their memory.
const maxBatch = 64

// errClosed is returned by a Network or Runtime after Close.
var errClosed = errors.New("closed")

// Network is one network of a bundle, ready to run. It is safe for concurrent use.
type Network struct {
	runtime *Runtime
	role    bundle.Role
	source  *bundle.Network
	in, out []int64 // shapes of one batch element: channels, N, N
	mu      sync.RWMutex
	session *ort.DynamicAdvancedSession // nil after Close
	used    atomic.Bool                 // it ran since it was loaded
}

// Load prepares a network of an opened bundle. The ONNX file must have the input and output described in the manifest.
func (r *Runtime) Load(n *bundle.Network) (*Network, error) {
	data, err := n.Load()
	if err != nil {
		return nil, err
	}
	in, out, err := ort.GetInputOutputInfoWithONNXData(data)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read by ONNX Runtime %s: %w: %w", n.File, r.Version(), err, bundle.ErrRefused)
	}
	if err := errors.Join(match("input", in, n.Input.Name, n.Input.Shape), match("output", out, n.Output.Name, n.Output.Shape)); err != nil {
		return nil, fmt.Errorf("%s: %w", n.File, err)
	}
	s, err := r.session(n, data)
	if err != nil {
		return nil, err
	}
	session := &Network{runtime: r, role: n.Role, source: n, in: n.Input.Shape[1:], out: n.Output.Shape[1:], session: s}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.Join(fmt.Errorf("runtime: %w", errClosed), s.Destroy())
	}
	r.open[session] = struct{}{}
	return session, nil
}

func (r *Runtime) session(n *bundle.Network, data []byte) (*ort.DynamicAdvancedSession, error) {
	o, err := r.sessionOptions(n.Wide())
	if err != nil {
		return nil, err
	}
	defer o.Destroy()
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(data, []string{n.Input.Name}, []string{n.Output.Name}, o)
	if err != nil {
		return nil, fmt.Errorf("%s on execution provider %s: %w: %w; set analysis.provider to another one", n.File, r.options.Provider, err, errLibrary)
	}
	return s, nil
}

// rest loads the network again, which takes some tens of milliseconds, because the library offers no other way to free the
// memory of its runs. The former one stays if that fails, or while it runs. Wide networks keep no memory of their runs.
func (s *Network) rest() error {
	if s.source.Wide() || !s.used.Load() || !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	data, err := s.source.Load()
	if err != nil {
		return err
	}
	fresh, err := s.runtime.session(s.source, data)
	if err != nil {
		return err
	}
	former := s.session
	s.session = fresh
	s.used.Store(false)
	return former.Destroy()
}

// match compares the ONNX file with the manifest. A dynamic dimension of the file (-1) matches any size.
func match(what string, got []ort.InputOutputInfo, name string, shape []int64) error {
	if len(got) != 1 || got[0].Name != name {
		names := make([]string, len(got))
		for i := range got {
			names[i] = got[i].Name
		}
		return fmt.Errorf("%s.name is %q, but the file has %q: %w", what, name, names, bundle.ErrRefused)
	}
	if got[0].DataType != ort.TensorElementDataTypeFloat {
		return fmt.Errorf("%s of the file is %s, not float32: %w", what, got[0].DataType, bundle.ErrRefused)
	}
	dims := got[0].Dimensions
	fits := len(dims) == len(shape)
	for i := 0; fits && i < len(dims); i++ {
		fits = dims[i] == -1 || dims[i] == shape[i]
	}
	if !fits {
		return fmt.Errorf("%s.shape is %v, but the file has %v: %w", what, shape, dims, bundle.ErrRefused)
	}
	return nil
}

// Run computes one batch. input has batch * channels * N * N values in [0,1], in NCHW order; the result has the same layout
// with the channels of the output. When ctx is done, the run stops after the current node of the graph and returns ctx's error.
func (s *Network) Run(ctx context.Context, input []float32, batch int) (_ []float32, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if batch < 1 || batch > maxBatch {
		return nil, fmt.Errorf("network %s: batch of %d; must be 1 to %d", s.role, batch, maxBatch)
	}
	if want := batch * size(s.in); len(input) != want {
		return nil, fmt.Errorf("network %s: input of %d values; a batch of %d needs %d", s.role, len(input), batch, want)
	}
	s.mu.RLock() // Close waits for runs
	defer s.mu.RUnlock()
	if s.session == nil {
		return nil, fmt.Errorf("network %s: %w", s.role, errClosed)
	}
	s.used.Store(true)
	output := make([]float32, batch*size(s.out))
	if err := s.run(ctx, input, output, int64(batch)); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("network %s: %w", s.role, err)
	}
	if slices.ContainsFunc(output, func(f float32) bool { return f != f }) {
		return nil, fmt.Errorf("network %s: output contains NaN or infinite values", s.role)
	}
	return output, nil
}

func (s *Network) run(ctx context.Context, input, output []float32, batch int64) (err error) {
	in, err := ort.NewTensor(ort.NewShape(append([]int64{batch}, s.in...)...), input)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Destroy()) }()
	out, err := ort.NewTensor(ort.NewShape(append([]int64{batch}, s.out...)...), output)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Destroy()) }()
	options, err := ort.NewRunOptions()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		options.Terminate() // fails only for destroyed options; they are destroyed after this
	})
	err = s.session.RunWithOptions([]ort.Value{in}, []ort.Value{out}, options)
	if !stop() {
		<-stopped
	}
	// The library has pointers into these slices that the garbage collector does not see.
	runtime.KeepAlive(input)
	runtime.KeepAlive(output)
	return err
}

// Close waits for runs to end and frees the network. Closing it again does nothing.
func (s *Network) Close() error {
	s.runtime.mu.Lock()
	delete(s.runtime.open, s)
	s.runtime.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return err
}

func size(shape []int64) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

// Verify runs the reference input of n, from which s was loaded, and compares the result with the reference output. The error
// names the network, the largest difference and the tolerance.
func (s *Network) Verify(ctx context.Context, n *bundle.Network) error {
	input, want, err := n.Samples()
	if err != nil {
		return fmt.Errorf("network %s: %w", n.Role, err)
	}
	got, err := s.Run(ctx, input, int(n.Reference.InputShape[0]))
	if err != nil {
		return err
	}
	worst := 0.0
	for i := range want {
		worst = math.Max(worst, math.Abs(float64(got[i])-float64(want[i])))
	}
	if worst > n.Reference.Tolerance {
		remedy := "use another provider, or another bundle"
		if n.Precision() == bundle.Int8 { // processors without VNNI add pairs of 8-bit products in 16 bits, and saturate
			remedy = "set analysis.precision to float32"
		}
		return fmt.Errorf("network %s in %s: output differs from reference.output by %.2g, more than reference.tolerance %g, on provider %s: %w; %s",
			n.Role, n.Precision(), worst, n.Reference.Tolerance, s.runtime.options.Provider, bundle.ErrRefused, remedy)
	}
	return nil
}
