package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/reporting/web"
)

func newDeadLetters() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Show what the running node gave up, by destination and reason, with the remedy",
		Long: "dead-letters shows analyses and deliveries that the running node gave up. Those of one destination with the same\n" +
			"reason are a group, which can be sent again ('ichor replay GROUP') or discarded as a whole.",
		Example: "  ichor dead-letters\n  ichor dead-letters --all --json\n  ichor dead-letters discard --destination old",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print every dead letter as JSON")
	cmd.Flags().BoolVar(&all, "all", false, "also list every dead letter")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := running(s)
		if err != nil {
			return err
		}
		var list []web.DeadLetter
		if err := n.get("dead-letters", &list); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printLetters(cmd.OutOrStdout(), list, all)
	}
	cmd.AddCommand(newDiscard())
	return cmd
}

func newDiscard() *cobra.Command {
	var destination string
	var yes bool
	cmd := &cobra.Command{
		Use:     "discard [LETTER | GROUP]...",
		Short:   "Discard dead letters permanently, so that retention can delete their studies",
		Example: "  ichor dead-letters discard g1f0a2b3c\n  ichor dead-letters discard --destination old --yes",
	}
	cmd.Flags().StringVar(&destination, "destination", "", "all dead letters of the destination with this `NAME`")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	s := withSettings(cmd, nodeFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && destination == "" {
			return usageError("name dead letters or groups, or use --destination; 'ichor dead-letters' lists them")
		}
		chosen, count, err := chosenLetters(s, args, destination)
		if err != nil {
			return err
		}
		if err := confirm(cmd, yes, fmt.Sprintf("Discard %s? They will never be sent", letters(count))); err != nil {
			return err
		}
		done, err := give(s, "dead-letters/discard", chosen)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s discarded\n", letters(done.Count))
		return nil
	}
	return cmd
}

func printLetters(w io.Writer, list []web.DeadLetter, all bool) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	for i, g := range web.Groups(list) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		what := fmt.Sprintf("%d analyses", g.Objects)
		if g.Kind == "delivery" {
			what = fmt.Sprintf("%d objects of %d cases to %s", g.Objects, g.Cases, g.Destination)
		}
		fmt.Fprintf(w, "%s  %s, given up from %s to %s\n  why   %s\n  do    %s\n", g.ID, what, g.First.Local().Format(time.DateTime), g.Last.Local().Format(time.DateTime),
			strings.Join(strings.Fields(g.Reason), " "), g.Remedy)
	}
	if !all {
		_, err := fmt.Fprintln(w, "\n'ichor replay GROUP' sends a group again, 'ichor dead-letters discard GROUP' discards it, --all lists every letter")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nletter\tgroup\tgiven up\tcase\twhat\ttries")
	for _, l := range list {
		what := l.Kind
		if l.Destination != "" {
			what = l.Object + " to " + l.Destination
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", l.ID, l.Group, l.At.Local().Format(time.DateTime), l.Case, what, l.Tries)
	}
	return t.Flush()
}
