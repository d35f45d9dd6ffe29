package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/pipeline"
	"ichor/pipeline/finding"
)

func newAnalyze() *cobra.Command {
	var out, uid string
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "analyze DIR --out DIR",
		Short: "Analyse DICOM or NIfTI files, without a running node",
		Long: "analyze reads the DICOM files below DIR, chooses the head CT series, and writes seg.dcm, sc/*.dcm, sr.dcm,\n" +
			"overlay/*.dcm, overlay.png and finding.json: what a node would send to the PACS. A study that cannot be read\n" +
			"is a result too: sc/1.dcm, sr.dcm and finding.json say why, and the exit code is 0.\n\n" +
			"Where DIR is a NIfTI file (.nii, .nii.gz), or holds one and no DICOM file, the results are finding.json,\n" +
			"overlay.png and mask.nii.gz: a label for each voxel of the file (1 IPH, 2 IVH, 3 SAH, 4 SDH, 5 EDH, 6 any).\n\n" +
			"With --all, every study and every NIfTI file below DIR is analysed. The results of a study are in a folder named\n" +
			"after its Study Instance UID, those of a NIfTI file in a folder named after its path. findings.csv has a line for\n" +
			"each. A study that fails does not stop the others; the exit code is 1 if any failed. The same command again\n" +
			"skips what was analysed with the same files, networks and settings, and retries what failed.\n\n" + finding.Disclaimer,
		Example: "  ichor analyze study/ --out results/\n  ichor analyze head.nii.gz --out results/ --json\n  ichor analyze --all dataset/ --out results/\n" +
			"  ichor analyze --all rsna/ --out results/ --min-slices 1",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, "analyse every study in the folder")
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for the results (required)")
	cmd.Flags().StringVar(&uid, "study", "", "`UID` of the study, if the folder contains several")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print finding.json instead of a table")
	keys := maps.Clone(engineFlags)
	keys["min-slices"] = "analysis.min_slices"
	s := withSettings(cmd, keys)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out == "" {
			return usageError("give a folder for the results: --out FOLDER")
		}
		source, err := os.Stat(args[0])
		if into, outErr := os.Stat(out); err == nil && outErr == nil && os.SameFile(source, into) {
			return usageError(fmt.Sprintf("--out %s is the folder with the study: results would be mixed into it; choose another folder", out))
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		if all {
			if uid != "" {
				return usageError("--all analyses every study; leave out --study")
			}
			return analyzeAll(cmd.Context(), c, args[0], out, asJSON, cmd.OutOrStdout())
		}
		study, err := studyFromFiles(cmd.Context(), args[0], uid)
		if err != nil {
			return err
		}
		f, err := analyzeOne(cmd.Context(), c, study, out)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), f)
		}
		return printFinding(cmd.OutOrStdout(), f, nil, out)
	}
	return cmd
}

// analyzeOne loads the networks, analyses one study and writes its results below out.
func analyzeOne(ctx context.Context, c config.Config, study pipeline.Study, out string) (f finding.Finding, err error) {
	bar := progress(-1, "analysing")
	defer bar.Finish()
	e, err := node.OpenEngineWith(ctx, c.Analysis, func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done) // its only error is that of the terminal
	})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	return analyzeStudy(ctx, e, c, study, out)
}
