package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ichor/pipeline/finding"
	"ichor/pipeline/phantom"
)

func newSample() *cobra.Command {
	var out, name string
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "sample --out DIR [--study NAME]",
		Short: "Write a synthetic sample study with known volumes",
		Long: "sample writes the CT files of a synthetic head with fresh UIDs, and truth.json with the millilitres that are in it.\n\n" +
			finding.Disclaimer,
		Example: "  ichor sample --list\n  ichor sample --out study/ --study mixed",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` for the study")
	cmd.Flags().StringVar(&name, "study", "mixed", "`NAME` of the study, see --list")
	cmd.Flags().BoolVar(&list, "list", false, "list the studies, one a line, name first")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if list {
			return listSamples(cmd, asJSON)
		}
		if out == "" {
			return usageError("say where the study goes: --out FOLDER; or --list")
		}
		study, err := phantom.Load(name)
		if err != nil {
			return err
		}
		if err := study.Write(out, phantom.WriteOptions{}); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), study.Info)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files and truth.json in %s\n", name, len(study.PositionsMM), out)
		return nil
	}
	return cmd
}

func listSamples(cmd *cobra.Command, asJSON bool) error {
	infos, err := phantom.List()
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), infos)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, i := range infos {
		fmt.Fprintf(t, "%s\t%.1f mL\t%s\n", i.Name, i.TruthML.Total, i.Description)
	}
	return t.Flush()
}
