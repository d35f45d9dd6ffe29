package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/models/onnx"
	"ichor/pipeline"
	"ichor/pipeline/analysis"
	"ichor/pipeline/selection"
	"ichor/scp/dcm/codec"
)

// Analyzer analyses one study; it is a pipeline.Analyzer.
type Analyzer interface {
	Analyze(context.Context, pipeline.Study) (*analysis.Analysis, error)
}

// Engine is the loaded bundle and the analysis that uses it.
type Engine struct {
	Bundle   *bundle.Bundle
	Decoder  *codec.Decoder
	Analyzer Analyzer
	runtime  *onnx.Runtime
	networks []*onnx.Network
}

// BundlePath returns the bundle set in the configuration, or the one shipped with ichor.
func BundlePath(c config.Analysis) (string, error) {
	if c.Bundle != "" {
		return c.Bundle, nil
	}
	return shipped("the model bundle", "analysis.bundle", "../models/bundles/ichor-synthetic", "../share/ichor/bundles/ichor-synthetic")
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
func OpenEngine(ctx context.Context, c config.Analysis) (_ *Engine, err error) {
	library, err := libraryPath(c)
	if err != nil {
		return nil, err
	}
	path, err := BundlePath(c)
	if err != nil {
		return nil, err
	}
	e := &Engine{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.Bundle, err = bundle.Open(path); err != nil {
		return nil, err
	}
	if e.Bundle, err = e.Bundle.In(bundle.Precision(c.Precision)); err != nil {
		return nil, err
	}
	if e.Bundle, err = e.Bundle.At(bundle.OperatingPoint(c.OperatingPoint)); err != nil {
		return nil, err
	}
	threads := c.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()/c.Workers)
	}
	if e.runtime, err = onnx.Open(onnx.Options{Library: library, Shipped: c.Library == "", Provider: c.Provider, Threads: threads}); err != nil {
		return nil, err
	}
	nets := map[bundle.Role]*onnx.Network{}
	for i := range e.Bundle.Networks {
		n := &e.Bundle.Networks[i]
		net, err := e.runtime.Load(n)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", n.Role, err)
		}
		e.networks = append(e.networks, net)
		if err := net.Verify(ctx, n); err != nil {
			return nil, err
		}
		nets[n.Role] = net
	}
	e.Decoder, _ = codec.Detect(ctx) // without the library JPEG 2000 is not offered, and senders convert
	e.Analyzer = pipeline.New(pipeline.Options{
		Decoder:      e.Decoder,
		Bundle:       e.Bundle,
		CavityTissue: nets[bundle.CavityTissue],
		CavityBone:   nets[bundle.CavityBone],
		Bleed:        nets[bundle.Bleed],
		Selection:    SelectionOptions(c),
	})
	return e, nil
}

// SelectionOptions returns the site's rules for choosing a series.
func SelectionOptions(c config.Analysis) selection.Options {
	return selection.Options{MinSlices: c.MinSlices, MinAge: c.MinAge, Contrast: c.Contrast, BoneKernel: c.BoneKernel}
}

// Close frees the networks and the library.
func (e *Engine) Close() error {
	var errs []error
	for _, net := range e.networks {
		errs = append(errs, net.Close())
	}
	if e.runtime != nil {
		errs = append(errs, e.runtime.Close())
	}
	return errors.Join(errs...)
}
