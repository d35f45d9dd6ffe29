package main

import (
	"fmt"
	"io"
	"path/filepath"
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
		Short:   "Show, verify and compare model bundles",
		Example: "  ichor models list\n  ichor models list --card\n  ichor models verify my-bundle/\n  ichor models compare ichor-synthetic my-bundle/ study/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError("use 'ichor models list', 'ichor models verify', 'ichor models compare', 'ichor models use' or 'ichor models shadow'")
		},
	}
	cmd.AddCommand(newModelsList(), newModelsVerify(), newModelsCompare(), newModelsUse(), newModelsShadow())
	return cmd
}

func newModelsList() *cobra.Command {
	var asJSON, card, installed bool
	cmd := &cobra.Command{
		Use:     "list [BUNDLE]",
		Short:   "Show the bundle: networks, windows, training record, model card",
		Long:    "BUNDLE is a folder, or the name of an installed bundle; without it, the one in the configuration is shown.",
		Example: "  ichor models list --card\n  ichor models list my-bundle/ --json\n  ichor models list --installed",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	cmd.Flags().BoolVar(&card, "card", false, "print the model card: training data, figures, and what the networks must not be used for")
	cmd.Flags().BoolVar(&installed, "installed", false, "list the bundles that are installed, one a line")
	s := withSettings(cmd, map[string]string{"bundle": "analysis.bundle"})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asJSON && card {
			return usageError("use --json or --card, not both")
		}
		if installed {
			return printInstalled(cmd.OutOrStdout(), asJSON)
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

// printInstalled prints a line for each installed bundle: the name for analysis.bundle, and what the bundle is.
func printInstalled(w io.Writer, asJSON bool) error {
	paths, err := node.InstalledBundles()
	if err != nil {
		return err
	}
	type entry struct {
		Bundle      string `json:"bundle"`
		Name        string `json:"name,omitempty"`
		Version     string `json:"version,omitempty"`
		Digest      string `json:"digest,omitempty"`
		Description string `json:"description,omitempty"`
		Caution     string `json:"caution,omitempty"`
		Error       string `json:"error,omitempty"`
	}
	var all []entry
	for _, path := range paths {
		e := entry{Bundle: filepath.Base(path)}
		if b, err := bundle.Open(path); err != nil {
			e.Error = oneLine(err)
		} else {
			e.Name, e.Version, e.Digest, e.Description = b.Name, b.Version, b.Digest, b.Description
			if len(b.Training.Limits) > 0 {
				e.Caution = b.Training.Limits[0]
			}
		}
		all = append(all, e)
	}
	if asJSON {
		return printJSON(w, all)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s %s\t%.12s\t%s%s\n", e.Bundle, e.Name, e.Version, e.Digest, e.Description, e.Error)
	}
	return t.Flush()
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
		if u := n.NNUNet; u != nil {
			fmt.Fprintf(w, "%s is of nnU-Net: %s, %d folds, spacing %v mm, mirrored along %d axes, HU %g ± %g\n", n.Role, u.Configuration, len(n.Folds()), u.SpacingMM,
				len(u.MirrorAxes), u.Mean, u.Std)
		}
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
