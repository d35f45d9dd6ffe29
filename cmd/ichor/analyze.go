package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/reporting"
	"ichor/scp/dcm"
)

func newAnalyze() *cobra.Command {
	var out, uid string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "analyze DIR --out DIR",
		Short: "Analyse the DICOM files in a folder, without a running node",
		Long: "analyze reads the DICOM files below DIR, chooses the head CT series, and writes seg.dcm, sc/*.dcm, sr.dcm,\n" +
			"overlay/*.dcm, overlay.png and finding.json. The DICOM files are those that a node would send to the PACS. If the\n" +
			"study cannot be analysed, sr.dcm and finding.json say why, and the exit code is still 0.\n\n" + finding.Disclaimer,
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

// studyFromFiles returns the only study below root, or the one with this UID. Damaged files are assumed to belong to it:
// the analysis counts them.
func studyFromFiles(ctx context.Context, root, uid string) (pipeline.Study, error) {
	files, damaged, others, err := walkDICOM(ctx, root)
	if err != nil {
		return pipeline.Study{}, err
	}
	if len(files) == 0 && len(damaged) == 0 {
		return pipeline.Study{}, fmt.Errorf("no DICOM file below %s (%d other files); name the folder that contains the study", root, others)
	}
	byStudy := map[string][]pipeline.Object{}
	for _, f := range files {
		byStudy[f.StudyInstanceUID] = append(byStudy[f.StudyInstanceUID], f)
	}
	switch {
	case uid == "" && len(byStudy) > 1:
		return pipeline.Study{}, fmt.Errorf("%d studies below %s; name the folder of one study, or choose one with --study UID: %s", len(byStudy), root, listed(byStudy))
	case uid == "" && len(files) > 0:
		uid = files[0].StudyInstanceUID
	case uid == "": // no readable file has one, but the report of the refusal needs one
		uid = dcm.RandomUID()
	case uid != "" && byStudy[uid] == nil:
		return pipeline.Study{}, fmt.Errorf("no study %s below %s; there are %s", uid, root, listed(byStudy))
	}
	study := pipeline.Study{UID: uid, Objects: byStudy[uid], Complete: "files"}
	for _, f := range damaged {
		study.Objects = append(study.Objects, f)
	}
	return study, nil
}

// listed names at most ten studies, those with the most files first.
func listed(byStudy map[string][]pipeline.Object) string {
	var out []string
	for _, uid := range slices.SortedFunc(maps.Keys(byStudy), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(byStudy[b]), len(byStudy[a])), cmp.Compare(a, b))
	}) {
		if len(out) == 10 {
			out = append(out, "...")
			break
		}
		out = append(out, fmt.Sprintf("%s (files: %d)", uid, len(byStudy[uid])))
	}
	return strings.Join(out, ", ")
}

// analyzeOnce loads the networks, analyses one study and builds its result objects.
func analyzeOnce(ctx context.Context, c config.Config, study pipeline.Study) (*reporting.Report, []reporting.Object, error) {
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
func writeResults(ctx context.Context, out string, report *reporting.Report, objects []reporting.Object) error {
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

// printFinding prints the volumes, next to the true ones if known, and the folder of the results.
func printFinding(w io.Writer, f finding.Finding, truth *finding.Volumes, out string) error {
	if f.Status == finding.Refused {
		fmt.Fprintf(w, "refused (%s): %s\n", f.Code, f.Reason)
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
		if truth != nil {
			fmt.Fprintln(t, "\tfound mL\ttrue mL\t")
		} else {
			fmt.Fprintln(t, "\tmL\t")
		}
		for _, s := range append(slices.Clone(f.Volumes.Shown()), finding.None) {
			name := s.String()
			if s == finding.None {
				name = "total"
			}
			if truth != nil {
				fmt.Fprintf(t, "%s\t%.1f\t%.1f\t\n", name, f.Volumes.Of(s), truth.Of(s))
			} else {
				fmt.Fprintf(t, "%s\t%.1f\t\n", name, f.Volumes.Of(s))
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nintracranial cavity %.0f mL, %d slices, %d lesions\n", f.CavityML, f.Series.Slices, len(f.Lesions))
	}
	for _, warning := range f.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if len(f.TimingMS) > 0 {
		var parts []string
		for _, stage := range slices.Sorted(maps.Keys(f.TimingMS)) {
			parts = append(parts, fmt.Sprintf("%s %d ms", stage, f.TimingMS[stage]))
		}
		fmt.Fprintf(w, "time: %s\n", strings.Join(parts, ", "))
	}
	if out != "" {
		fmt.Fprintf(w, "results: %s\n", out)
	}
	fmt.Fprintf(w, "model: %s %s. %s\n", f.Bundle.Name, f.Bundle.Version, f.Bundle.Caution)
	_, err := fmt.Fprintln(w, finding.Disclaimer)
	return err
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
