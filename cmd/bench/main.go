// Command bench compares the built ichor with other software in one run: 'make bench'.
//
// The speed of the machine varies between runs, so every table contains its own reference; only quote ratios from within
// one run. This is not a test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
)

func main() {
	var b bench
	flag.StringVar(&b.ichor, "ichor", "bin/ichor", "the program to measure")
	flag.StringVar(&b.python, "python", os.Getenv("ICHOR_PYTHON"), "interpreter with PyTorch, for the comparison with eager mode")
	flag.StringVar(&b.dicomRS, "dicom-rs", os.Getenv("DICOM_STORESCP"), "dicom-storescp of dicom-rs, for the comparison of reception")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement; the median is printed")
	only := flag.String("only", "", "run one measurement only: reception, crowd, inference or end-to-end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of all measurements.
type bench struct {
	ichor, python string
	dicomRS       string
	rounds        int
	work          string // working folder, on the disk to be measured
	studies       []string
}

// studies is the number of studies of 32 slices: one for each of eight associations.
const studies = 8

func (b *bench) run(ctx context.Context, only string) (err error) {
	if b.ichor, err = filepath.Abs(b.ichor); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp("", "ichor-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	sample, err := phantom.Load("mixed")
	if err != nil {
		return err
	}
	for i := range studies {
		dir := filepath.Join(b.work, fmt.Sprintf("study%d", i))
		if err := sample.Write(dir, synthetic.WriteOptions{}); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, "truth.json")); err != nil {
			return err
		}
		b.studies = append(b.studies, dir)
	}
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{{"reception", b.reception}, {"crowd", b.crowd}, {"inference", b.inference}, {"end-to-end", b.endToEnd}} {
		if only == "" || only == m.name {
			err = errors.Join(err, m.run(ctx))
		}
	}
	return err
}

// median returns the median of v, which is not empty.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func table() *tabwriter.Writer {
	return tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
}
