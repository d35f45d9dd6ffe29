package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/models/bundle"
	"ichor/models/onnx"
	"ichor/scp/receiver"
)

const bundleDir = "models/bundles/ichor-synthetic"

// library returns the path of the ONNX Runtime library shipped with the measured binary.
func (b *bench) library() string {
	return filepath.Join(filepath.Dir(b.ichor), "lib", "libonnxruntime.so.1.24.4")
}

// inference prints the time per slice of the bleed network on one thread, in float32 and in the precision of a node by default,
// next to PyTorch eager mode on the same computation.
func (b *bench) inference(ctx context.Context) error {
	m, err := bundle.Open(bundleDir)
	if err != nil {
		return err
	}
	precisions := []bundle.Precision{bundle.Float32}
	if onnx.FastInt8() == nil && m.Int8Agrees() == nil {
		precisions = append(precisions, bundle.Int8)
	}
	rt, err := onnx.Open(onnx.Options{Library: b.library(), Provider: "cpu", Threads: 1})
	if err != nil {
		return err
	}
	defer rt.Close()
	net := m.Network(bundle.Bleed)
	var sessions []*onnx.Network
	for _, p := range precisions {
		in, err := m.In(p)
		if err != nil {
			return err
		}
		session, err := rt.Load(in.Network(bundle.Bleed))
		if err != nil {
			return err
		}
		defer session.Close()
		sessions = append(sessions, session)
	}
	channels, size := int(net.Input.Shape[1]), int(net.Input.Shape[2])
	input := make([]float32, channels*size*size)
	ours, eager := make([][]float64, len(sessions)), []float64(nil)
	for range b.rounds {
		for i, session := range sessions {
			ms, err := timeRuns(ctx, session, input)
			if err != nil {
				return err
			}
			ours[i] = append(ours[i], ms)
		}
		if b.python == "" {
			continue
		}
		ms, err := b.timeEager(ctx, net.BaseWidth, channels, len(net.Output.Channels)+1, size)
		if err != nil {
			return err
		}
		eager = append(eager, ms)
	}
	fmt.Printf("\nInference: ms per slice of the bleed network (base width %d, %dx%d), one thread, median\n", net.BaseWidth, size, size)
	t := table()
	for i, p := range precisions {
		fmt.Fprintf(t, "ichor (ONNX Runtime), %s\t%.1f\t", p, median(ours[i]))
		if len(eager) > 0 {
			fmt.Fprintf(t, "%.2f of eager\t", median(ours[i])/median(eager))
		}
		fmt.Fprintln(t)
	}
	if len(eager) > 0 {
		fmt.Fprintf(t, "PyTorch eager\t%.1f\t\t\n", median(eager))
	} else {
		fmt.Fprintln(t, "PyTorch eager\tskipped: no interpreter\t")
	}
	return t.Flush()
}

const runs = 20

func timeRuns(ctx context.Context, s *onnx.Network, input []float32) (float64, error) {
	if _, err := s.Run(ctx, input, 1); err != nil { // the first run allocates
		return 0, err
	}
	start := time.Now()
	for range runs {
		if _, err := s.Run(ctx, input, 1); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Microseconds()) / 1000 / runs, nil
}

// eagerScript prints ms per slice for the same computation in PyTorch; the weights do not affect the time.
const eagerScript = `
import sys, time, torch
from ich.product.unet import Probabilities, UNet
base, channels, outputs, size, runs = map(int, sys.argv[1:])
torch.set_num_threads(1)
net = Probabilities(UNet(channels, outputs, base).eval(), "bleed").eval()
x = torch.zeros(1, channels, size, size)
with torch.inference_mode():
    net(x)
    start = time.perf_counter()
    for _ in range(runs):
        net(x)
print((time.perf_counter() - start) * 1000 / runs)
`

func (b *bench) timeEager(ctx context.Context, base, channels, outputs, size int) (float64, error) {
	cmd := exec.CommandContext(ctx, b.python, "-c", eagerScript, strconv.Itoa(base), strconv.Itoa(channels), strconv.Itoa(outputs), strconv.Itoa(size), strconv.Itoa(runs))
	cmd.Env = append(os.Environ(), "PYTHONPATH=models/training")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("PyTorch eager: %w", err)
	}
	var ms float64
	return ms, json.Unmarshal(out, &ms)
}

// quiet is the quiet period of the end-to-end measurement. Every figure includes it and the output says so.
const quiet = time.Second

// endToEnd prints the time from the last object received to the last result stored at the destination.
func (b *bench) endToEnd(ctx context.Context) error {
	var seconds []float64
	for i := range b.rounds {
		s, err := b.oneStudy(ctx, b.studies[i%len(b.studies)])
		if err != nil {
			return fmt.Errorf("end to end: %w", err)
		}
		seconds = append(seconds, s)
	}
	fmt.Printf("\nEnd to end: 32 slices, last object received to last result stored at the destination: %.1f s, including %v quiet period\n", median(seconds), quiet)
	return nil
}

func (b *bench) oneStudy(ctx context.Context, study string) (_ float64, err error) {
	dir, err := os.MkdirTemp(b.work, "node-")
	if err != nil {
		return 0, err
	}
	objects, err := loadObjects([]string{study})
	if err != nil {
		return 0, err
	}
	pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: filepath.Join(dir, "pacs"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, pacs.Close()) }()
	c := config.Default()
	c.State, c.Assembly.QuietPeriod = filepath.Join(dir, "state"), quiet
	c.DICOM.Listen, c.HTTP.Listen = "127.0.0.1:0", ""
	c.Canary.Start, c.Canary.At = false, ""
	c.Analysis.Bundle, c.Analysis.Library = bundleDir, b.library()
	c.Destinations = []config.Destination{{Name: "pacs", Address: pacs.Address(), AETitle: "PACS"}}
	n, err := node.New(ctx, node.Options{Config: c, Version: "bench"})
	if err != nil {
		return 0, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(n.Run(running), n.Close()) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := (&received{}).time(ctx, n.Addr(), objects); err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("no results within 2 minutes"))
	defer cancel()
	if err := pacs.Wait(ctx, 3); err != nil { // SEG, SC, SR
		return 0, err
	}
	return time.Since(start).Seconds(), nil
}
