package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/pipeline"
	"ichor/pipeline/finding"
	"ichor/scp/dcm/codec"
)

// selected is the JSON output of select.
type selected struct {
	Study      finding.Study       `json:"study"`
	Series     *finding.Series     `json:"series,omitempty"` // nil if none can be analysed
	Code       string              `json:"code,omitempty"`
	Reason     string              `json:"reason,omitempty"`
	Warnings   []string            `json:"warnings,omitempty"`
	Candidates []finding.Candidate `json:"candidates"`
	Disclaimer string              `json:"disclaimer"`
}

func newSelect() *cobra.Command {
	var uid string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "select DIR",
		Short: "Show which series in a folder would be analysed, and why the others would not",
		Long: "select reads the DICOM files below DIR and prints one line for each series, or for each stack of slices in a series:\n" +
			"number of slices, slice distance and score, then the reasons. The one marked with a star would be analysed with the\n" +
			"node's settings (analysis.min_age, analysis.contrast, analysis.bone_kernel, analysis.min_slices). No network is run.\n" +
			"If no series can be analysed, the exit code is still 0.\n\n" + finding.Disclaimer,
		Example: "  ichor select study/\n  ichor select study/ --json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&uid, "study", "", "`UID` of the study, if the folder contains several")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		study, err := studyFromFiles(cmd.Context(), args[0], uid)
		if err != nil {
			return err
		}
		decoder, _ := codec.Detect(cmd.Context()) // if JPEG 2000 is missing, the series that needs it is rejected with this reason
		f, err := pipeline.Select(cmd.Context(), study, decoder, node.SelectionOptions(c.Analysis))
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), selected{f.Study, f.Series, f.Code, f.Reason, f.Warnings, f.Candidates, f.Disclaimer})
		}
		return printSelected(cmd.OutOrStdout(), f)
	}
	return cmd
}

func printSelected(w io.Writer, f finding.Finding) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "no.\tresult\tscore\timages\tmm apart\tdescription")
	for i, c := range f.Candidates {
		result, apart := "could be read", "-"
		if c.SpacingMM > 0 {
			apart = fmt.Sprintf("%.2f", c.SpacingMM)
		}
		switch {
		case c.Chosen:
			result = "* chosen"
		case c.Code != "":
			result = c.Code
		}
		fmt.Fprintf(t, "%d\t%s\t%.0f\t%d\t%s\t%.40q\n", i+1, result, c.Score, c.Instances, apart, c.Description)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i, c := range f.Candidates {
		fmt.Fprintf(w, "\n%d. %s series %s\n", i+1, c.Modality, c.SeriesInstanceUID)
		for _, reason := range c.Reasons {
			fmt.Fprintf(w, "   %s\n", reason)
		}
	}
	fmt.Fprintln(w)
	if f.Status == finding.Refused {
		fmt.Fprintf(w, "refused (%s): %s\n", f.Code, f.Reason)
	}
	for _, warning := range f.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	_, err := fmt.Fprintln(w, finding.Disclaimer)
	return err
}
