// Package onnx runs the networks of a bundle with ONNX Runtime. It hides the library: loading the shared object, the
// execution provider, and the lifetime of tensors.
//
//	Open            loads the library with the named provider; if the provider is missing, it returns an error
//	Runtime.Load    loads one network; it is safe for concurrent use
//	Network.Verify  checks that this machine reproduces the reference output
package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// providers are the values of Options.Provider.
var providers = []string{"cpu", "openvino", "cuda", "tensorrt"}

// errLibrary is wrapped by errors about ONNX Runtime and the libraries of its providers.
var errLibrary = errors.New("ONNX Runtime not usable")

// Options configure Open.
type Options struct {
	Library  string            // absolute path of libonnxruntime.so
	Shipped  bool              // the library must be the shipped one, by size and digest
	Provider string            // one of providers; empty is cpu
	Threads  int               // CPU threads of one run; 0 means 1
	Cores    int               // CPU threads of one run of a network that is bundle.Network.Wide; 0 means Threads
	Device   map[string]string // options of the provider, such as device_id
}

// Runtime is the loaded library and one execution provider.
type Runtime struct {
	options Options
	mu      sync.Mutex
	open    map[*Network]struct{}
	closed  bool
}

// The library has process-wide state without a lock, and crashes if it is unloaded while one of its threads ends. So it is
// loaded once, from one path, and never unloaded.
var library struct {
	sync.Mutex
	path string
}

// Open loads the library. Its errors end with a remedy.
func Open(o Options) (*Runtime, error) {
	o.Provider = cmp.Or(o.Provider, "cpu")
	o.Threads = max(o.Threads, 1)
	o.Cores = max(o.Cores, o.Threads)
	if err := load(o.Library, o.Shipped); err != nil {
		return nil, err
	}
	r := &Runtime{options: o, open: map[*Network]struct{}{}}
	probe, err := r.sessionOptions(false) // fails now if the provider is not available
	if err != nil {
		return nil, err
	}
	return r, probe.Destroy()
}

func load(path string, shipped bool) error {
	const remedy = "install ichor again ('make build' in a source tree), or set analysis.library to the libonnxruntime.so of ONNX Runtime 1.24 or newer"
	if path == "" || !filepath.IsAbs(path) {
		return fmt.Errorf("%w: library path %q is not absolute; %s", errLibrary, path, remedy)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist; %s", errLibrary, path, remedy)
	case err != nil:
		return fmt.Errorf("%w: %w; %s", errLibrary, err, remedy)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a file; %s", errLibrary, path, remedy)
	}
	library.Lock()
	defer library.Unlock()
	if ort.IsInitialized() {
		if path != library.path {
			return fmt.Errorf("%w: %s is already loaded, so %s cannot be loaded; restart the process", errLibrary, library.path, path)
		}
		return nil
	}
	if err := Intact(path, shipped); err != nil {
		return err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		// For a library that is too old the error is only "Error setting ORT API base: 2", for another architecture it is a missing file.
		return fmt.Errorf("%w: %s cannot be loaded (older than 1.24, or built for another machine): %w; %s", errLibrary, path, err, remedy)
	}
	library.path = path
	return nil
}

// Provider returns the name of the execution provider.
func (r *Runtime) Provider() string { return r.options.Provider }

// Version returns the version of the library.
func (r *Runtime) Version() string { return ort.GetVersion() }

// Rest frees the memory that the networks used for runs and would keep for the next. It does not wait for runs that are in
// progress: their networks stay as they are.
func (r *Runtime) Rest() error {
	r.mu.Lock()
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.rest())
	}
	return errors.Join(errs...)
}

// Close closes the networks that are still open. The library stays loaded.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// sessionOptions returns options for one session; wide is bundle.Network.Wide. The caller must destroy them.
func (r *Runtime) sessionOptions(wide bool) (_ *ort.SessionOptions, err error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: session options: %w", errLibrary, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Destroy())
		}
	}()
	threads := r.options.Threads
	if wide {
		threads = r.options.Cores
		// The arena and its plan of a run hold twice what a run needs, from the second run on.
		if err := errors.Join(o.SetCpuMemArena(false), o.SetMemPattern(false)); err != nil {
			return nil, fmt.Errorf("%w: session options: %w", errLibrary, err)
		}
	}
	if err := errors.Join(
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		o.SetIntraOpNumThreads(threads),
		o.SetInterOpNumThreads(1),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"), // other work needs the processors
	); err != nil {
		return nil, fmt.Errorf("%w: session options: %w", errLibrary, err)
	}
	if err := r.appendProvider(o); err != nil {
		return nil, err
	}
	return o, nil
}
