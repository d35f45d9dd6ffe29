package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
	"ichor/pipeline/state"
	"ichor/scp/dcm"
	"ichor/scp/receiver"
)

func newDemo() *cobra.Command {
	var out, name string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try the complete workflow on this machine, with a sample study",
		Long: "demo starts the node with the embedded queue and CPU inference, and a small DICOM receiver as the PACS. It sends a\n" +
			"sample study by C-STORE, waits for the results, and prints the volumes next to the known true volumes.",
		Example: "  ichor demo\n  ichor demo --study multi-series --out results/\n  ichor demo --keep   # look at the dashboard",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&out, "out", "ichor-demo", "`FOLDER` for the objects that the PACS receives")
	cmd.Flags().StringVar(&name, "study", "mixed", "`NAME` of the sample study, see 'ichor sample --list'")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave node, PACS and dashboard running until Ctrl-C")
	s := withSettings(cmd, engineFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		d := demo{out: out, analysis: c.Analysis, w: cmd.OutOrStdout(), keep: keep}
		return d.run(cmd.Context(), name)
	}
	return cmd
}

// demo is one run of the complete workflow.
type demo struct {
	out      string
	analysis config.Analysis
	w        io.Writer
	keep     bool // until ctx is done
}

// summaryPNG is the file name of the summary page that the PACS received.
const summaryPNG = "summary.png"

// demoTimeout bounds the wait for results; on two cores they take seconds.
const demoTimeout = 5 * time.Minute

func (d demo) run(ctx context.Context, name string) error {
	sample, err := phantom.FindSample(name)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ichor-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	sent := filepath.Join(work, "study")
	if _, err := sample.Write(sent, synthetic.WriteOptions{}); err != nil {
		return err
	}
	var truth phantom.Truth
	raw, err := os.ReadFile(filepath.Join(sent, "truth.json"))
	if err := errors.Join(err, json.Unmarshal(raw, &truth)); err != nil {
		return err
	}
	received := filepath.Join(d.out, "received")
	if err := errors.Join(removeFiles(received, "*.dcm"), removeFiles(d.out, summaryPNG)); err != nil { // of an earlier run
		return err
	}
	pacs, err := receiver.Start(receiver.Options{AETitle: "PACS", Dir: received, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer pacs.Close()

	settings := d.config(filepath.Join(work, "state"), pacs.Address())
	n, err := node.New(ctx, node.Options{Config: settings, Version: version})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "node    %s listens on %s, bundle %s %s on %s\n", settings.DICOM.AETitle, n.Addr(),
		n.Engine().Bundle.Name, n.Engine().Bundle.Version, d.analysis.Provider)
	fmt.Fprintf(d.w, "PACS    %s listens on %s\n", pacs.AETitle(), pacs.Address())

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(n.Run(running), n.Close()) }()
	c, err := d.sendAndWait(ctx, n, settings, sent)
	if err == nil {
		err = errors.Join(d.show(pacs.Objects()), printFinding(d.w, *c.Finding, &truth.TruthML, ""))
	}
	if err == nil && d.keep {
		err = d.stay(ctx, n, received)
	}
	stop()
	return errors.Join(err, <-ended)
}

// stay says where to look, and returns when ctx is done: that is the wanted end.
func (d demo) stay(ctx context.Context, n *node.Node, received string) error {
	_, err := fmt.Fprintf(d.w, "\nEverything keeps running; Ctrl-C ends it and deletes the state of the node.\n"+
		"dashboard  http://%s/\nmetrics    http://%s/metrics\ncases      ichor status --http %s\nPACS       keeps what it receives in %s\n"+
		"more       ichor sample --out another/ --study thin && ichor send %s another/\n",
		n.HTTPAddr(), n.HTTPAddr(), n.HTTPAddr(), received, n.Addr())
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// config returns the settings of a node on loopback with one destination.
func (d demo) config(stateFolder, pacs string) config.Config {
	c := config.Default()
	c.State, c.Analysis = stateFolder, d.analysis
	c.DICOM.Listen, c.DICOM.ReserveMiB, c.DICOM.PreparedMiB, c.HTTP.Listen = "127.0.0.1:0", 64, 0, ""
	if d.keep {
		c.HTTP.Listen = "127.0.0.1:0"
	}
	c.Canary.Start, c.Canary.At = false, ""
	c.Assembly.QuietPeriod = time.Second
	c.Destinations = []config.Destination{{Name: "pacs", Address: pacs, AETitle: "PACS"}}
	return c
}

// sendAndWait sends the study and returns its case when every result is stored at the PACS.
func (d demo) sendAndWait(ctx context.Context, n *node.Node, settings config.Config, sent string) (state.Case, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, errors.New("no results within 5 minutes"))
	defer cancel()
	files, _, err := findDICOM(ctx, sent)
	if err != nil {
		return state.Case{}, err
	}
	p := peerFlags{called: settings.DICOM.AETitle, calling: "DEMO", timeout: 30 * time.Second}
	start := time.Now()
	if err := p.send(ctx, n.Addr(), files); err != nil {
		return state.Case{}, err
	}
	received := time.Now()
	fmt.Fprintf(d.w, "sent    %d images, acknowledged in %v\n", len(files), received.Sub(start).Round(time.Millisecond))
	bar := progress(-1, "waiting for the results")
	c, err := delivered(ctx, n.State(), state.IDOf(files[0].StudyInstanceUID), func() { _ = bar.Add(1) })
	_ = bar.Finish() // ignore drawing errors
	if err == nil {
		fmt.Fprintf(d.w, "results stored %v after the last image (including %v quiet period)\n\n",
			time.Since(received).Round(10*time.Millisecond), settings.Assembly.QuietPeriod)
	}
	return c, err
}

// delivered waits until a case is finished and all its objects are stored at all destinations.
func delivered(ctx context.Context, store *state.Store, id state.CaseID, beat func()) (state.Case, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return state.Case{}, context.Cause(ctx)
		case <-tick.C:
		}
		beat()
		c, err := store.Case(id)
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return c, err
		}
		if c.Phase == state.Failed {
			return c, fmt.Errorf("analysis failed: %s", c.Error)
		}
		if c.Phase != state.Analyzed && c.Phase != state.Refused {
			continue
		}
		deliveries, err := store.Deliveries(id)
		if err != nil {
			return c, err
		}
		open := 0
		for _, d := range deliveries {
			switch d.State {
			case state.Dead:
				return c, fmt.Errorf("delivery of %s to %s: %s", d.Kind, d.Destination, d.LastError)
			case state.Pending:
				open++
			}
		}
		if open == 0 {
			return c, nil
		}
	}
}

// show lists the received objects, one per series, and converts the first secondary capture to a PNG.
func (d demo) show(objects []receiver.Instance) error {
	kinds := map[string]string{
		dcm.SegmentationStorage: "SEG", dcm.SecondaryCaptureImageStorage: "SC", dcm.Comprehensive3DSRStorage: "SR",
		dcm.KeyObjectSelectionDocumentStorage: "KO",
	}
	count := map[string]int{}
	for _, o := range objects {
		kind := kinds[o.SOPClassUID]
		count[kind]++
		if count[kind] > 1 {
			continue
		}
		fmt.Fprintf(d.w, "%-7s %s\n", kind, o.Path)
		if kind == "SC" {
			path := filepath.Join(d.out, summaryPNG)
			if err := captureToPNG(o.Path, path); err != nil {
				return err
			}
			fmt.Fprintf(d.w, "%-7s %s\n", "PNG", path)
		}
	}
	if more := count["SC"] - 1; more > 0 {
		fmt.Fprintf(d.w, "%-7s %d more secondary captures: key slices, and every slice with the overlay\n", "", more)
	}
	_, err := fmt.Fprintln(d.w)
	return err
}

// captureToPNG converts an RGB secondary capture to a PNG.
func captureToPNG(from, to string) error {
	r, err := openFile(from)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := dcm.Read(r, r.Size(), dcm.Limits{})
	if err != nil {
		return err
	}
	pixels, err := f.PixelData()
	if err != nil {
		return err
	}
	rows, _ := f.Data.Int(dcm.Rows)
	columns, _ := f.Data.Int(dcm.Columns)
	if len(pixels) < rows*columns*3 {
		return fmt.Errorf("%s: %d bytes of pixel data for %dx%d RGB", from, len(pixels), columns, rows)
	}
	img := image.NewNRGBA(image.Rect(0, 0, columns, rows))
	for i := range rows * columns {
		copy(img.Pix[4*i:], pixels[3*i:3*i+3])
		img.Pix[4*i+3] = 0xFF
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(out, img), out.Close())
}
