package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/models/bundle"
	"ichor/pipeline"
	"ichor/pipeline/window"
	"ichor/scp/dcm/codec"
)

// standIn is a network that takes its time for each slice and answers by the values of its input: inside the head, and blood. It
// makes studies cheap, so that a campaign has room for many kills; everything else of a node or a worker is the real thing.
type standIn struct {
	outputs int
	wait    time.Duration
}

func (n standIn) Run(ctx context.Context, in []float32, batch int) ([]float32, error) {
	select {
	case <-time.After(n.wait * time.Duration(batch)):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	size := len(in) / batch
	plane := size
	if n.outputs > 1 {
		plane /= 3 // neighbouring slices as channels
	}
	out := make([]float32, batch*n.outputs*plane)
	for b := range batch {
		for i := range plane {
			v := in[b*size+min(plane, size-plane)+i] // the middle channel, or the only one
			at := b*n.outputs*plane + i
			switch {
			case n.outputs == 1 && v > 0:
				out[at] = 0.9
			case n.outputs > 1 && v > 0.5 && v < 0.75: // 50 to 100 HU
				out[at], out[at+plane] = 0.9, 0.9
			}
		}
	}
	return out, nil
}

// standInWait is the time of a stand-in for one slice, about that of the networks on a fast machine.
const standInWait = 15 * time.Millisecond

// standIn returns the command for a node or a worker with networks that are stand-ins: this test in a process of its own. With
// ICHOR_TEST_NETWORKS the networks of the shipped bundle run.
func (m *member) standIn(ctx context.Context, what string) *exec.Cmd {
	if os.Getenv("ICHOR_TEST_NETWORKS") != "" {
		return m.net.command(ctx, m.name, binary, what, "--config", m.config)
	}
	c := m.net.command(ctx, m.name, os.Args[0], "-test.run=^TestServeMember$")
	c.Env = append(os.Environ(), "ICHOR_TEST_MEMBER="+what, "ICHOR_TEST_CONFIG="+m.config)
	return c
}

// TestServeMember is no test: it is a node or a worker of a fleet, in a process of its own.
func TestServeMember(t *testing.T) {
	what, file := os.Getenv("ICHOR_TEST_MEMBER"), os.Getenv("ICHOR_TEST_CONFIG")
	if what == "" {
		t.Skip("run by the tests of fleets")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveMember(ctx, what, file); err != nil {
		t.Fatal(err)
	}
}

func serveMember(ctx context.Context, what, file string) error {
	c, err := config.Load(file, nil)
	if err != nil {
		return err
	}
	b, err := bundle.Open(c.Analysis.Bundle)
	if err != nil {
		return err
	}
	wait := standInWait
	if text := os.Getenv("ICHOR_TEST_WAIT_MS"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		wait = time.Duration(ms) * time.Millisecond
	}
	net := func(outputs int) window.Net { return standIn{outputs, wait} }
	a := pipeline.New(pipeline.Options{Bundle: b, CavityTissue: net(1), CavityBone: net(1), Bleed: net(6), Decoder: &codec.Decoder{}, Selection: node.SelectionOptions(c.Analysis)})
	o := node.Options{Config: c, Version: "test", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Engine: &node.Engine{Bundle: b, Decoder: &codec.Decoder{}, Analyzer: a, Adopter: a, Precision: bundle.Float32}}
	if what == "serve" {
		n, err := node.New(ctx, o)
		if err != nil {
			return err
		}
		return errors.Join(n.Run(ctx), n.Close())
	}
	w, err := node.NewWorker(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "msg=ready")
	return errors.Join(w.Run(ctx), w.Close())
}
