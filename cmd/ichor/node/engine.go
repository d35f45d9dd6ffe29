package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/models/onnx"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/selection"
	"ichor/pipeline/window"
	"ichor/scp/dcm/codec"
)

// Analyzer analyses one study; it is a pipeline.Analyzer.
type Analyzer interface {
	Analyze(context.Context, pipeline.Study) (*analysis.Analysis, error)
}

// Adopter reads a study that was analysed elsewhere; it is a pipeline.Analyzer, which needs no networks for this.
type Adopter interface {
	Adopt(context.Context, pipeline.Study, pipeline.Elsewhere) (*analysis.Analysis, error)
	Parameters() map[string]string
}

// Engine is the loaded bundle and the analysis that uses it.
type Engine struct {
	Bundle   *bundle.Bundle
	Decoder  *codec.Decoder
	Analyzer Analyzer
	Adopter  Adopter

	Precision bundle.Precision
	Why       string // who chose the precision, and why
	runtime   *onnx.Runtime
}

// libraryPath returns the library set in the configuration, or the one shipped with ichor.
func libraryPath(c config.Analysis) (string, error) {
	if c.Library != "" {
		return c.Library, nil
	}
	const name = "libonnxruntime.so.1.24.4"
	return shipped("ONNX Runtime", "analysis.library", "lib/"+name, "../lib/ichor/"+name)
}

// shipped finds a file or folder shipped with the binary: next to it, in the source tree around it, or under its
// installation prefix. The candidates are relative to the folder of the binary.
func shipped(what, key string, candidates ...string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("path of this binary: %w", err)
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	for _, c := range candidates {
		path := filepath.Join(filepath.Dir(exe), c)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s was not found next to the binary (looked for %s); run 'make build' or set %s",
		what, filepath.Join(filepath.Dir(exe), candidates[0]), key)
}

// OpenEngine loads library and bundle. It returns an error if this machine does not reproduce the bundle's reference output.
func OpenEngine(ctx context.Context, c config.Analysis) (*Engine, error) {
	return OpenEngineWith(ctx, c, nil)
}

// OpenEngineWith is OpenEngine with a function that is told how many patches of nnU-Net are done.
func OpenEngineWith(ctx context.Context, c config.Analysis, progress func(done, total int)) (*Engine, error) {
	library, err := libraryPath(c)
	if err != nil {
		return nil, err
	}
	path, err := BundlePath(c)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(path)
	if err != nil {
		return nil, err
	}
	if c.Precision != config.PrecisionAuto {
		return loadEngine(ctx, c, progress, library, b, bundle.Precision(c.Precision), "as configured")
	}
	why := slow(c, b)
	if why == nil {
		e, err := loadEngine(ctx, c, progress, library, b, bundle.Int8, "auto: the processor has an 8-bit dot product")
		if !errors.Is(err, bundle.ErrRefused) {
			return e, err
		}
		why = err // this machine does not reproduce the output of int8
	}
	return loadEngine(ctx, c, progress, library, b, bundle.Float32, "auto: "+why.Error())
}

// slow returns why int8 is not chosen, nil if it is.
func slow(c config.Analysis, b *bundle.Bundle) error {
	if c.Provider != "cpu" {
		return fmt.Errorf("provider %s", c.Provider)
	}
	if err := onnx.FastInt8(); err != nil {
		return err
	}
	return b.Int8Agrees()
}

// loadEngine loads the networks of b in precision p. why says who chose it.
func loadEngine(ctx context.Context, c config.Analysis, progress func(done, total int), library string, b *bundle.Bundle, p bundle.Precision, why string) (_ *Engine, err error) {
	e := &Engine{Precision: p, Why: why}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.Bundle, err = b.In(p); err != nil {
		return nil, err
	}
	if e.Bundle, err = e.Bundle.At(bundle.OperatingPoint(c.OperatingPoint)); err != nil {
		return nil, err
	}
	threads, lanes := c.Threads, 1
	if threads == 0 {
		threads = max(1, runtime.NumCPU()/max(c.Workers, 1))
	}
	cores := threads
	if c.Provider == "cpu" { // runs side by side, each on one thread, wait less for each other than the threads of one run
		threads, lanes = 1, threads
	}
	if e.runtime, err = onnx.Open(onnx.Options{Library: library, Shipped: c.Library == "", Provider: c.Provider, Threads: threads, Cores: cores}); err != nil {
		return nil, err
	}
	nets := map[bundle.Role]pipeline.Net{}
	var folds []pipeline.Net
	for i := range e.Bundle.Networks {
		n := &e.Bundle.Networks[i]
		for _, fold := range n.Folds() {
			net, err := e.load(ctx, fold)
			if err != nil {
				return nil, err
			}
			nets[n.Role] = watchedNet{net, string(n.Role)}
			if n.NNUNet != nil {
				folds = append(folds, nets[n.Role])
			}
		}
	}
	e.Decoder, _ = codec.Detect(ctx) // without the library JPEG 2000 is not offered, and senders convert
	a := pipeline.New(pipeline.Options{
		Decoder:      watchedDecoder{e.Decoder},
		Bundle:       e.Bundle,
		CavityTissue: nets[bundle.CavityTissue],
		CavityBone:   nets[bundle.CavityBone],
		Bleed:        nets[bundle.Bleed],
		Runs:         window.Runs{Lanes: lanes},
		NNUNet:       folds,
		Subtype:      nets[bundle.Subtype],
		Progress:     progress,
		Selection:    SelectionOptions(c),
	})
	e.Analyzer, e.Adopter = a, a
	return e, e.Rest()
}

// Rest frees the memory of earlier analyses.
func (e *Engine) Rest() error {
	if e.runtime == nil {
		return nil
	}
	err := e.runtime.Rest()
	debug.FreeOSMemory()
	return err
}

// load makes one network ready to run, and runs its reference.
func (e *Engine) load(ctx context.Context, n *bundle.Network) (*onnx.Network, error) {
	net, err := e.runtime.Load(n)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Role, err)
	}
	return net, net.Verify(ctx, n)
}

// SelectionOptions returns the site's rules for choosing a series.
func SelectionOptions(c config.Analysis) selection.Options {
	return selection.Options{MinSlices: c.MinSlices, MinAge: c.MinAge, Contrast: c.Contrast, BoneKernel: c.BoneKernel}
}

// Close frees the networks and the library.
func (e *Engine) Close() error {
	if e.runtime == nil {
		return nil
	}
	return e.runtime.Close()
}
