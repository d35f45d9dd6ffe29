package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/reporting"
)

func newAnalyze() *cobra.Command {
	var out, uid string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "analyze DIR --out DIR",
		Short: "Analyse the DICOM files in a folder, without a running node",
		Long: "analyze reads the DICOM files below DIR, chooses the head CT series, and writes seg.dcm, sc/*.dcm, sr.dcm,\n" +
			"overlay/*.dcm, overlay.png and finding.json: what a node would send to the PACS. A study that cannot be read\n" +
			"is a result too: sc/1.dcm, sr.dcm and finding.json say why, and the exit code is 0.\n\n" + finding.Disclaimer,
		Example: "  ichor analyze study/ --out results/\n  ichor analyze study/ --out results/ --json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for the results (required)")
	cmd.Flags().StringVar(&uid, "study", "", "`UID` of the study, if the folder contains several")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print finding.json instead of a table")
	s := withSettings(cmd, engineFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out == "" {
			return usageError("give a folder for the results: --out FOLDER")
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		study, err := studyFromFiles(cmd.Context(), args[0], uid)
		if err != nil {
			return err
		}
		report, objects, err := analyzeOnce(cmd.Context(), c, study)
		if err != nil {
			return err
		}
		if err := writeResults(cmd.Context(), out, report, objects); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), report.Finding())
		}
		return printFinding(cmd.OutOrStdout(), report.Finding(), nil, out)
	}
	return cmd
}

// analyzeOnce loads the networks, analyses one study and builds its result objects.
func analyzeOnce(ctx context.Context, c config.Config, study pipeline.Study) (*reporting.Report, []reporting.Output, error) {
	bar := progress(-1, "analysing")
	defer bar.Finish()
	e, err := node.OpenEngine(ctx, c.Analysis)
	if err != nil {
		return nil, nil, err
	}
	result, err := e.Analyzer.Analyze(ctx, study)
	if err := errors.Join(err, e.Close()); err != nil {
		return nil, nil, err
	}
	report, err := reporting.New(*result, node.ReportingOptions(c, version))
	if err != nil {
		return nil, nil, err
	}
	objects, err := report.Write(ctx)
	return report, objects, err
}

// writeResults writes the objects, the finding and the overlay below out. It first deletes the results of an earlier run:
// an old seg.dcm would look like a result of this study.
func writeResults(ctx context.Context, out string, report *reporting.Report, objects []reporting.Output) error {
	for _, name := range []string{"seg.dcm", "sc/*.dcm", "sr.dcm", "ko.dcm", "ko-labelmap.dcm", "seg-labelmap.dcm", "seg-cavity.dcm", "seg-cavity-labelmap.dcm", "sr-labelmap.dcm", "overlay/*.dcm", "overlay.png", "finding.json"} {
		if err := removeFiles(out, name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("results folder: %w; choose a writable folder with --out", err)
	}
	for _, object := range objects {
		path := filepath.Join(out, object.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, object.Bytes, 0o644); err != nil {
			return err
		}
	}
	if err := writeOverlay(ctx, filepath.Join(out, "overlay.png"), report); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(out, "finding.json"))
	if err != nil {
		return err
	}
	return errors.Join(printJSON(f, report.Finding()), f.Close())
}

// writeOverlay writes the summary page, if there is one, as a PNG.
func writeOverlay(ctx context.Context, path string, r *reporting.Report) error {
	if r.Finding().Status == finding.Refused {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.WritePNG(ctx, f), f.Close())
}
