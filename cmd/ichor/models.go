package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/config"
	"ichor/models/bundle"
	"ichor/pipeline/finding"
)

func newModels() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "models",
		Short:   "Show and verify the model bundle",
		Example: "  ichor models list\n  ichor models list --card\n  ichor models verify my-bundle/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError("use 'ichor models list', 'ichor models verify', 'ichor models use' or 'ichor models shadow'")
		},
	}
	cmd.AddCommand(newModelsList(), newModelsVerify(), newModelsUse(), newModelsShadow())
	return cmd
}

func newModelsList() *cobra.Command {
	var asJSON, card bool
	cmd := &cobra.Command{
		Use:     "list [DIR]",
		Short:   "Show the bundle: networks, windows, training record, model card",
		Example: "  ichor models list --card\n  ichor models list my-bundle/ --json",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	cmd.Flags().BoolVar(&card, "card", false, "print the model card: training data, figures, and what the networks must not be used for")
	s := withSettings(cmd, map[string]string{"bundle": "analysis.bundle"})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asJSON && card {
			return usageError("use --json or --card, not both")
		}
		c, err := loadFor(s, args)
		if err != nil {
			return err
		}
		path, err := node.BundlePath(c.Analysis)
		if err != nil {
			return err
		}
		b, err := bundle.Open(path)
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		switch {
		case asJSON:
			return printJSON(w, b.Manifest)
		case card:
			return printCard(w, cmd.ErrOrStderr(), b)
		}
		return printBundle(w, b)
	}
	return cmd
}

// loadFor reads the settings. A folder given as an argument overrides the bundle.
func loadFor(s *settings, args []string) (config.Config, error) {
	c, err := s.load()
	if len(args) > 0 {
		c.Analysis.Bundle = args[0]
	}
	return c, err
}

// printCard prints the model card, and a warning on w2 if the card was written for another manifest.
func printCard(w, w2 io.Writer, b *bundle.Bundle) error {
	text, err := b.Card()
	if err != nil {
		return err
	}
	if !strings.Contains(text, b.Digest) {
		fmt.Fprintf(w2, "%s was written for a manifest other than this one (%.12s); 'python -m ich card' writes it again\n", bundle.CardFile, b.Digest)
	}
	_, err = io.WriteString(w, text)
	return err
}

func printBundle(w io.Writer, b *bundle.Bundle) error {
	fmt.Fprintf(w, "%s %s (%s), digest %.12s\n%s\ntrained on: %s\n\n", b.Name, b.Version, b.Licence, b.Digest, b.Description, b.Training.Data)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "network\tbase width\tparameters\tinput\twindow HU\tpixel mm\tthreshold\tsubtypes\tprecision")
	for _, n := range b.Networks {
		precision := string(bundle.Float32)
		if n.Int8 != nil {
			precision += ", " + string(bundle.Int8)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%v\t[%g, %g]\t%g\t%g\t%s\t%s\n", n.Role, n.BaseWidth, n.Parameters, n.Input.Shape[1:],
			n.Input.WindowHU[0], n.Input.WindowHU[1], n.Input.PixelMM, n.Threshold, strings.Join(n.Output.Channels, " "), precision)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range b.Networks {
		if n.Int8 != nil {
			d := n.Int8.Deviation
			fmt.Fprintf(w, "%s, int8 compared with float32: Dice %.4f on %d heads, largest difference of a probability %.3f; %.1f times as fast on %s\n",
				n.Role, d.Dice, d.Heads, d.MaxAbs, d.SpeedRatio, d.CPU)
		}
	}
	if e := b.Network(bundle.Bleed).Post.Evidence; e != nil {
		for _, name := range bundle.OperatingPoints {
			p := e.Points[name]
			fmt.Fprintf(w, "operating point %s: finds %.0f %% of heads with at least 1 mL of blood; %.2f mL false positive in a head without blood; %d heads\n",
				name, 100*p.Sensitivity, p.FalseML, p.Heads)
		}
	}
	for _, limit := range b.Training.Limits {
		fmt.Fprintf(w, "limit: %s\n", limit)
	}
	_, err := fmt.Fprintln(w, finding.Disclaimer)
	return err
}

func newModelsVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify [DIR]",
		Short:   "Check the digests, and that this machine reproduces the reference output of each network",
		Example: "  ichor models verify\n  ichor models verify my-bundle/ --precision int8",
		Args:    cobra.MaximumNArgs(1),
	}
	s := withSettings(cmd, engineFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := loadFor(s, args)
		if err != nil {
			return err
		}
		start := time.Now()
		e, err := node.OpenEngine(cmd.Context(), c.Analysis)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %d networks match their digests and reproduce their references on %s in %s, %v\n",
			e.Bundle.Name, e.Bundle.Version, len(e.Bundle.Networks), c.Analysis.Provider, e.Precision, time.Since(start).Round(time.Millisecond))
		return e.Close()
	}
	return cmd
}
