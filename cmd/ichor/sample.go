package main

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
	"ichor/pipeline/phantom/synthetic"
)

func newSample() *cobra.Command {
	var out, name string
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "sample --out DIR [--study NAME]",
		Short: "Write a synthetic sample study with known volumes",
		Long: "sample writes the files of a synthetic study with new UIDs, and truth.json: the true volumes in millilitres, the series that\n" +
			"should be chosen, and the expected outcome. The studies show what a node receives in practice: tilted heads, thin slices, feet\n" +
			"first, several series, and studies that must be refused.\n\n" +
			finding.Disclaimer,
		Example: "  ichor sample --list\n  ichor sample --out study/ --study mixed\n  ichor sample --out studies/ --study all",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for the study")
	cmd.Flags().StringVar(&name, "study", "mixed", "`NAME` of the study, see --list; 'all' writes every study, each to its own folder")
	cmd.Flags().BoolVar(&list, "list", false, "list the studies, one per line, name first")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := phantom.Samples()
		if err != nil {
			return err
		}
		if list {
			return listSamples(cmd, all, asJSON)
		}
		if out == "" {
			return usageError("give a folder for the study: --out FOLDER; or use --list")
		}
		if name == "all" {
			return writeSamples(cmd, all, out)
		}
		sample, err := phantom.FindSample(name)
		if err != nil {
			return err
		}
		files, err := sample.Write(out, synthetic.WriteOptions{})
		if err != nil {
			return fmt.Errorf("%w; give a folder that can be written with --out", err)
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), sample)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files and truth.json in %s\n", name, files, out)
		return nil
	}
	return cmd
}

func writeSamples(cmd *cobra.Command, all []phantom.Sample, out string) error {
	bar := progress(len(all), "writing samples")
	for _, s := range all {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if _, err := s.Write(filepath.Join(out, s.Name), synthetic.WriteOptions{}); err != nil {
			return err
		}
		bar.Add(1)
	}
	bar.Finish()
	fmt.Fprintf(cmd.OutOrStdout(), "%d studies in %s\n", len(all), out)
	return nil
}

func listSamples(cmd *cobra.Command, all []phantom.Sample, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), all)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Expected, s.Description)
	}
	return t.Flush()
}
