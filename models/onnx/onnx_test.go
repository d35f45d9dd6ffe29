package onnx

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/models/bundle"
)

// libraryPath finds ONNX Runtime: ICHOR_ONNXRUNTIME, or bin/lib of this checkout.
func libraryPath(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("ICHOR_ONNXRUNTIME"); p != "" {
		return p
	}
	p, err := filepath.Abs("../../bin/lib/libonnxruntime.so.1.24.4")
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		t.Skip("ONNX Runtime is not there: run 'make build', or set ICHOR_ONNXRUNTIME")
	}
	return p
}

func open(t *testing.T, o Options) *Runtime {
	t.Helper()
	o.Library = libraryPath(t)
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// made writes a bundle whose three networks are those of network(), and opens it. edit may change the manifest.
func made(t *testing.T, deep int, edit func(*bundle.Manifest)) *bundle.Bundle {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	m := bundle.Manifest{Schema: 1, Name: "test", Version: "1", Licence: "none", IntendedUse: "tests", Description: "made here",
		Training: bundle.Training{Data: "none", Commit: "none"}}
	for _, role := range bundle.Roles {
		in, out, channels := int64(1), int64(1), []string{"cavity"}
		post := bundle.Post{LargestComponent: true}
		if role == bundle.Bleed {
			in, out, channels = 3, 6, []string{"any", "IPH", "IVH", "SAH", "SDH", "EDH"}
			post = bundle.Post{SubtypePer: "voxel"}
		}
		x, y := sample(in, out, 0)
		name := string(role)
		m.Networks = append(m.Networks, bundle.Network{Role: role, File: name + ".onnx", SHA256: put(name+".onnx", network(in, out, 16, deep, 64)),
			Opset: 13, BaseWidth: 1, Parameters: 1, Threshold: 0.5, Post: post,
			Input:  bundle.Input{Name: "x", Shape: []int64{-1, in, 16, 16}, Layout: "NCHW", WindowHU: [2]float64{0, 100}, Neighbours: int(in / 2)},
			Output: bundle.Output{Name: "y", Shape: []int64{-1, out, 16, 16}, Channels: channels},
			Reference: bundle.Reference{Input: name + ".in", InputSHA256: put(name+".in", raw(x)), InputShape: []int64{1, in, 16, 16},
				Output: name + ".out", OutputSHA256: put(name+".out", raw(y)), OutputShape: []int64{1, out, 16, 16}, Tolerance: 1e-5},
		})
	}
	if edit != nil {
		edit(&m)
	}
	j, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	put("manifest.json", j)
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sample is an input and what network(in, out, 16, 0) makes of it.
func sample(in, out int64, seed int) (x, y []float32) {
	x, y = make([]float32, in*256), make([]float32, out*256)
	for i := range x {
		x[i] = float32((i*31+seed*17)%100) / 100
	}
	for i := range y {
		k, p := int64(i)/256, i%256
		sum := 0.0
		for c := range in {
			sum += float64(float32(k+1)/float32(c+2)) * float64(x[int(c)*256+p])
		}
		y[i] = sigmoid(sum)
	}
	return x, y
}

func raw(v []float32) []byte {
	out := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(f))
	}
	return out
}

func differ(a, b []float32) float64 {
	worst := math.Abs(float64(len(a) - len(b)))
	for i := range min(len(a), len(b)) {
		worst = math.Max(worst, math.Abs(float64(a[i]-b[i])))
	}
	return worst
}

// verify loads every network of b and compares it with its reference.
func verify(t *testing.T, r *Runtime, b *bundle.Bundle) error {
	t.Helper()
	for i := range b.Networks {
		s, err := r.Load(&b.Networks[i])
		if err != nil {
			return err
		}
		err = s.Verify(t.Context(), &b.Networks[i])
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

func TestVerify(t *testing.T) {
	r := open(t, Options{})
	if err := verify(t, r, made(t, 0, nil)); err != nil {
		t.Error(err)
	}
	altered := made(t, 1, nil) // other networks under the same references
	if err := verify(t, r, altered); !errors.Is(err, bundle.ErrRefused) || !strings.Contains(err.Error(), "network cavity-tissue in float32: output differs from reference.output") {
		t.Errorf("a network that does not reproduce its reference: %v", err)
	}
}

// The check is that of the files in use: an int8 file is held to its own reference.
func TestVerifyInt8(t *testing.T) {
	r := open(t, Options{})
	with := func(offset float32) *bundle.Bundle {
		b := made(t, 0, func(m *bundle.Manifest) {
			for i := range m.Networks {
				n := &m.Networks[i]
				n.Int8 = &bundle.Quantised{File: n.File, SHA256: n.SHA256, Deviation: bundle.Deviation{Heads: 1, Dice: 1, SpeedRatio: 1},
					Reference: bundle.QuantisedReference{Output: n.Reference.Output, OutputSHA256: n.Reference.OutputSHA256, Tolerance: 0.01}}
			}
		})
		out := b.Network(bundle.Bleed).Int8
		_, y := sample(3, 6, 0)
		for i := range y {
			y[i] = min(max(y[i]-offset, 0), 1)
		}
		sum := sha256.Sum256(raw(y))
		out.Reference.Output, out.Reference.OutputSHA256 = "bleed.int8.out", hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(b.Dir, out.Reference.Output), raw(y), 0o644); err != nil {
			t.Fatal(err)
		}
		q, err := b.In(bundle.Int8)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	if err := verify(t, r, with(0.005)); err != nil {
		t.Errorf("within its tolerance: %v", err)
	}
	err := verify(t, r, with(0.02))
	if !errors.Is(err, bundle.ErrRefused) {
		t.Fatalf("beyond its tolerance: %v", err)
	}
	for _, word := range []string{"network bleed in int8", "reference.output", "reference.tolerance 0.01", "set analysis.precision to float32"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// The bundle that comes with ichor, where this checkout has it.
func TestShippedBundle(t *testing.T) {
	const dir = "../bundles/ichor-synthetic"
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Skip("no shipped bundle in this checkout")
	}
	r := open(t, Options{})
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, r, b); err != nil {
		t.Error(err)
	}
}

func TestRunConcurrently(t *testing.T) {
	r := open(t, Options{Threads: 2})
	s, err := r.Load(made(t, 0, nil).Network(bundle.Bleed))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for seed := range 8 {
		wg.Go(func() {
			for n := 1; n < 5; n++ {
				var x, want []float32
				for i := range n {
					a, b := sample(3, 6, seed+i)
					x, want = append(x, a...), append(want, b...)
				}
				got, err := s.Run(context.Background(), x, n)
				if err != nil || differ(got, want) > 1e-5 {
					t.Errorf("batch %d: differs by %v, %v", n, differ(got, want), err)
				}
			}
		})
	}
	wg.Wait()
}

func TestRunChecksItsInput(t *testing.T) {
	r := open(t, Options{})
	s, err := r.Load(made(t, 0, nil).Network(bundle.CavityBone))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ values, batch int }{{0, 1}, {255, 1}, {257, 1}, {256, 0}, {256, -1}, {256, 2}, {256 * (maxBatch + 1), maxBatch + 1}} {
		if _, err := s.Run(context.Background(), make([]float32, c.values), c.batch); err == nil {
			t.Errorf("%d values as a batch of %d were taken", c.values, c.batch)
		}
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := s.Run(context.Background(), make([]float32, 256), 1); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCancel(t *testing.T) {
	r := open(t, Options{})
	s, err := r.Load(made(t, 40, nil).Network(bundle.CavityTissue))
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, maxBatch*256)
	start := time.Now()
	if _, err := s.Run(context.Background(), x, maxBatch); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(start)
	ctx, cancel := context.WithTimeout(context.Background(), whole/10)
	defer cancel()
	if _, err := s.Run(ctx, x, maxBatch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled after a tenth of %v: %v", whole, err)
	}
	if _, err := s.Run(ctx, x, maxBatch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if _, err := s.Run(context.Background(), x[:256], 1); err != nil {
		t.Errorf("after a cancelled run: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	r := open(t, Options{})
	for name, c := range map[string]struct {
		edit func(*bundle.Network)
		want string
	}{
		"input name":  {func(n *bundle.Network) { n.Input.Name = "z" }, "input.name"},
		"output name": {func(n *bundle.Network) { n.Output.Name = "z" }, "output.name"},
		"size": {func(n *bundle.Network) {
			n.Input.Shape[2], n.Input.Shape[3] = 32, 32
		}, "input.shape"},
	} {
		b := made(t, 0, nil)
		n := b.Network(bundle.CavityTissue)
		c.edit(n)
		if _, err := r.Load(n); !errors.Is(err, bundle.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := made(t, 0, nil)
	n := b.Network(bundle.CavityTissue)
	junk := []byte("no network")
	if err := os.WriteFile(filepath.Join(b.Dir, n.File), junk, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(junk)
	n.SHA256 = hex.EncodeToString(sum[:])
	if _, err := r.Load(n); !errors.Is(err, bundle.ErrRefused) {
		t.Errorf("no ONNX: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Load(made(t, 0, nil).Network(bundle.Bleed)); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestOpenNamesTheRemedy(t *testing.T) {
	good := libraryPath(t)
	text := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ library, provider, want string }{
		{"", "cpu", "not absolute"}, {"libonnxruntime.so", "cpu", "not absolute"}, {"/nowhere/libonnxruntime.so", "cpu", "does not exist"},
		{filepath.Dir(text), "cpu", "is not a file"}, {good, "gpu", "analysis.provider"},
	} {
		t.Run(fmt.Sprintf("%s %s", filepath.Base(c.library), c.provider), func(t *testing.T) {
			if _, err := Open(Options{Library: c.library, Provider: c.provider}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
	if _, err := Open(Options{Library: text}); !errors.Is(err, errLibrary) {
		t.Errorf("text file: %v", err)
	}
}

// A provider that this library does not have is an error that names it; it is never replaced by another.
func TestNoSilentFallback(t *testing.T) {
	for _, provider := range []string{"cuda", "tensorrt", "openvino"} {
		r, err := Open(Options{Library: libraryPath(t), Provider: provider})
		if err == nil {
			if r.Provider() != provider {
				t.Errorf("%s was replaced by %s", provider, r.Provider())
			}
			r.Close()
			t.Logf("%s is there; nothing to refuse", provider)
			continue
		}
		if !errors.Is(err, errLibrary) || !strings.Contains(err.Error(), provider) || !strings.Contains(err.Error(), "install") {
			t.Errorf("%s: %v", provider, err)
		}
		t.Log(err)
	}
}

// TestRest: a network that rests is loaded afresh, and computes the same. One that runs, did not run, or is closed is left alone.
func TestRest(t *testing.T) {
	r := open(t, Options{})
	s, err := r.Load(made(t, 0, nil).Network(bundle.Bleed))
	if err != nil {
		t.Fatal(err)
	}
	x, want := sample(3, 6, 0)
	for _, step := range []struct {
		name  string
		do    func()
		fresh bool
	}{
		{"not used", func() {}, false},
		{"used", func() { _, _ = s.Run(t.Context(), x, 1) }, true},
		{"running", func() { _, _ = s.Run(t.Context(), x, 1); s.mu.RLock() }, false},
		{"used, after that", func() { s.mu.RUnlock() }, true},
	} {
		step.do()
		before := s.session
		if err := r.Rest(); err != nil || (s.session != before) != step.fresh {
			t.Errorf("%s: fresh %t, error %v; want %t", step.name, s.session != before, err, step.fresh)
		}
	}
	if got, err := s.Run(t.Context(), x, 1); err != nil || differ(got, want) > 1e-5 {
		t.Errorf("differs by %g after a rest, error %v", differ(got, want), err)
	}
	if err := errors.Join(s.Close(), s.rest(), r.Rest()); err != nil || s.session != nil {
		t.Errorf("closed: %v", err)
	}
}
