package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/cmd/ichor/node"
	"ichor/pipeline/finding"
)

func newModelsUse() *cobra.Command {
	var back, history, asJSON bool
	cmd := &cobra.Command{
		Use:   "use [BUNDLE]",
		Short: "Choose the bundle of the service, or go back to the one before",
		Long: "use verifies a bundle and makes it the one that the service uses after its next start, if analysis.bundle is not set.\n" +
			"The history stays in the state folder; --back returns to the bundle before.",
		Example: "  ichor models use /srv/bundles/ours-1.2\n  ichor models use --back\n  ichor models use --history",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&back, "back", false, "return to the bundle before")
	cmd.Flags().BoolVar(&history, "history", false, "list what was used, the newest last")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w := cmd.OutOrStdout()
		c, err := s.load()
		if err != nil {
			return err
		}
		all, err := node.Choices(c)
		if err != nil {
			return err
		}
		if history {
			if asJSON {
				return printJSON(w, append([]node.Choice{}, all...))
			}
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			for _, x := range all {
				fmt.Fprintf(t, "%s\t%s\t%s\t%.12s\t%s\n", x.At.Local().Format(time.DateTime), x.Name, cmp.Or(x.Bundle, "(shipped)"), x.Digest, x.User)
			}
			return t.Flush()
		}
		name := ""
		switch {
		case back && len(args) == 0 && len(all) == 0:
			return errors.New("no other bundle was used before; 'ichor models use --history' lists them")
		case back && len(args) == 0 && len(all) > 1:
			name = all[len(all)-2].Bundle
		case back && len(args) == 0: // before the first choice: the shipped one
		case !back && len(args) == 1:
			name = args[0]
		default:
			return usageError("name one bundle, or use --back")
		}
		chosen, err := node.Choose(c, name, cmp.Or(os.Getenv("SUDO_USER"), os.Getenv("USER")))
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(w, chosen)
		}
		_, err = fmt.Fprintf(w, "%s will be used after the next start: systemctl restart ichor\n", chosen.Name)
		return err
	}
	return cmd
}

func newModelsShadow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "shadow",
		Short: "Show how the bundle of analysis.shadow agrees with the one in use, on live studies",
		Long: "shadow sums up what the node has recorded since analysis.shadow was set. The second bundle analyses every live study\n" +
			"and sends nothing. Agreement says nothing about which of the two is right.\n\n" + finding.Disclaimer,
		Example: "  ichor models shadow\n  ichor models shadow --json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print every comparison as JSON")
	s := withSettings(cmd, map[string]string{"state": "state"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w := cmd.OutOrStdout()
		c, err := s.load()
		if err != nil {
			return err
		}
		all, err := node.ReadCompared(c)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(w, append([]node.Compared{}, all...))
		}
		if len(all) == 0 {
			_, err := fmt.Fprintln(w, "no study was compared yet; set analysis.shadow to a bundle and restart the service")
			return err
		}
		a, last := node.Agree(all), all[len(all)-1]
		fmt.Fprintf(w, "in use %s, in the shadow %s\n%d studies, %d with the same status, %d failed in the shadow\n", last.Bundle, last.Shadow, a.Studies, a.SameStatus, a.Failed)
		fmt.Fprintf(w, "blood found by both in %d, only in use %d, only in the shadow %d\n", a.BothBlood, a.OnlyInUse, a.OnlyShadow)
		fmt.Fprintf(w, "totals, shadow minus in use: bias %.2f mL, 95 %% limits of agreement %.2f to %.2f mL; median Dice %.3f\n\n", a.BiasML, a.LimitsML[0], a.LimitsML[1], a.MedianDice)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "time\tcase\tin use mL\tshadow mL\tDice\tnote")
		for _, r := range all[max(0, len(all)-20):] {
			volume := func(v *finding.Volumes) string {
				if v == nil {
					return ""
				}
				return fmt.Sprintf("%.1f", v.Total)
			}
			overlap, note := "", r.Error
			if r.Dice != nil {
				overlap = fmt.Sprintf("%.3f", *r.Dice)
			}
			if note == "" && r.Status != r.Other {
				note = fmt.Sprintf("%s, %s in the shadow", r.Status, r.Other)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.At.Local().Format(time.DateTime), r.Case, volume(r.Found), volume(r.Would), overlap, note)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, finding.Disclaimer)
		return err
	}
	return cmd
}
