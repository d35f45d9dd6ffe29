package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/load"
	"ichor/scp/receiver"
)

func newLoad() *cobra.Command {
	o := load.Options{Plan: load.Plan{Speed: 1}, CalledAE: "ICHOR"}
	var out, listen string
	var settings []string
	var asJSON bool
	simulated := load.Service{Quiet: 3 * time.Second, Ripe: 200 * time.Millisecond, Finish: map[load.Kind]time.Duration{load.Thick: 700 * time.Millisecond, load.Thin: 2 * time.Second}}
	var thick, thin time.Duration
	cmd := &cobra.Command{
		Use:   "load [HOST:PORT]",
		Short: "Measure a node under a load of synthetic studies",
		Long: "load sends synthetic studies and measures the time from the last object of each to its last result. Without an address\n" +
			"it starts a node of its own, with a temporary state folder, and also measures processor time and memory. A node at an\n" +
			"address must deliver its results to AE title PACS at --listen; its cases stay there, so use a test system.\n" +
			"load.json and load.svg are written to --out.",
		Example: "  ichor load --studies 20 --rate 120 --warm 10\n  ichor load --pattern burst --burst 6 --studies 12 --senders 6 --thin 0.5\n" +
			"  ichor load --pattern day --studies 60 --rate 4 --speed 24 --set assembly.quiet_period=1s\n  ichor load --simulate 4 --studies 5000 --rate 600 --thin 0.5\n  ichor load 10.1.2.3:11112 --listen 0.0.0.0:11113 --studies 10",
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&o.Plan.Pattern, "pattern", load.Poisson, "arrivals: poisson, burst (several at once) or day (follows the hours of a day)")
	f.IntVar(&o.Plan.Studies, "studies", 20, "`NUMBER` of studies")
	f.Float64Var(&o.Plan.Rate, "rate", 60, "studies an `HOUR`, on average")
	f.IntVar(&o.Plan.Size, "burst", 6, "studies that arrive at once, with --pattern burst")
	f.Float64Var(&o.Plan.Speed, "speed", 1, "time runs this much `FASTER`: 24 makes a day an hour")
	f.Float64Var(&o.Plan.Thin, "thin", 0, "`SHARE` of studies of 250 thin slices, 0 to 1; the others have 32 slices of 5 mm")
	f.IntVar(&o.Plan.Senders, "senders", 1, "`NUMBER` of AE titles that send in turn: LOAD1, LOAD2, ...")
	f.Uint64Var(&o.Plan.Seed, "seed", 1, "`SEED` of the arrivals")
	f.IntVar(&o.Warm, "warm", 0, "small studies of each sender before the measurement, from which the node learns its pauses")
	f.DurationVar(&o.Pause, "pause", 0, "wait between two objects of a study")
	f.DurationVar(&o.Patience, "patience", 2*time.Minute, "give up when no result comes for this `TIME`")
	f.StringVar(&out, "out", ".", "`FOLDER` for load.json and load.svg")
	f.StringVar(&listen, "listen", "127.0.0.1:0", "`ADDRESS` on which results are received")
	f.StringVar(&o.CalledAE, "called", o.CalledAE, "AE `TITLE` of the node")
	f.StringArrayVar(&settings, "set", nil, "`KEY=VALUE`: a setting of the node that load starts, such as assembly.quiet_period=1s")
	f.IntVar(&simulated.Workers, "simulate", 0, "send nothing: predict the latencies of so many `WORKERS` by a discrete-event simulation")
	f.DurationVar(&thick, "cost-thick", 2500*time.Millisecond, "with --simulate: `TIME` of one analysis of thick slices")
	f.DurationVar(&thin, "cost-thin", 5*time.Second, "with --simulate: `TIME` of one analysis of thin slices")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) == 1 && len(settings) > 0 {
			return usageError("--set is for the node that load starts itself: leave the address out")
		}
		if err := o.Plan.Check(); err != nil {
			return usageError(err.Error())
		}
		if simulated.Workers > 0 {
			simulated.Analyse = map[load.Kind]time.Duration{load.Thick: thick, load.Thin: thin}
			return printSimulated(cmd.OutOrStdout(), o.Plan, simulated)
		}
		bar := progress(o.Plan.Studies, "studies with results")
		o.Progress = func(done, _ int) { _ = bar.Set(done) } // ignore drawing errors
		o.Quiet = quietOf(settings)
		work, err := os.MkdirTemp("", "ichor-load-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		var run *load.Run
		pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Address: listen, Dir: filepath.Join(work, "pacs"), Logger: slog.New(slog.DiscardHandler),
			Stored: func(i receiver.Instance) { run.Stored(i) }}) // nothing comes before the first study is sent
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pacs.Close()) }()
		if len(args) == 1 {
			o.Address = args[0]
		} else {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			n, err := load.StartNode(cmd.Context(), exe, work, pacs.Address(), settings)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.Stop()) }()
			o.Address, o.Use = n.Address, n.Use
		}
		if run, err = load.New(o); err != nil {
			return err
		}
		report, err := run.Do(cmd.Context())
		_ = bar.Finish()
		if err != nil {
			return err
		}
		report.Settings = settings
		raw, err := json.MarshalIndent(report, "", " ")
		if err != nil {
			return err
		}
		if err := errors.Join(os.MkdirAll(out, 0o755), os.WriteFile(filepath.Join(out, "load.json"), raw, 0o644), os.WriteFile(filepath.Join(out, "load.svg"), report.SVG(), 0o644)); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), report)
		}
		return printLoad(cmd.OutOrStdout(), report)
	}
	return cmd
}

// printSimulated predicts the latencies of a plan.
func printSimulated(w io.Writer, p load.Plan, s load.Service) error {
	arrivals := p.Arrivals()
	all := load.SpreadOf(load.Simulate(arrivals, s))
	busy := 0.0
	for _, a := range arrivals {
		busy += s.Analyse[a.Kind].Seconds()
	}
	use := busy / float64(s.Workers) / max(arrivals[len(arrivals)-1].At.Seconds(), busy/float64(s.Workers)) // a single burst uses all
	_, err := fmt.Fprintf(w, "%d studies, %.4g an hour, %d workers: in use %.0f %%; last object to last result p50 %.1f s, p90 %.1f s, p99 %.1f s, longest %.1f s\n",
		p.Studies, p.Rate, s.Workers, 100*use, all.P50, all.P90, all.P99, all.Max)
	return err
}

// quietOf returns the quiet period of the node that load starts.
func quietOf(settings []string) time.Duration {
	const normal = 30 * time.Second
	for _, s := range slices.Backward(settings) {
		if text, ok := strings.CutPrefix(s, "assembly.quiet_period="); ok {
			if d, err := time.ParseDuration(text); err == nil {
				return d
			}
		}
	}
	return normal
}

func printLoad(w io.Writer, r load.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "last object to last result\tstudies\tp50 s\tp90 s\tp99 s\tlongest s\t")
	for _, k := range []load.Kind{load.Thick, load.Thin} {
		if l := r.Latency[k]; l.N > 0 {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", k, l.N, l.P50, l.P90, l.P99, l.Max)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%.0f studies an hour offered, %.0f completed; at most %d waited", r.Offered, r.Completed, r.Waiting)
	if r.Saturated {
		fmt.Fprint(w, "; the node is saturated")
	}
	fmt.Fprintln(w)
	if r.Lost > 0 || r.Again > 0 {
		fmt.Fprintf(w, "%d studies without results, %d second sets of results\n", r.Lost, r.Again)
	}
	if r.CPUSeconds > 0 {
		fmt.Fprintf(w, "%.1f s of processor time for each study, %.2f cores in use; memory at most %d MB, %d MB at the end\n", r.CPUSeconds, r.Cores, r.MostRSS/1e6, r.RestRSS/1e6)
	}
	if r.Lost > 0 {
		return fmt.Errorf("%d of %d studies without results", r.Lost, len(r.Studies))
	}
	return nil
}
