package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/models/bundle"
	"ichor/pipeline/finding"
)

func newModels() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "models",
		Short:   "Show and verify the model bundle",
		Example: "  ichor models list\n  ichor models verify --bundle my-bundle/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError("say list or verify")
		},
	}
	cmd.AddCommand(newModelsList(), newModelsVerify())
	return cmd
}

func newModelsList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Show the bundle: networks, windows, training record",
		Example: "  ichor models list --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	s := withSettings(cmd, map[string]string{"bundle": "analysis.bundle"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		path, err := bundlePath(c.Analysis)
		if err != nil {
			return err
		}
		b, err := bundle.Open(path)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if asJSON {
			return printJSON(w, b.Manifest)
		}
		fmt.Fprintf(w, "%s %s (%s), digest %.12s\n%s\ntrained on: %s\n\n", b.Name, b.Version, b.Licence, b.Digest, b.Description, b.Training.Data)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "network\tbase width\tparameters\tinput\twindow HU\tpixel mm\tthreshold")
		for _, n := range b.Networks {
			fmt.Fprintf(t, "%s\t%d\t%d\t%v\t[%g, %g]\t%g\t%g\n", n.Role, n.BaseWidth, n.Parameters, n.Input.Shape[1:],
				n.Input.WindowHU[0], n.Input.WindowHU[1], n.Input.PixelMM, n.Threshold)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, limit := range b.Training.Limits {
			fmt.Fprintf(w, "limit: %s\n", limit)
		}
		_, err = fmt.Fprintln(w, finding.Disclaimer)
		return err
	}
	return cmd
}

func newModelsVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Check digests, and that this machine reproduces the reference output of each network",
		Example: "  ichor models verify --provider cpu",
		Args:    cobra.NoArgs,
	}
	s := withSettings(cmd, engineFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		start := time.Now()
		e, err := openEngine(cmd.Context(), c.Analysis)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %d networks match their digests and reproduce their references on %s, %v\n",
			e.bundle.Name, e.bundle.Version, len(e.bundle.Networks), c.Analysis.Provider, time.Since(start).Round(time.Millisecond))
		return e.Close()
	}
	return cmd
}
