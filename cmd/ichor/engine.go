package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"ichor/config"
	"ichor/models/bundle"
	"ichor/models/onnx"
	"ichor/pipeline"
	"ichor/pipeline/selection"
	"ichor/scp/dcm/codec"
)

// engine is the loaded bundle and the analysis built on it.
type engine struct {
	bundle   *bundle.Bundle
	runtime  *onnx.Runtime
	sessions []*onnx.Session
	decoder  *codec.Decoder
	missing  error // why JPEG 2000 is not decoded, nil where it is
	analyzer *pipeline.Analyzer
}

// bundlePath is the bundle in the configuration, or the one that came with ichor.
func bundlePath(c config.Analysis) (string, error) {
	if c.Bundle != "" {
		return c.Bundle, nil
	}
	return shipped("the model bundle", "analysis.bundle", "../models/bundles/ichor-synthetic", "../share/ichor/bundles/ichor-synthetic")
}

// libraryPath is the library in the configuration, or the one that came with ichor.
func libraryPath(c config.Analysis) (string, error) {
	if c.Library != "" {
		return c.Library, nil
	}
	const name = "libonnxruntime.so.1.24.4"
	return shipped("ONNX Runtime", "analysis.library", "lib/"+name, "../lib/ichor/"+name)
}

// openEngine loads library and bundle, and refuses a bundle whose reference the machine does not reproduce.
func openEngine(ctx context.Context, c config.Analysis) (_ *engine, err error) {
	library, err := libraryPath(c)
	if err != nil {
		return nil, err
	}
	path, err := bundlePath(c)
	if err != nil {
		return nil, err
	}
	e := &engine{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.bundle, err = bundle.Open(path); err != nil {
		return nil, err
	}
	if e.bundle, err = e.bundle.In(bundle.Precision(c.Precision)); err != nil {
		return nil, err
	}
	threads := c.Threads
	if threads == 0 {
		threads = max(1, runtime.NumCPU()/c.Workers)
	}
	if e.runtime, err = onnx.Open(onnx.Options{Library: library, Provider: c.Provider, Threads: threads}); err != nil {
		return nil, err
	}
	nets := map[bundle.Role]*onnx.Session{}
	for i := range e.bundle.Networks {
		n := &e.bundle.Networks[i]
		s, err := e.runtime.Load(n)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", n.Role, err)
		}
		e.sessions = append(e.sessions, s)
		if err := s.Verify(ctx, n); err != nil {
			return nil, err
		}
		nets[n.Role] = s
	}
	e.decoder, e.missing = codec.Detect(ctx)
	e.analyzer = pipeline.New(pipeline.Options{
		Decoder:      e.decoder,
		Bundle:       e.bundle,
		CavityTissue: nets[bundle.CavityTissue],
		CavityBone:   nets[bundle.CavityBone],
		Bleed:        nets[bundle.Bleed],
		Selection:    selectionOptions(c),
	})
	return e, nil
}

func selectionOptions(c config.Analysis) selection.Options {
	return selection.Options{MinSlices: c.MinSlices, MinAge: c.MinAge, Contrast: c.Contrast, BoneKernel: c.BoneKernel}
}

// Close frees the networks and the library.
func (e *engine) Close() error {
	var errs []error
	for _, s := range e.sessions {
		errs = append(errs, s.Close())
	}
	if e.runtime != nil {
		errs = append(errs, e.runtime.Close())
	}
	return errors.Join(errs...)
}
